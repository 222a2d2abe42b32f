"""Where programs of a ``budgeted run`` send what they ask for: metered Python to its provider, all others to a gateway.

The run's own gateway meters those that cannot be metered from within. Its addresses stand in the variables that SDKs
take base URLs from, so that whatever is started sends to it. Python that is metered puts them back for itself, since
it would be charged twice, and passes the gateway's on to what it starts.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from budgeted.payers.scope import current, inherited, outside
from budgeted.providers.monkeypatching import Hook, enabled
from budgeted.providers.unmeterable_requests import held_by_hand

VARIABLE: Final = "BUDGETED_RUN_ADDRESSES"
"""Tells the programs of a run each variable that leads to the gateway, and what it held before."""

_PAYERS: Final = "BUDGETED_PAYERS"
_RUN: Final = "BUDGETED_RUN"

BY_SDK: Final = ("CLAUDE_CODE_ENTRYPOINT", "sdk-py")
"""The variable by which Claude Code is told that Python's SDK has started it, whose hook holds for it."""


class Address(msgspec.Struct, frozen=True):
    """What a variable holds.

    Args:
        gateway: for programs that are metered by the gateway.
        own: for those that are metered themselves; None if it is not set there.
        provider: whose SDKs read it, as the gateway calls it.
        unset: for programs that are started without it, which would go where all go that find it not set; "" if there
            is no such place.
    """

    gateway: str
    own: str | None
    provider: str
    unset: str


class Addresses(msgspec.Struct, frozen=True):
    """What the programs of a run are told.

    Args:
        gateway: what every address of its gateway begins with; "" outside a run.
        variables: the addresses, by the names of the variables that hold them.
    """

    gateway: str = ""
    variables: dict[str, Address] = {}

    def text(self) -> str:
        """As :data:`VARIABLE` has it."""
        return msgspec.json.encode(self).decode()


_NONE: Final = Addresses()


@functools.lru_cache(maxsize=8)
def _read(text: str) -> Addresses:
    try:
        return msgspec.json.decode(text, type=Addresses)
    except msgspec.MsgspecError:
        return _NONE


def addresses(environment: Mapping[str, str]) -> Addresses:
    """What an environment tells of the gateway of a run.

    Args:
        environment: such as ``os.environ``.
    """
    text = environment.get(VARIABLE)
    return _read(text) if text else _NONE


def put_back() -> None:
    """Have this process, which is metered, send to where it would without a run; what it starts is left to the gateway.

    ``os.environ`` is what Python reads, and what is below it what a program inherits that is started without an
    environment of its own: the former is put back, the latter is not.
    """
    known = addresses(os.environ)
    _payers[:] = [os.environ.get(_PAYERS, "")]
    _gateways[:] = [known.gateway] if known.gateway else []
    for name, address in known.variables.items():
        if os.environ.get(name) not in (address.gateway, address.own):
            continue  # whoever has started this process wanted another one
        if address.own is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = address.own
        os.putenv(name, address.gateway)


_payers: Final[list[str]] = []
"""Who pays for this process, as its environment had it at the start."""

_gateways: Final[list[str]] = []
"""What the addresses of the gateway begin with that meters what this process does not."""


def is_left_to_gateway(url: str | None) -> bool:
    """Whether the gateway of the run meters a call, which so must not be metered here as well.

    A program may have got the address otherwise than by a variable: in an argument, from whoever has started it. In a
    block of its own it is charged here all the same, as the gateway knows nothing of that.

    Args:
        url: where the call goes.
    """
    return bool(_gateways) and url is not None and url.startswith(_gateways[0]) and current() in (None, *inherited)


def for_program(environment: object) -> object:
    """The environment for a program that this process starts, so that what nobody here meters is left to the gateway.

    Args:
        environment: as it was given: None for what this process would pass on by itself.

    Returns:
        The same, or a copy with the addresses.
    """
    known = addresses(os.environ)
    if not known.gateway or not enabled() or not (environment is None or isinstance(environment, Mapping)):
        return environment
    scope = current() or (outside[0] if outside else None)
    paid_for = scope is not None and held_by_hand(scope)
    if environment is None:
        if not paid_for and all(os.environ.get(name) == one.own for name, one in known.variables.items()):
            return None
        environment = dict(os.environ)  # the program has changed some, and so what is below them
    if paid_for:
        return environment
    binary = any(isinstance(name, bytes) for name in environment)
    encoded: Callable[[str], Any] = os.fsencode if binary else str
    by_sdk = environment.get(encoded(BY_SDK[0])) == encoded(BY_SDK[1])
    found, gateway = dict(environment), known.gateway + _of_others(os.fsdecode(environment.get(encoded(_PAYERS), "")))
    for name, address in known.variables.items():
        held = found.get(encoded(name))
        reached = address.unset if held is None else address.gateway if held == encoded(address.own or "") else ""
        if reached and not (by_sdk and address.provider == "anthropic"):
            found[encoded(name)] = encoded(reached.replace(known.gateway, gateway))
    found[encoded(VARIABLE)] = encoded(os.environ[VARIABLE].replace(known.gateway, gateway))
    return found


def elsewhere(environment: object) -> list[str]:
    """The variables by which a program of a run is sent past its gateway, as whoever starts it has set them anew.

    Args:
        environment: of the program, as :func:`for_program` has it.
    """
    known = addresses(os.environ)
    if not known.gateway or not isinstance(environment, Mapping):
        return []
    held = {name: environment.get(name) or environment.get(os.fsencode(name)) for name in known.variables}
    found = {name: os.fsdecode(value) for name, value in held.items() if isinstance(value, (str, bytes))}
    return [
        name
        for name, value in found.items()
        if value and not value.startswith(known.gateway) and value != known.variables[name].own
    ]


def _of_others(text: str) -> str:
    """What an address has behind its word where a program is to pay otherwise than this process: as `inject` has it.

    Args:
        text: that tells who pays for the program; "" if it is started without.
    """
    if not text or text in _payers:
        return ""
    name = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    folder = os.environ.get(_RUN, "").partition(os.pathsep)[0]
    with contextlib.suppress(OSError):
        descriptor = os.open(os.path.join(folder, payers_file(name)), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # noqa: PTH118 - quick
        try:
            os.write(descriptor, text.encode("utf-8", "surrogateescape"))
        finally:
            os.close(descriptor)
        return f".{name}"
    return ""


def payers_file(name: str) -> str:
    """The file, in the folder of a run, that tells its gateway who pays for what comes by an address.

    Args:
        name: which stands in the address.
    """
    return f"{name}.payers"


def _with_environment(wrapped: Callable[..., Any], _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Start a program by a function that takes its environment as the third argument, with what it is to get."""
    if len(args) > _THIRD:
        args = (*args[:_THIRD], for_program(args[_THIRD]), *args[_THIRD + 1 :])
    elif "env" in kwargs:
        kwargs = {**kwargs, "env": for_program(kwargs["env"])}
    return wrapped(*args, **kwargs)


_THIRD: Final = 2

HOOKS = tuple(
    Hook("os", name, _with_environment, watched=False)
    for name in ("execve", "posix_spawn", "posix_spawnp")
    if hasattr(os, name)
)
