"""Whether the hooks that intercept calls are still in place: looked at whenever a block is entered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import getitem, is_


class Fixtures:
    """Where other packages are hooked: looked at whenever a block is entered, since other tools hook there too.

    Attributes:
        places: the namespaces of the functions' owners, the names in them, and what is there if nobody touched it.
        restore: puts everything right, and notes what is there now.
    """

    def __init__(self) -> None:
        self.places: tuple[list[Mapping[str, object]], list[str], list[object]] = ([], [], [])
        self.restore: Callable[[], None] = lambda: None

    def intact(self) -> bool:
        """Whether nobody has touched them since. All in C, as every block comes by: 0.2 us for an SDK's hooks."""
        owners, names, found = self.places
        try:
            # Identity: a wrapper is equal to what it wraps.
            return all(map(is_, map(getitem, owners, names), found))
        except KeyError:
            return False


fixtures = Fixtures()
