"""An extension of griffe, which reads docstrings for the site: ours are written for editors and ``help()``."""

from __future__ import annotations

import re

import griffe

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):(?=`)")
EXAMPLE = re.compile(r"^(\s*)Example:$", re.MULTILINE)
SIDE_BY_SIDE = re.compile(r"^( +)(\w+(?:, \w+)+)(: .*\n(?:\1 +.*\n|\n(?=\1 ))*)", re.MULTILINE)
ARGUMENTS = re.compile(r"^( *)(?:Args|Attributes):\n(?:(?:\1 +.*)?(?:\n|\Z))+", re.MULTILINE)
REFUSED = re.compile(r"^( +)unknown: .*\n(?:\1 +.*\n)*", re.MULTILINE)
STRUCT = re.compile(r"(?:msgspec\.)?Struct|NamedTuple")


def for_site(text: str) -> str:
    """A docstring with names of code as code alone, examples laid out as code, and each argument by itself.

    What stands for other keywords, which are refused, is left out.

    Args:
        text: as the source has it, without the indentation of what it is about.
    """
    text = EXAMPLE.sub(r"\1Examples:", ROLE.sub("", text))
    return ARGUMENTS.sub(_arguments, text).rstrip("\n")


def _arguments(section: re.Match[str]) -> str:
    return SIDE_BY_SIDE.sub(_apart, REFUSED.sub("", section[0] + "\n"))


def _apart(found: re.Match[str]) -> str:
    indent, names, rest = found.groups()
    return "".join(f"{indent}{name}{rest}" for name in names.split(", "))


class DocstringsForSite(griffe.Extension):
    """Reads docstrings so, and shows of structs the constructor that nobody has written."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Put it so in the docstring of what has been read, if there is one."""
        if obj.docstring:
            obj.docstring.value = for_site(obj.docstring.value)

    def on_function(self, *, func: griffe.Function, **_: object) -> None:
        """Show only what may be given: a name for what is refused with a word about it is none of that."""
        if "unknown" in func.parameters and str(func.parameters["unknown"].annotation) == "Never":
            del func.parameters["unknown"]

    def on_package(self, *, pkg: griffe.Module, **_: object) -> None:
        """Have each struct show the constructor that it has of its fields, as a reader would call it."""
        waiting: list[griffe.Object] = [pkg]
        while waiting:
            one = waiting.pop()
            waiting += (inner for inner in one.members.values() if isinstance(inner, (griffe.Module, griffe.Class)))
            if isinstance(one, griffe.Class) and "__init__" not in one.members and is_struct(one):
                one["__init__"] = griffe.Function("__init__", parameters=griffe.Parameters(*fields_of(one)))


def is_struct(found: griffe.Class) -> bool:
    """Whether a class, or one that it is made of, is a struct: msgspec's, or a tuple with names."""
    return any(STRUCT.fullmatch(str(base)) for one in (found, *found.mro()) for base in one.bases)


def fields_of(struct: griffe.Class) -> list[griffe.Parameter]:
    """What a struct is made with: fields of those that it is made of come first."""
    itself = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    found = {itself.name: itself}
    for one in (*reversed(struct.mro()), struct):
        named = str(one.keywords.get("kw_only", "False")) == "True"
        kind = griffe.ParameterKind.keyword_only if named else griffe.ParameterKind.positional_or_keyword
        for name, field in one.members.items():
            stated = isinstance(field, griffe.Attribute) and "property" not in field.labels
            if stated and field.annotation is not None and not str(field.annotation).startswith("ClassVar"):
                found[name] = griffe.Parameter(name, annotation=field.annotation, kind=kind, default=field.value)
    return sorted(found.values(), key=lambda field: field.kind is griffe.ParameterKind.keyword_only)
