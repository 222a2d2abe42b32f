"""Forks, where processes fork. Imported by whatever keeps a lock, so that it imports nothing."""

from __future__ import annotations

import os
from collections.abc import Callable


def at_fork(
    *,
    before: Callable[[], object] | None = None,
    after_in_parent: Callable[[], object] | None = None,
    after_in_child: Callable[[], object] | None = None,
) -> None:
    """Have functions called around each fork from now on; nothing where no process forks.

    Args:
        before: in the parent, those that were registered last first.
        after_in_parent: in the parent, in the order in which they were registered.
        after_in_child: in the child, likewise.

    Example:
        >>> at_fork(after_in_child=counts.clear)
    """
    register = getattr(os, "register_at_fork", None)
    if register is not None:
        wanted = {"before": before, "after_in_parent": after_in_parent, "after_in_child": after_in_child}
        register(**{when: function for when, function in wanted.items() if function is not None})
