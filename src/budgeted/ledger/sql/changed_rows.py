"""What a transaction writes: the rows that are not what they were, by table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.daily_rollups import shortened
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.spending_records import RollupRow
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.row_mapping import Row


class ChangedRows(NamedTuple):
    """What a transaction writes.

    Attributes:
        accounts: what accounts are now.
        opened: holds that were not there.
        changed: what holds that were there are now.
        reports: what the report's rows get added, each row once.
    """

    accounts: Sequence[Row]
    opened: Sequence[Row]
    changed: Sequence[Row]
    reports: Sequence[Row]


def changed_rows(
    project: str,
    accounts: Sequence[Row],
    holds: Iterable[tuple[Held | Ended | None, Held | Ended]],
    charged: Iterable[RollupRow],
) -> ChangedRows:
    """The rows to be written.

    Args:
        project: its name as it is stored.
        accounts: the rows of accounts.
        holds: as they were, and as they are.
        charged: what the report's rows get added.
    """
    opened: list[Row] = []
    changed: list[Row] = []
    for before, now in holds:
        (opened if before is None else changed).append(row_mapping.hold_row(project, now))
    return ChangedRows(accounts, opened, changed, [row_mapping.report_row(project, row) for row in _merged(charged)])


def _merged(charged: Iterable[RollupRow]) -> list[RollupRow]:
    """What the report's rows get added, each row once: different names may be stored alike, as they are shortened."""
    found: dict[tuple[int, str, str, str], RollupRow] = {}
    for row in charged:
        same = found.setdefault((row.day, row.account, shortened(row.provider), shortened(row.model)), row)
        if same is not row:
            for figure in RollupRow.__struct_fields__[4:]:
                setattr(same, figure, getattr(same, figure) + getattr(row, figure))
    return [found[key] for key in sorted(found)]
