"""What a module would define, read off its source: nothing of it runs.

An SDK takes up to a second to import, and may do anything meanwhile: whoever only asks what it has reads it instead.
"""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

Names: TypeAlias = dict[str, ast.stmt]
"""What a body binds, by its names."""

_EMPTY_BASES: Final = frozenset({"ABC", "Generic", "Protocol", "object"})
"""Classes of the standard library that bring no method with them that anybody hooks."""


def has_module(module: str) -> bool:
    """Whether a module could be imported. No package that it is in is imported for that.

    Args:
        module: its whole name, such as ``openai._base_client``.
    """
    return _spec(module) is not None


def may_define(module: str, attribute: str) -> bool:
    """Whether a module has an attribute, as far as its source tells: True where that cannot be told.

    Args:
        module: its whole name; it could be imported.
        attribute: such as ``SyncAPIClient.request``, of a class or of one that it inherits from.
    """
    names = _names(module)
    if names is None:
        return True
    outer, _, inner = attribute.partition(".")
    if outer not in names:
        return False
    return not inner or _class_may_have(names, names[outer], inner)


def _class_may_have(names: Names, found: ast.stmt, method: str) -> bool:
    if not isinstance(found, ast.ClassDef):  # imported, or made by a call
        return True
    own = dict(_bindings(found.body))
    return method in own or any(_base_may_have(names, base, method) for base in found.bases)


def _base_may_have(names: Names, base: ast.expr, method: str) -> bool:
    if isinstance(base, ast.Subscript):
        base = base.value
    if not isinstance(base, ast.Name):
        return True
    if base.id in _EMPTY_BASES:
        return False
    above = names.get(base.id)
    # A class that inherits from an earlier one of its own name: only the later one is known here.
    return above is None or base in getattr(above, "bases", ()) or _class_may_have(names, above, method)


def _spec(module: str) -> importlib.machinery.ModuleSpec | None:
    """Where a module is. Asked for a submodule, importlib.util.find_spec would import what that is in."""
    first, *rest = module.split(".")
    try:
        found = importlib.util.find_spec(first)
    except ValueError:  # it is imported, and says nothing of where it came from
        return None
    for part in rest:
        if found is None or found.submodule_search_locations is None:
            return None
        # By its last name: a namespace package asks for its parent in sys.modules by the whole one.
        found = importlib.machinery.PathFinder.find_spec(part, found.submodule_search_locations)
    return found


@functools.lru_cache(maxsize=1000)
def _names(module: str) -> Names | None:
    """What a module binds; None where its source does not tell."""
    spec = _spec(module)
    source = getattr(spec.loader, "get_source", None) if spec is not None else None
    try:
        text = None if spec is None or source is None else source(spec.name)
        names = None if text is None else dict(_bindings(ast.parse(text).body))
    except (ImportError, OSError, SyntaxError, ValueError):  # whoever imports it will hear of that
        return None
    return None if names is None or "*" in names else names


def _bindings(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """The names that statements bind, in whatever branch of them."""
    for one in body:
        match one:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, one
            case ast.Import(names=imported) | ast.ImportFrom(names=imported):
                for alias in imported:
                    yield alias.asname or alias.name.partition(".")[0], one
            case ast.Assign(targets=targets):
                named = (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name))
                yield from ((node.id, one) for node in named)
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name, one
            case ast.If() | ast.Try() | ast.With():
                parts = [one.body, getattr(one, "orelse", []), getattr(one, "finalbody", [])]
                handlers = getattr(one, "handlers", [])
                for part in [*parts, *(handler.body for handler in handlers)]:
                    yield from _bindings(part)
            case _:
                pass
