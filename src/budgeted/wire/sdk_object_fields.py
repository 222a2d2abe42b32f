"""Looking into what others made, whatever object it is: an SDK's, a mapping, JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

Fields: TypeAlias = Mapping[str, Any]
"""An object's fields by name. What they hold may be anything: who reads them checks it, or catches what it raises."""

EMPTY: Fields = {}

_TEXTS = frozenset(
    "content text delta arguments partial_json thinking reasoning reasoning_content refusal response tool_plan".split()
)
_MOST_PARTS = 1_000


def text_bytes(item: object) -> int:
    """UTF-8 bytes of the text in a chunk of a stream: a string, a mapping, or an SDK's object."""
    total = 0
    pending: list[tuple[str, object]] = [("text", item)]
    for _ in range(_MOST_PARTS):
        if not pending:
            break
        name, value = pending.pop()
        if isinstance(value, str):
            total += len(value.encode("utf-8", "surrogatepass")) if name in _TEXTS else 0
        elif isinstance(value, (list, tuple)):
            pending.extend((name, part) for part in value)
        elif value is not None and not isinstance(value, (bool, int, float, bytes)):
            try:
                pending.extend(fields_of(value).items())
            except Exception:  # noqa: BLE001, S112 - as in read()
                continue
    return total


def fields_of(value: object) -> Fields:
    """An object's fields by name, without running its code."""
    if value.__class__ is dict:  # nearly always: asked first, it costs a tenth of what follows
        found: Fields = value
        return found
    own: Fields | None = getattr(value, "__dict__", None)
    if own is not None:
        extra = getattr(value, "__pydantic_extra__", None)
        if extra:
            return {**own, **extra}
        if own:
            return own
    if value is None:
        return EMPTY
    if isinstance(value, Mapping):
        return value
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    return EMPTY if isinstance(value, str) else _slots_of(value)


def _slots_of(value: object) -> Fields:
    return {name: getattr(value, name, None) for name in getattr(type(value), "__slots__", ())}


def json_of(text: bytes | str) -> dict[str, object] | None:
    """The JSON object in a text; None if there is none."""
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
