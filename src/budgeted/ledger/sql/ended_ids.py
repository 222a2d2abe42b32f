"""Which charges were counted long ago: by their ids alone, as ranges, so that none is ever counted twice.

Ids are an owner and a number, and a process takes one number after the other: what it was charged is a few ranges,
however many calls it made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from budgeted.ledger.memory.daily_rollups import RETENTION_DAYS
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.driver_interface import Driver, Value
from budgeted.ledger.sql.statements import Statements

BATCH = 1000
"""Ended holds that are dropped in one transaction."""

KEPT_SECONDS = 86_400 * RETENTION_DAYS
"""How long a range is kept: as long as the reports that it was counted in."""

NONE = -1
"""The number of an id that ends in none."""

LARGEST = 2**62


def parts(id: str) -> tuple[str, int]:
    """The owner and the number of an id; of one that has none, all of it and :data:`NONE`."""
    owner, dot, number = id.rpartition(".")
    # As new_id() writes it: "1" and "01" are two ids.
    if dot and number.isascii() and number.isdigit() and str(int(number)) == number and int(number) < LARGEST:
        return owner, int(number)
    return id, NONE


def joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of whole numbers, with both ends, as few as possible."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


class EndedIds:
    """The ids of a project's ended holds that are not there any more.

    Args:
        statements: on the tables.
        project: the project's name as it is stored.
    """

    def __init__(self, statements: Statements, project: str) -> None:
        self._sql = statements
        self._project = project

    def knows(self, driver: Driver, id: str) -> bool:
        """Whether a charge of that id was counted, and is not kept any more."""
        owner, number = parts(id)
        given: dict[str, Value] = {"project_": self._project, "owner_": row_mapping.written(owner), "number": number}
        return bool(driver.execute(self._sql.find_ended, given).fetchall())

    def prune(self, driver: Driver, given: Mapping[str, Value]) -> int:
        """Drop some of the holds that ended long ago, and keep the ids of those that were charged. Returns how many."""
        project: dict[str, Value] = {"project_": self._project}
        # One process at a time.
        driver.execute(self._sql.lock_project, {"project": self._project}).fetchall()
        old = driver.execute(self._sql.list_old_holds, {**given, **project, "count": BATCH}).fetchall()
        by_owner: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for id, _, used in old:
            if used is not None:  # what was released may still be charged, by an answer that comes late
                owner, number = parts(row_mapping.read(id))
                by_owner[owner].append((number, number))
        at = max((int(ended) for _, ended, _ in old), default=0)
        for owner, numbers in by_owner.items():
            self._add(driver, row_mapping.written(owner), numbers, at)
        for id, _, _ in old:
            driver.execute(self._sql.delete_hold, {**project, "id_": id})
        driver.execute(self._sql.prune_ended, {**project, "before": at - KEPT_SECONDS})
        return len(old)

    def _add(self, driver: Driver, owner: str, numbers: list[tuple[int, int]], at: int) -> None:
        low, high = min(first for first, _ in numbers) - 1, max(last for _, last in numbers) + 1
        beside: dict[str, Value] = {"project_": self._project, "owner_": owner, "low": low, "high": high}
        known = [(int(first), int(last)) for first, last in driver.execute(self._sql.list_ended, beside).fetchall()]
        driver.execute(self._sql.delete_ended, beside)
        for first, last in joined([*known, *numbers]):
            row: dict[str, Value] = {"project": self._project, "owner": owner, "first": first, "last": last, "at": at}
            driver.execute(self._sql.insert_ended, row)
