"""What is hooked here, what could not be, and which installed packages make paid calls that nothing meters."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

import msgspec

from budgeted.providers import monkeypatching
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.paid_packages import PAID_PACKAGES, PaidPackage
from budgeted.providers.unimported_modules import has_module, may_define

HOOKED: Final = "hooked"
AWAITED: Final = "hooked when imported"
MISSING: Final = "missing: "
UNMETERED: Final = "not metered"


class MeteredPackage(msgspec.Struct, frozen=True):
    """An installed package that makes paid calls.

    Args:
        package: what pip calls it, such as ``google-genai``.
        version: the installed one; "" if nobody knows.
        state: ``"hooked"``; ``"hooked when imported"``; ``"missing: "`` and the functions that should have been hooked
            and are not there, as in a version too old or too new; ``"met at the transport by "`` and its HTTP client;
            ``"not metered"``.
    """

    package: str
    version: str
    state: str

    @property
    def metered(self) -> bool:
        """Whether all of its paid calls are metered, as far as that can be told."""
        return self.state != UNMETERED and not self.state.startswith(MISSING)


class Instrumented(msgspec.Struct, frozen=True):
    """What is metered in this process.

    Args:
        packages: those that are installed and make paid calls, each with its version and state.
        unmetered: the names of those of them whose calls nothing meters.
    """

    packages: tuple[MeteredPackage, ...]
    unmetered: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether everything is hooked that should be, and every known paid package is metered."""
        return all(one.metered for one in self.packages)


def instrumented(hooks: Iterable[Hook], *, ahead: bool = False) -> Instrumented:
    """Look at what is metered. Nothing is imported for that.

    Args:
        hooks: all that belong in place.
        ahead: also read the source of what is not imported yet, to tell what will be missing; that takes a second.

    Returns:
        A row for each paid package that is installed.
    """
    hooks = tuple(hooks)
    rows = []
    for paid in PAID_PACKAGES:
        version = _version(paid.distribution)
        if version is not None and has_module(paid.module):
            rows.append(MeteredPackage(paid.distribution, version, _state(paid, hooks, ahead=ahead)))
    return Instrumented(tuple(rows), tuple(one.package for one in rows if one.state == UNMETERED))


def _version(distribution: str) -> str | None:
    """A version that is installed; None if none is."""
    from importlib import metadata

    try:
        return str(metadata.version(distribution) or "")
    except metadata.PackageNotFoundError:
        return None


def _state(paid: PaidPackage, hooks: tuple[Hook, ...], *, ahead: bool) -> str:
    if not paid.hooked:
        return f"met at the transport by {' or '.join(paid.clients)}" if paid.met_at_transport else UNMETERED
    if not has_module(paid.hooked):
        before = paid.before and has_module(paid.before)
        return f"{AWAITED} by {paid.before}, which it calls" if before else f"{MISSING}{paid.hooked}"
    mine = [hook for hook in hooks if f"{hook.module}.".startswith(f"{paid.module}.")]
    troubles = {hook: monkeypatching.trouble(hook) for hook in mine}
    names = [f"{hook.module}.{hook.attribute}" for hook in mine if troubles[hook] or (ahead and _will_miss(hook))]
    if names:
        return f"{MISSING}{', '.join(names)}"
    return HOOKED if "" in troubles.values() else AWAITED


def _will_miss(hook: Hook) -> bool:
    """Whether a module that is not imported yet has not got what is to be hooked in it.

    One that is not there is no loss: versions differ in what they offer, and what all calls go through is looked for
    by itself.
    """
    if hook.optional or hook.module in sys.modules or not has_module(hook.module):
        return False
    return not any(may_define(hook.module, name) for name in (hook.attribute, hook.formerly) if name)
