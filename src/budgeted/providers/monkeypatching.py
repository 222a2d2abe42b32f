"""Putting wrappers onto other packages' functions, and taking them off, whatever is imported when.

Other tools wrap the same functions, and some take off whatever is outermost, or put back what they found. So the
functions are looked at again whenever a block is entered, and wrapped again where that is needed.
"""

from __future__ import annotations

import functools
import importlib
import logging
import sys
import threading
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, NamedTuple

from budgeted.payers.hooks_in_place import fixtures
from budgeted.system.forks import at_fork

logger = logging.getLogger("budgeted")
_CELL = "cell_contents"
Wrapper = Callable[..., Any]
"""Called as wrapt calls it: with the function, its object, and what it was called with; or a maker of functions."""


class Hook(NamedTuple):
    """A function to wrap: ``attribute`` of ``module``, such as ``SyncAPIClient.request``.

    Given ``inside``, it is the function that the attribute, a decorated function, keeps in its closure by that name. So
    whoever has imported the decorated one by its name before is caught as well. ``watched`` says that other tools may
    wrap it too, so that it is looked at again and again. ``formerly`` is what older versions call the attribute,
    and ``optional`` says that there are supported ones which need no such hook. One that is ``plain`` is given
    the function alone, and makes what takes its place: a plain function costs a tenth of what wrapt's does, where each
    of a program's requests comes by.
    """

    module: str
    attribute: str
    wrapper: Wrapper
    inside: str = ""
    watched: bool = True
    formerly: str = ""
    optional: bool = False
    plain: bool = False


class _Place(NamedTuple):
    """Where a hook belongs: an attribute, or a cell of a closure."""

    owner: Any
    name: str
    wrapper: Wrapper
    plain: bool = False

    def found(self) -> Any:
        """What is there now."""
        return vars(self.owner).get(self.name) if self.name != _CELL else self.owner.cell_contents

    def put(self) -> None:
        """Put the wrapper there."""
        import wrapt  # not before something is hooked: importing the package is to be quick

        if self.plain:
            found = self.found()
            made: Any = functools.wraps(found)(self.wrapper(found))
            made._self_wrapper = self.wrapper  # noqa: SLF001 - as wrapt's have it
            setattr(self.owner, self.name, made)
        elif self.name == _CELL:
            self.owner.cell_contents = wrapt.FunctionWrapper(self.owner.cell_contents, self.wrapper)
        else:
            wrapt.wrap_function_wrapper(self.owner, self.name, self.wrapper)

    def holds(self) -> bool:
        """Whether the wrapper is there, with or without other tools' wrappers around it."""
        found = self.found()
        while found is not None and not self._is_ours(found):
            found = getattr(found, "__wrapped__", None)
        return found is not None

    def clear(self) -> None:
        """Take the wrapper out, if nobody has wrapped it."""
        found = self.found()
        if found is not None and self._is_ours(found):
            setattr(self.owner, self.name, found.__wrapped__)

    def _is_ours(self, found: Any) -> bool:
        return getattr(found, "_self_wrapper", None) is self.wrapper


# Never held while something is imported: the thread that imports may be waiting for it.
_lock = threading.RLock()
_places: dict[Hook, _Place] = {}
_awaited: set[Hook] = set()
_missing: dict[Hook, str] = {}
_enabled = False


def enabled() -> bool:
    """The off switch: another tool may have wrapped our wrapper, so that it cannot be taken out."""
    return _enabled


def install(hooks: Iterable[Hook]) -> None:
    """Wrap each function that is not, or have it wrapped when its module is imported."""
    global _enabled  # noqa: PLW0603
    _enabled = True
    for hook in hooks:
        if _is_in_place(hook):
            continue
        if hook.module in sys.modules:
            _wrap_whole(hook)
        elif hook not in _awaited:
            import wrapt

            _awaited.add(hook)
            wrapt.register_post_import_hook(functools.partial(_imported, hook), hook.module)


def remove(hooks: Iterable[Hook]) -> None:
    """Restore each function that is wrapped by us outermost; the rest is switched off where it is."""
    global _enabled  # noqa: PLW0603
    with _lock:
        _enabled = False
        for hook in hooks:
            if hook in _places:
                _places[hook].clear()
        _note()


def trouble(hook: Hook) -> str | None:
    """Why calls through a function are not intercepted.

    Args:
        hook: which :func:`install` was given.

    Returns:
        "" if they are, or need not be in this version of its package; None if the module has not been imported.
    """
    if hook.module not in sys.modules:
        return None
    with _lock:
        place = _places.get(hook)
        if place is not None:  # whatever was not there when it was looked at before
            return "" if _enabled and place.holds() else "the hooks have been taken out"
        if hook in _missing:
            return "" if hook.optional else _missing[hook]
        return "its module cannot be imported"


def _restore() -> None:
    """Wrap again what another tool has unwrapped; around its own wrapper, if ours cannot be seen in there."""
    with _lock:
        for hook, place in _places.items():
            if _enabled and not place.holds():
                _wrap(hook, sys.modules[hook.module])
                logger.warning(
                    "budgeted: something replaced %s.%s; calls through it are metered again from here on",
                    hook.module,
                    hook.attribute,
                )
        _note()


def _note() -> None:
    """Have the functions looked at whenever a block is entered, as they are now."""
    places = [place for hook, place in _places.items() if hook.watched and _enabled and place.name != _CELL]
    owners = [vars(place.owner) for place in places]
    names = [place.name for place in places]
    # In one assignment: a thread that enters a block meanwhile sees all of the old, or all of the new.
    fixtures.places = owners, names, [owner.get(name) for owner, name in zip(owners, names, strict=True)]


fixtures.restore = _restore


def _is_in_place(hook: Hook) -> bool:
    place = _places.get(hook)
    return hook in _missing if place is None else place.holds()


def _wrap_whole(hook: Hook) -> None:
    """Wrap a function of a module that another thread may be in the midst of importing: that is waited for."""
    try:
        module = importlib.import_module(hook.module)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it is its importer's to hear
        text = "budgeted: %s cannot be imported, so its calls are not metered: %s"
        logger.error(text, hook.module, error)  # noqa: TRY400 - the trace is its importer's to show
        return
    _wrap(hook, module)


def _imported(hook: Hook, module: ModuleType) -> None:
    _awaited.discard(hook)
    spec = getattr(module, "__spec__", None)
    # It may be half executed as yet, as when another thread began to import it just before the hook was registered.
    if getattr(spec, "_initializing", False) and not _resolves(hook.attribute, module):
        _wrap_whole(hook)
    else:
        _wrap(hook, module)


def _resolves(attribute: str, module: ModuleType) -> bool:
    found: Any = module
    for name in attribute.split("."):
        found = getattr(found, name, None)
    return found is not None


def _wrap(hook: Hook, module: ModuleType) -> None:
    import wrapt

    with _lock:
        # Again, now that nobody else can: another thread may have wrapped it, or switched us off, since.
        if not _enabled or _is_in_place(hook):
            return
        try:
            older = hook.formerly and not _resolves(hook.attribute, module)
            owner, name, found = wrapt.resolve_path(module, hook.formerly if older else hook.attribute)
            if hook.inside:
                owner, name = _cell(found, hook.inside), _CELL
            place = _places[hook] = _Place(owner, name, hook.wrapper, hook.plain)
            if not place.holds():
                place.put()
            _note()
        except (AttributeError, ImportError) as error:
            # An SDK without the function, too old or too new, must not fail its user's import.
            _missing[hook] = str(error)
            if hook.optional:
                return
            text = "budgeted: calls through %s.%s are not metered: %s"
            logger.error(text, hook.module, hook.attribute, error)  # noqa: TRY400 - its trace says no more


def _cell(function: Any, name: str) -> Any:
    """Where a function keeps a variable of the function that made it."""
    while function is not None:
        code = getattr(function, "__code__", None)
        if code is not None and name in code.co_freevars:
            return function.__closure__[code.co_freevars.index(name)]
        function = getattr(function, "__wrapped__", None)
    raise AttributeError(f"it has no {name} in its closure")


def _after_fork() -> None:
    """A child has none of the threads that may have had the lock."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


at_fork(after_in_child=_after_fork)
