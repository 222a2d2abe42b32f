"""A value that is valid under a simple JSON schema, the same one every time."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 12  # of a schema that refers to itself

_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """Return a value for `schema`: objects with all their properties, arrays as short as allowed but for one item.

    Args:
        schema: A JSON schema, with local references only.
        root: The schema that references start from; None: `schema` itself.
        depth: How many schemas this one is inside of.
    """
    root = schema if root is None else root
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema:
        return example(_resolve(schema["$ref"], root), root, depth + 1)
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return example(_choose(choices, depth), root, depth + 1)
    if schema.get("allOf"):
        return example(_merge(schema["allOf"], root), root, depth + 1)
    return _plain(schema, root, depth)


def _plain(schema: dict[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = next((each for each in kind if each != "null"), "null") if isinstance(kind, list) else kind
    if kind == "object":
        return {name: example(part, root, depth + 1) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        count = max(schema.get("minItems", 0), 1 if depth < MAX_DEPTH // 2 else 0)
        return [example(schema.get("items", {}), root, depth + 1) for _ in range(count)]
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    if kind == "string":
        text = _FORMATS.get(schema.get("format", ""), "some text")
        return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]
    return True if kind == "boolean" else None


def _resolve(reference: str, root: Any) -> Any:
    found = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step, {}) if step and isinstance(found, dict) else found
    return found


def _choose(choices: list[Any], depth: int) -> Any:
    """Take the first that is not null; deep inside a recursion, null where that is one."""
    nulls = [choice for choice in choices if choice.get("type") == "null"]
    others = [choice for choice in choices if choice.get("type") != "null"]
    return (nulls or others)[0] if depth >= MAX_DEPTH // 2 else (others or nulls)[0]


def _merge(parts: list[Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        whole = _resolve(part["$ref"], root) if "$ref" in part else part
        merged = {**merged, **whole, "properties": {**merged.get("properties", {}), **whole.get("properties", {})}}
    return merged
