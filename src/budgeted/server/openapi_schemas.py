"""Schemas of types for OpenAPI, each field described by its type's docstring: so nothing is described twice."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

Schema: TypeAlias = dict[str, Any]
"""JSON's, of whatever depth."""

_Fielded: TypeAlias = msgspec.inspect.StructType | msgspec.inspect.DataclassType

_REFERENCE = "#/components/schemas/{name}"
_FIELDS = re.compile(r"\n+(?:Args|Attributes):\n")
_ROLE = re.compile(r":\w+:`~?(?:\w+\.)*?([A-Z_]\w*(?:\.\w+)*)`")


def schemas_of(kinds: Iterable[object]) -> tuple[dict[int, Schema], dict[str, Schema]]:
    """The schemas of types.

    Args:
        kinds: as msgspec understands them.

    Returns:
        The schema of each by its type's ``id``, and the components that these refer to, by name.
    """
    types = list({id(kind): kind for kind in kinds}.values())
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    for info in _fielded(msgspec.inspect.multi_type_info(types)):
        if info.cls.__name__ in components:
            _describe(components[info.cls.__name__], info)
    return dict(zip(map(id, types), schemas, strict=True)), components


def described(kind: type) -> tuple[str, dict[str, str]]:
    """What a type's docstring tells: of it, and of each of its fields, with those of the types that it is made of.

    Args:
        kind: the type.
    """
    fields: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        _, *told = _FIELDS.split(inspect.cleandoc(one.__dict__.get("__doc__") or ""), maxsplit=1)
        fields |= dict(_told(told[0])) if told else {}
    text = _FIELDS.split(inspect.cleandoc(kind.__doc__ or ""), maxsplit=1)[0]
    return _plain(text), fields


def _told(lines: str) -> Iterator[tuple[str, str]]:
    """Each name with what is said of it; names that stand side by side share it."""
    for names, text in re.findall(r"^ {4}([\w, ]+): (.+(?:\n {8}.+)*)", lines, re.MULTILINE):
        for name in names.split(", "):
            yield name, _plain(text)


def _plain(text: str) -> str:
    """What is written for Python's documentation, as others read it."""
    text = _ROLE.sub(r"`\1`", text).replace("``", "`").replace("None", "null")
    return "\n\n".join(re.sub(r"\s*\n\s*", " ", part) for part in text.split("\n\n"))


def _fielded(infos: Iterable[msgspec.inspect.Type]) -> Iterator[_Fielded]:
    """Each type that has fields, once, wherever it is inside of others."""
    seen: set[type] = set()
    waiting: list[object] = list(infos)
    while waiting:
        info = waiting.pop()
        if isinstance(info, (msgspec.inspect.StructType, msgspec.inspect.DataclassType)):
            if info.cls in seen:
                continue
            seen.add(info.cls)
            yield info
        if isinstance(info, (msgspec.inspect.Type, msgspec.inspect.Field)):
            waiting += [getattr(info, name) for name in info.__struct_fields__ if name != "cls"]
        elif isinstance(info, tuple):
            waiting += info


def _describe(schema: Schema, info: _Fielded) -> None:
    schema["description"], told = described(info.cls)
    if "properties" in schema:
        fields: Mapping[str, Schema] = schema["properties"]
    else:  # an array, in the order of its fields, behind the tag that tells which type it is
        items = schema["prefixItems"][-len(info.fields) :]
        fields = {field.encode_name: item for field, item in zip(info.fields, items, strict=True)}
        for name, item in fields.items():
            item["title"] = name
    for field in info.fields:
        one = fields[field.encode_name]
        if field.name in told:
            one.setdefault("description", told[field.name])
        if any(isinstance(kind, msgspec.inspect.DateTimeType) for kind in getattr(field.type, "types", (field.type,))):
            next(each for each in one.get("anyOf", [one]) if each.get("type") == "string")["format"] = "date-time"
