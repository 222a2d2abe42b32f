"""What the reference shows tells of each argument, of what is returned, and of what is raised."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import griffe
import pytest
from page_examples import ROOT

REFERENCE = ROOT / "docs" / "reference"

TELLING = re.compile(r"(Return|Whether|What|The|That|This|Every|Users|Charges|USD) ")
"""How a docstring begins that says in its first line what is returned."""


class Shown(NamedTuple):
    """A name on a page of the reference.

    Attributes:
        path: with its modules.
        members: of it that are shown; () for all.
        hidden: those that are not.
        made: whether readers make one.
    """

    path: str
    members: tuple[str, ...]
    hidden: tuple[str, ...]
    made: bool


def shown() -> Iterator[Shown]:
    for page in sorted(REFERENCE.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        for path, options in re.findall(r"^::: (budgeted[\w.]+)\n((?:    .*\n)*)", text, re.MULTILINE):
            members = re.search(r"members: \[(.*)\]", options)
            hidden = re.findall(r"!\^(\w+)\$", options)
            listed = tuple(members[1].split(", ")) if members else ()
            yield Shown(path, listed, tuple(hidden), "show_signature: false" not in options)


@pytest.fixture(scope="module")
def functions() -> dict[str, griffe.Function | griffe.Class]:
    """Every function, method and class of the reference that readers call, by its path."""
    extensions = griffe.load_extensions(str(ROOT / "scripts" / "docstrings_for_site.py"))
    package = griffe.load("budgeted", search_paths=[ROOT / "src"], extensions=extensions, docstring_parser="google")
    found: dict[str, griffe.Function | griffe.Class] = {}
    for one in shown():
        thing = package[one.path.removeprefix("budgeted.")]
        if isinstance(thing, griffe.Function) or (isinstance(thing, griffe.Class) and one.made):
            found[thing.path] = thing
        if isinstance(thing, griffe.Class):
            found |= {method.path: method for method in methods(thing, one)}
    return found


def methods(thing: griffe.Class, asked: Shown) -> Iterator[griffe.Function]:
    for member in thing.all_members.values():
        method = member.final_target if isinstance(member, griffe.Alias) else member
        wanted = not method.name.startswith("_") and method.name not in asked.hidden
        listed = not asked.members or method.name in asked.members
        if isinstance(method, griffe.Function) and wanted and listed and method.path.startswith("budgeted."):
            yield method


def sections(one: griffe.Object, *kinds: str) -> list[griffe.DocstringSection]:
    return [part for part in (one.docstring.parsed if one.docstring else ()) if part.kind.value in kinds]


def described(one: griffe.Object) -> set[str]:
    """The arguments that a docstring tells of, or that of a class which it is made of."""
    sources = [one, *one.mro()] if isinstance(one, griffe.Class) else [one]
    parts = [part for source in sources for part in sections(source, "parameters", "attributes")]
    return {argument.name.lstrip("*") for part in parts for argument in part.value}


def delegates(one: griffe.Object) -> bool:
    """Whether a docstring leaves the rest to that of the same name elsewhere."""
    return one.docstring is not None and re.search(rf"See `budgeted\.{one.name}`", one.docstring.value) is not None


def test_everything_has_a_docstring(functions: dict[str, griffe.Object]) -> None:
    assert len(functions) > 120
    assert [path for path, one in functions.items() if one.docstring is None] == []


def test_every_argument_is_told_of(functions: dict[str, griffe.Function | griffe.Class]) -> None:
    missing = {}
    for path, one in functions.items():
        names = {argument.name for argument in one.parameters} - {"self", "cls", "kwargs"}
        if not delegates(one) and (untold := names - described(one)):
            missing[path] = sorted(untold)
    assert missing == {}


def test_no_argument_is_told_of_that_is_none(functions: dict[str, griffe.Function | griffe.Class]) -> None:
    wrong = {}
    for path, one in functions.items():
        parts = sections(one, "parameters")
        told = {argument.name.lstrip("*") for part in parts for argument in part.value}
        if extra := told - {argument.name for argument in one.parameters}:
            wrong[path] = sorted(extra)
    assert wrong == {}


def test_what_is_returned_is_told(functions: dict[str, griffe.Function | griffe.Class]) -> None:
    missing = []
    for path, one in functions.items():
        returns = str(one.returns) if isinstance(one, griffe.Function) and one.returns is not None else "None"
        told = sections(one, "returns", "yields") or (one.docstring and TELLING.match(one.docstring.value))
        if returns not in {"None", "Self"} and "property" not in one.labels and not told and not delegates(one):
            missing.append(path)
    assert missing == []


def test_what_is_raised_is_told(functions: dict[str, griffe.Function | griffe.Class]) -> None:
    missing = []
    for path, one in functions.items():
        raises = isinstance(one, griffe.Function) and re.search(r"^ +raise [A-Z]\w+", one.source, re.MULTILINE)
        if raises and not sections(one, "raises"):
            missing.append(path)
    assert missing == []
