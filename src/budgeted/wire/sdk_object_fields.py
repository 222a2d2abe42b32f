"""Looking into what others made, whatever object it is: an SDK's, a mapping, JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

EMPTY: Mapping[str, Any] = {}

_TEXTS = frozenset(
    "content text delta arguments partial_json thinking reasoning reasoning_content refusal response tool_plan".split()
)
_MOST_PARTS = 1_000


def text_bytes(item: Any) -> int:
    """UTF-8 bytes of the text in a chunk of a stream: a string, a mapping, or an SDK's object."""
    total = 0
    pending = [("text", item)]
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


def fields_of(value: Any) -> Mapping[str, Any]:
    """An object's fields by name, without running its code."""
    own: Mapping[str, Any] | None = getattr(value, "__dict__", None)
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


def _slots_of(value: Any) -> Mapping[str, Any]:
    return {name: getattr(value, name, None) for name in getattr(type(value), "__slots__", ())}


def json_of(text: bytes | str) -> Any:
    """The JSON object in a text; None if there is none."""
    try:
        found = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
