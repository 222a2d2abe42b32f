"""Every statement on the tables of an SQL ledger, as text for one database's driver.

Statements are built with SQLAlchemy once per ledger and run by the driver itself: compiling one at each call would
take longer than SQLite needs to run it. Constants are written into them, and all else is a named parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.elements import BindParameter, ClauseElement, ColumnElement

from budgeted.ledger.sql.schema import EMPTY, TEXT, ZERO, Column, Tables

Insert: TypeAlias = Callable[[sa.Table], sqlite.Insert] | Callable[[sa.Table], postgresql.Insert]


class Statements:
    """Every statement of an SQL ledger, as text."""

    def __init__(self, tables: Tables, dialect: sa.Dialect) -> None:
        self._tables = tables
        on_sqlite = dialect.name == "sqlite"
        # Named parameters everywhere: SQLite's driver takes them, though SQLAlchemy does not use them with it.
        self._dialect = sqlite.dialect(paramstyle="named") if on_sqlite else dialect
        self._insert: Insert = sqlite.insert if on_sqlite else postgresql.insert
        self.now: ColumnElement[float] = (
            (sa.func.julianday(sa.literal_column("'now'")) - sa.literal_column("2440587.5"))
            * sa.literal_column("86400.0")
            if on_sqlite
            else sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
        )
        self._locking: dict[int, str] = {}
        self._of_schema()
        self._of_accounts()
        self._of_holds()
        self._of_owners()
        self._of_reports()

    def _of_schema(self) -> None:
        schema, projects = self._tables.schema, self._tables.projects
        mine = projects.c.project == _word("project")
        tables = self._tables.metadata.sorted_tables
        self.make_tables = [
            *(self._sql(sa.schema.CreateTable(table, if_not_exists=True)) for table in tables),
            *(self._sql(sa.schema.CreateIndex(i, if_not_exists=True)) for table in tables for i in table.indexes),
        ]
        self.read_schema = self._sql(sa.select(schema.c.version))
        self.insert_schema = self._sql(sa.insert(schema))
        self.insert_project = self._sql(self._insert(projects).on_conflict_do_nothing())
        self.lock_project = self._sql(sa.select(projects.c.version).where(mine).with_for_update())
        self.update_project = self._sql(sa.update(projects).where(mine).values(version=_integer("to_version")))

    def _of_accounts(self) -> None:
        accounts = self._tables.accounts
        mine, present = accounts.c.project == _word("project_"), accounts.c.gone == ZERO
        one = mine & (accounts.c.id == _word("id_"))
        self.read_account = self._sql(sa.select(*_bare(accounts)).where(one, present))
        self.insert_account = self._sql(sa.insert(accounts))
        self.update_account = self._sql(sa.update(accounts).where(one).values(_given(accounts)))
        self.delete_account = self._sql(sa.delete(accounts).where(one))
        self.list_accounts = self._sql(
            sa.select(*_bare(accounts))
            .where(
                mine,
                present,
                accounts.c.id >= _word("prefix"),
                accounts.c.id > _word("after"),
                sa.func.substr(accounts.c.id, sa.literal_column("1"), _integer("length", sa.Integer))
                == _word("prefix"),
            )
            .order_by(accounts.c.id)
            .limit(_integer("count"))
            .offset(ZERO)
        )

    def lock_accounts(self, count: int) -> str:
        """Lock so many accounts (``id0``, ``id1``, ...) in the order of their ids, and tell the time."""
        # Kept for each number of accounts: compiling it takes longer than running it.
        found = self._locking.get(count)
        if found is None:
            accounts = self._tables.accounts
            found = self._locking[count] = self._sql(
                sa.select(*_bare(accounts), self.now)
                .where(
                    accounts.c.project == _word("project_"),
                    accounts.c.id.in_([_word(f"id{i}") for i in range(count)]),
                )
                .order_by(accounts.c.id)
                .with_for_update()
            )
        return found

    def _of_holds(self) -> None:
        holds, owners = self._tables.holds, self._tables.owners
        mine, open_ = holds.c.project == _word("project_"), holds.c.ended.is_(None)
        one = mine & (holds.c.id == _word("id_"))
        now = sa.func.coalesce(_real("now"), self.now)
        find = sa.select(*_bare(holds))
        self.read_hold = self._sql(find.where(one))
        self.lock_hold = self._sql(find.where(one).with_for_update())
        self.open_holds = self._sql(find.where(mine, open_).order_by(holds.c.opened))
        self.uncertain = self._sql(
            find.where(mine, holds.c.reason != EMPTY).order_by(holds.c.ended, holds.c.opened, holds.c.id)
        )
        self.insert_hold = self._sql(sa.insert(holds))
        ending = {name: value for name, value in _given(holds).items() if name in ("route", "ended", "used", "reason")}
        self.update_hold = self._sql(sa.update(holds).where(one).values(ending))
        late = holds.c.opened <= now - _real("timeout")
        abandoned = (
            sa.select(holds.c.id, holds.c.guess, sa.case((late, sa.literal_column("1")), else_=ZERO))
            .select_from(holds.outerjoin(owners, owners.c.id == holds.c.owner))
            .where(mine, open_, late | owners.c.until.is_(None) | (owners.c.until <= self.now))
        )
        self.abandoned = self._sql(abandoned)
        self.still_abandoned = self._sql(abandoned.where(holds.c.id == _word("id_")))
        sure = mine & (holds.c.reason == EMPTY)
        last_kept = (
            sa.select(holds.c.ended)
            .where(sure, holds.c.ended.is_not(None))
            .order_by(holds.c.ended.desc())
            .limit(sa.literal_column("1"))
            .offset(_integer("remembered"))
        )
        self.prune_holds = self._sql(
            sa.delete(holds).where(
                sure, holds.c.ended < last_kept.scalar_subquery(), holds.c.ended < now - _real("seconds")
            )
        )

    def _of_owners(self) -> None:
        owners = self._tables.owners
        until = self.now + _real("seconds")
        self.renew = self._sql(
            self._insert(owners)
            .values(id=_word("id"), until=until)
            .on_conflict_do_update(index_elements=["id"], set_={"until": until})
        )
        self.withdraw = self._sql(sa.delete(owners).where(owners.c.id == _word("id_")))
        self.prune_owners = self._sql(sa.delete(owners).where(owners.c.until <= self.now))

    def _of_reports(self) -> None:
        reports = self._tables.reports
        mine, since = reports.c.project == _word("project_"), reports.c.day >= _integer("since")
        find = sa.select(*_bare(reports)).where(mine, since)
        self.list_reports = self._sql(find.order_by(reports.c.day))
        self.account_reports = self._sql(find.where(reports.c.account == _word("account_")))
        insert = self._insert(reports).values({column.name: _param(column) for column in reports.c})
        self.add_report = self._sql(
            insert.on_conflict_do_update(
                index_elements=[column.name for column in reports.primary_key],
                set_={column.name: column + insert.excluded[column.name] for column in _figures(reports)},
            )
        )
        self.put_report = self._sql(
            insert.on_conflict_do_update(
                index_elements=[column.name for column in reports.primary_key],
                set_={column.name: insert.excluded[column.name] for column in _figures(reports)},
            )
        )
        newest = sa.select(sa.func.max(reports.c.day)).where(mine).scalar_subquery()
        self.prune_reports = self._sql(sa.delete(reports).where(mine, reports.c.day < newest - _integer("days")))

    def _sql(self, statement: ClauseElement) -> str:
        return str(statement.compile(dialect=self._dialect))


def _word(name: str) -> BindParameter[str]:
    return sa.bindparam(name, type_=TEXT)


def _integer(name: str, type_: type[sa.Integer] = sa.BigInteger) -> BindParameter[int]:
    return sa.bindparam(name, type_=type_)


def _real(name: str) -> BindParameter[float]:
    return sa.bindparam(name, type_=sa.Double)


def _param(column: Column) -> BindParameter[object]:
    return sa.bindparam(column.name, type_=column.type)


def _given(table: sa.Table) -> dict[str, BindParameter[object]]:
    """Every figure of a row as a parameter of its column's name."""
    return {column.name: _param(column) for column in _figures(table)}


def _figures(table: sa.Table) -> list[Column]:
    return [column for column in table.c if not column.primary_key]


def _bare(table: sa.Table) -> list[Column]:
    """A table's columns without the project."""
    return [column for column in table.c if column.name != "project"]
