"""How many open files a server may have, and for what: connections, and what it opens beside them."""

from __future__ import annotations

from budgeted.system import current as system

SPARE = 64
"""For what is open besides: the program's own, and files that are open for a moment."""


def share_out(connections: int, others: int, files_each: int) -> tuple[int, int]:
    """How many connections and other things the process has open files for, after it has asked for enough of them.

    Args:
        connections: how many there are to be at most.
        others: how many of what is open beside them there are to be at most, such as the ledgers of projects.
        files_each: open files that each of those takes.

    Returns:
        Both, as asked or as many as there is room for: half of the files are for connections.

    Example:
        >>> share_out(10, 10, 3)
        (10, 10)
    """
    needed = connections + files_each * others + SPARE
    most = system.allow_open_files(needed)
    if most is None or most >= needed:
        return connections, others
    connections = max(1, min(connections, most // 2))
    return connections, max(1, min(others, (most - connections - SPARE) // files_each))
