"""What a decorated function returns: an answer to read the usage from, or something to wait for."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import GeneratorType

MOST_TYPES = 1_000

ANSWER, STREAM, GENERATOR, AWAITABLE = range(4)
"""What a decorated function may return."""

_by_type: dict[type, int] = {}


def kind_of(response: object) -> int:
    """What a response is to be treated as, by its type."""
    kind = type(response)
    found = _by_type.get(kind)
    if found is None:
        found = _kind(kind)
        if found == STREAM and response.__class__ is not kind:
            # A transparent proxy, such as wrapt's, has the methods of a stream whatever it stands for.
            return ANSWER if _kind(response.__class__) == ANSWER else STREAM
        if len(_by_type) >= MOST_TYPES:
            _by_type.clear()
        _by_type[kind] = found
    if found == STREAM and getattr(response, "_content_consumed", False) is True:
        return ANSWER  # requests' own, which can be iterated even where its body has been read
    return found


def _kind(kind: type) -> int:
    if issubclass(kind, GeneratorType):
        return GENERATOR
    if issubclass(kind, Awaitable):
        return AWAITABLE
    return STREAM if _is_stream(kind) else ANSWER


def _is_stream(kind: type) -> bool:
    if any(hasattr(kind, name) for name in ("__next__", "__anext__", "__aiter__")):
        return True
    holds = issubclass(kind, (str, bytes, bytearray, Mapping, Sequence, AbstractSet)) or hasattr(kind, "model_fields")
    # What is entered may send its request only then.
    return not holds and any(hasattr(kind, name) for name in ("__iter__", "__enter__", "__aenter__"))
