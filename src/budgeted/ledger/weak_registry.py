"""All living objects of a sort in this process, for what has to reach each of them: a fork, or the end of it."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar

T = TypeVar("T")


class WeakRegistry(Generic[T]):
    """Objects, as long as somebody else keeps them."""

    def __init__(self) -> None:
        # A dict, since its keys can be listed while other threads add to it; a WeakSet's cannot.
        self._references: dict[weakref.ref[T], None] = {}

    def add(self, one: T) -> None:
        """Have an object among them from now on."""
        self._references[weakref.ref(one, self._references.pop)] = None

    def alive(self) -> list[T]:
        """Those that are there still."""
        return [one for reference in list(self._references) if (one := reference()) is not None]
