"""How many open files a server may have, and for what: connections, and the ledgers of projects."""

from __future__ import annotations

from budgeted.system import current as system

SPARE = 64
"""For what is open beside connections and ledgers: the program's own, and files that are open for a moment."""

PER_PROJECT = 3
"""Files that the ledger of a project in a directory keeps open."""


def share_out(connections: int, projects: int) -> tuple[int, int]:
    """How many connections and projects the process has open files for, after it has asked for enough of them.

    Args:
        connections: how many there are to be at most.
        projects: how many there are to be open at once at most.

    Returns:
        Both, as asked or as many as there is room for: half of the files are for connections.

    Example:
        >>> share_out(10, 10)
        (10, 10)
    """
    needed = connections + PER_PROJECT * projects + SPARE
    most = system.allow_open_files(needed)
    if most is None or most >= needed:
        return connections, projects
    connections = max(1, min(connections, most // 2))
    return connections, max(1, min(projects, (most - connections - SPARE) // PER_PROJECT))
