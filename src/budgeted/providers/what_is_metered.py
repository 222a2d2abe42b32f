"""What is hooked here, what could not be, and which installed packages make paid calls that nothing meters."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

import msgspec

from budgeted.providers import monkeypatching
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.paid_packages import PAID_PACKAGES, SENT_BY, PaidPackage
from budgeted.providers.unimported_modules import has_module, may_define

HOOKED: Final = "hooked"
AWAITED: Final = "hooked when imported"
MISSING: Final = "missing: "
MET_BELOW: Final = "met at the transport by "
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
    hooked = bool(paid.hooked) and has_module(paid.hooked)
    if paid.clients and not hooked:
        below = [_hooks_in(SENT_BY.get(client, client), hooks) for client in paid.clients]
        if not all(below):
            return UNMETERED
        missing = _missing([hook for found in below for hook in found], ahead=ahead)
        return f"{MISSING}{missing}" if missing else f"{MET_BELOW}{' or '.join(paid.clients)}"
    if not paid.hooked:
        return UNMETERED
    if not hooked:
        before = paid.before and has_module(paid.before)
        return f"{AWAITED} by {paid.before}, which it calls" if before else f"{MISSING}{paid.hooked}"
    mine = _hooks_in(paid.module, hooks)
    missing = _missing(mine, ahead=ahead)
    if missing:
        return f"{MISSING}{missing}"
    return HOOKED if any(monkeypatching.trouble(hook) == "" for hook in mine) else AWAITED


def _hooks_in(module: str, hooks: Iterable[Hook]) -> list[Hook]:
    return [hook for hook in hooks if f"{hook.module}.".startswith(f"{module}.")]


def _missing(hooks: Iterable[Hook], *, ahead: bool) -> str:
    """The functions that are not there to be hooked, or will not be."""
    names = [
        f"{hook.module}.{hook.attribute}"
        for hook in hooks
        if monkeypatching.trouble(hook) or (ahead and _will_miss(hook))
    ]
    return ", ".join(names)


def _will_miss(hook: Hook) -> bool:
    """Whether a module that is not imported yet has not got what is to be hooked in it.

    One that is not there is no loss: versions differ in what they offer, and what all calls go through is looked for
    by itself.
    """
    if hook.optional or hook.module in sys.modules or not has_module(hook.module):
        return False
    return not any(may_define(hook.module, name) for name in (hook.attribute, hook.formerly) if name)
