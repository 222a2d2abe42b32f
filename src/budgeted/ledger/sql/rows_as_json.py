"""What writes rows of several tables in one statement of PostgreSQL: those of each are one parameter, as JSON."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ClauseElement

from budgeted.ledger.sql.changed_rows import ChangedRows
from budgeted.ledger.sql.driver_interface import Given
from budgeted.ledger.sql.schema import Tables
from budgeted.ledger.sql.statements import CHANGING, Query, figures

_encode = msgspec.json.Encoder().encode


class RowsAsJSON:
    """The statements that write rows of a ledger's tables together.

    Args:
        tables: which.
        dialect: the driver's, by which they are written.
    """

    def __init__(self, tables: Tables, dialect: sa.Dialect) -> None:
        self._tables = tables
        self._dialect = dialect
        self._together: dict[tuple[tuple[str, ...], str | None], str] = {}

    def query(self, rows: ChangedRows, counting: Query | None = None) -> Query | None:
        """What writes these rows, and counts who changed them in the same statement; None where there are no rows."""
        given: dict[str, Given] = {name: _encode(some).decode() for name, some in rows._asdict().items() if some}
        if not given:
            return None
        last, more = counting or (None, {})
        return self._statement(tuple(given), last), given | more

    def _statement(self, names: tuple[str, ...], last: str | None) -> str:
        # One for each combination: a part that has nothing to write would take its time all the same.
        found = self._together.get((names, last))
        if found is None:
            parts = [self._part(name) for name in names]
            end = parts.pop() if last is None else last
            before = ", ".join(f"{name}_written AS ({part})" for name, part in zip(names, parts, strict=False))
            found = self._together[names, last] = f"WITH {before} {end}" if before else end
        return found

    def _part(self, name: str) -> str:
        """What writes the rows of one table."""
        accounts, holds, reports = self._tables.accounts, self._tables.holds, self._tables.reports
        part: ClauseElement
        match name:
            case "accounts":
                part = _update(accounts, name, [column.name for column in figures(accounts)])
            case "opened":
                part = _insert(holds, name)
            case "changed":
                part = _update(holds, name, CHANGING)
            case _:
                part = _add(reports, name)
        return str(part.compile(dialect=self._dialect))


def _given(table: sa.Table, name: str) -> sa.TableValuedAlias:
    """Rows of a table, out of a parameter."""
    rows = sa.func.json_to_recordset(sa.bindparam(name, type_=postgresql.JSON))
    columns = [sa.column(column.name, column.type) for column in table.c]
    return rows.table_valued(*columns, name="given").render_derived(with_types=True)


def _update(table: sa.Table, name: str, columns: Iterable[str]) -> sa.Update:
    given = _given(table, name).c
    keys = [column == given[column.name] for column in table.primary_key]
    return sa.update(table).where(*keys).values({column: given[column] for column in columns})


def _insert(table: sa.Table, name: str) -> postgresql.Insert:
    rows = sa.select(*_given(table, name).c)
    return postgresql.insert(table).from_select([column.name for column in table.c], rows)


def _add(table: sa.Table, name: str) -> postgresql.Insert:
    """Add to what rows have, and make those that are not there."""
    insert = _insert(table, name)
    return insert.on_conflict_do_update(
        index_elements=[column.name for column in table.primary_key],
        set_={column.name: column + insert.excluded[column.name] for column in figures(table)},
    )
