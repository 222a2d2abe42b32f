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

from budgeted.ledger.sql.driver_interface import Given
from budgeted.ledger.sql.row_mapping import RESERVATION
from budgeted.ledger.sql.schema import EMPTY, TEXT, ZERO, Column, Tables

CHANGING = ("usd", "tokens", "route", "ended", "used", "reason", "seal")
"""The columns of a hold that change as it ends, or as calls draw on a reservation."""

Query: TypeAlias = tuple[str, dict[str, Given]]
"""A statement, and what it is given."""

Insert: TypeAlias = Callable[[sa.Table], sqlite.Insert] | Callable[[sa.Table], postgresql.Insert]


class Statements:
    """Every statement of an SQL ledger, as text."""

    def __init__(self, tables: Tables, dialect: sa.Dialect) -> None:
        self._tables = tables
        on_sqlite = self._on_sqlite = dialect.name == "sqlite"
        # Named parameters everywhere: SQLite's driver takes them, though SQLAlchemy does not use them with it.
        self._dialect = sqlite.dialect(paramstyle="named") if on_sqlite else dialect
        self._insert: Insert = sqlite.insert if on_sqlite else postgresql.insert
        self.now: ColumnElement[float] = (
            (sa.func.julianday(sa.literal_column("'now'")) - sa.literal_column("2440587.5"))
            * sa.literal_column("86400.0")
            if on_sqlite
            else sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Double)
        )
        self._locking: dict[tuple[str, int], str] = {}
        self._of_schema()
        self._of_accounts()
        self._of_holds()
        self._of_ended()
        self._of_doubts()
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
        self.drop_indexes = [
            f"DROP INDEX IF EXISTS {self._quoted(f'{schema.name[:-6]}{name}')}"
            for name in ("holds_ended", "holds_uncertain")
        ]
        self.read_schema = self._sql(sa.select(schema.c.version, schema.c.identity, schema.c.opened))
        self.read_version = self._sql(sa.select(schema.c.version))
        self.insert_schema = self._sql(sa.insert(schema))
        self.update_schema = self._sql(
            sa.update(schema).values(version=_integer("version"), identity=_word("identity"), opened=_integer("opened"))
        )
        self.list_projects = self._sql(sa.select(projects.c.project))
        self.insert_project = self._sql(self._insert(projects).on_conflict_do_nothing())
        self.lock_project = self._sql(
            sa.select(projects.c.version, projects.c.identity, projects.c.accounts).where(mine).with_for_update()
        )
        self.update_project = self._sql(
            sa.update(projects).where(mine).values(version=_integer("to_version"), accounts=_integer("to_accounts"))
        )
        self.identify_project = self._sql(sa.update(projects).where(mine).values(identity=_word("to_identity")))

    def _of_accounts(self) -> None:
        accounts = self._tables.accounts
        mine, present = accounts.c.project == _word("project_"), accounts.c.gone == ZERO
        one = mine & (accounts.c.id == _word("id_"))
        self.read_account = self._sql(sa.select(*_bare(accounts)).where(one, present))
        self.insert_account = self._sql(sa.insert(accounts))
        self.update_account = self._sql(sa.update(accounts).where(one).values(_given(accounts)))
        self.delete_account = self._sql(sa.delete(accounts).where(one))
        self.count_accounts = self._sql(sa.select(sa.func.count()).select_from(accounts).where(mine))
        self.list_accounts = self._sql(
            sa.select(*_bare(accounts))
            .where(
                mine,
                present,
                accounts.c.id >= _word("prefix"),
                accounts.c.id > _word("after"),
                # For the index, which knows no prefixes: not all that come behind it are looked at.
                accounts.c.id < _word("behind"),
                sa.func.substr(accounts.c.id, sa.literal_column("1"), _integer("length", sa.Integer))
                == _word("prefix"),
            )
            .order_by(accounts.c.id)
            .limit(_integer("count"))
            .offset(ZERO)
        )

    def add_columns(self, since: int) -> list[str]:
        """What adds the columns that the tables of an earlier version lack."""
        return [
            f"ALTER TABLE {self._quoted(table.name)} ADD COLUMN {self._sql(sa.schema.CreateColumn(column))}"
            for table, column in self._tables.added(since)
        ]

    def lock_accounts(self, ids: list[str]) -> Query:
        """Lock accounts in the order of their ids, and tell the time."""
        return self._lock(self._tables.accounts, ids, self.now)

    def lock_holds(self, ids: list[str]) -> Query:
        """Lock holds in the order of their ids."""
        return self._lock(self._tables.holds, ids)

    def _lock(self, table: sa.Table, ids: list[str], *besides: ColumnElement[float]) -> Query:
        given: dict[str, Given] = {f"id{i}": id for i, id in enumerate(ids)} if self._on_sqlite else {"ids": ids}
        # Compiled once, as that takes longer than running it: PostgreSQL is given all ids as one parameter.
        found = self._locking.get((table.name, len(given)))
        if found is None:
            all_ids = sa.bindparam("ids", type_=postgresql.ARRAY(TEXT))
            one = table.c.id.in_(map(_word, given)) if self._on_sqlite else table.c.id == sa.any_(all_ids)
            find = sa.select(*_bare(table), *besides).where(table.c.project == _word("project_"), one)
            found = self._locking[table.name, len(given)] = self._sql(find.order_by(table.c.id).with_for_update())
        return found, given

    def _of_holds(self) -> None:
        holds, owners = self._tables.holds, self._tables.owners
        mine, open_ = holds.c.project == _word("project_"), holds.c.ended.is_(None)
        one = mine & (holds.c.id == _word("id_"))
        now = sa.func.coalesce(_real("now"), self.now)
        find = sa.select(*_bare(holds))
        self.read_hold = self._sql(find.where(one))
        sure = holds.c.reason == EMPTY  # as open ones are: the index of these has no others
        self.any_hold = self._sql(sa.select(holds.c.id).where(mine).limit(sa.literal_column("1")).offset(ZERO))
        self.open_holds = self._sql(find.where(mine, sure, open_).order_by(holds.c.opened))
        doubtful = mine & (holds.c.reason != EMPTY)
        uncertain = find.where(doubtful).order_by(holds.c.ended, holds.c.opened, holds.c.id)
        self.uncertain = self._sql(uncertain)
        self.some_uncertain = self._sql(uncertain.limit(_integer("count")).offset(_integer("first")))
        self.count_uncertain = self._sql(sa.select(sa.func.count()).select_from(holds).where(doubtful))
        position = sa.func.instr if self._on_sqlite else sa.func.strpos
        self.uncertain_with = self._sql(uncertain.where(position(holds.c.route, _word("text")) > ZERO))
        self.insert_hold = self._sql(sa.insert(holds))
        ending = {name: value for name, value in _given(holds).items() if name in CHANGING}
        self.update_hold = self._sql(sa.update(holds).where(one).values(ending))
        reserving = holds.c.parts == sa.literal_column(f"'{RESERVATION}'")
        late = (holds.c.opened <= now - _real("timeout")) & ~reserving
        abandoned = (
            sa.select(holds.c.id, holds.c.guess, sa.case((late, sa.literal_column("1")), else_=ZERO))
            .select_from(holds.outerjoin(owners, owners.c.id == holds.c.owner))
            .where(mine, sure, open_, late | owners.c.until.is_(None) | (owners.c.until <= self.now))
        )
        self.abandoned = self._sql(abandoned)
        self.still_abandoned = self._sql(abandoned.where(holds.c.id == _word("id_")))
        last_kept = (
            sa.select(holds.c.ended)
            .where(mine, sure, holds.c.ended.is_not(None))
            .order_by(holds.c.ended.desc())
            .limit(sa.literal_column("1"))
            .offset(_integer("remembered"))
        )
        self.list_old_holds = self._sql(
            sa.select(holds.c.id, holds.c.ended, holds.c.used)
            .where(mine, sure, holds.c.ended < last_kept.scalar_subquery(), holds.c.ended < now - _real("seconds"))
            .order_by(holds.c.ended)
            .limit(_integer("count"))
            .offset(ZERO)
        )
        self.delete_hold = self._sql(sa.delete(holds).where(one))

    def _of_ended(self) -> None:
        ended = self._tables.ended
        mine = ended.c.project == _word("project_")
        of_owner = mine & (ended.c.owner == _word("owner_"))
        number = _integer("number")
        self.find_ended = self._sql(
            sa.select(ended.c.first).where(of_owner, ended.c.first <= number, ended.c.last >= number)
        )
        beside = of_owner & (ended.c.last >= _integer("low")) & (ended.c.first <= _integer("high"))
        self.list_ended = self._sql(sa.select(ended.c.first, ended.c.last).where(beside))
        self.delete_ended = self._sql(sa.delete(ended).where(beside))
        self.insert_ended = self._sql(sa.insert(ended))
        self.prune_ended = self._sql(sa.delete(ended).where(mine, ended.c.at < _integer("before")))

    def _of_doubts(self) -> None:
        doubts, holds = self._tables.doubts, self._tables.holds
        mine = doubts.c.project == _word("project_")
        insert = self._insert(doubts).values({column.name: _param(column) for column in doubts.c})
        self.add_doubt = self._sql(
            insert.on_conflict_do_update(
                index_elements=[column.name for column in doubts.primary_key],
                set_={"usd": doubts.c.usd + insert.excluded.usd},
            )
        )
        one = (doubts.c.account == _word("account")) & (doubts.c.model == _word("model"))
        self.drop_doubt = self._sql(
            sa.delete(doubts).where(
                doubts.c.project == _word("project"), one, doubts.c.hour == _integer("hour"), doubts.c.usd == ZERO
            )
        )
        self.sum_doubts = self._sql(
            sa.select(doubts.c.model, sa.cast(sa.func.sum(doubts.c.usd), sa.BigInteger))
            .where(
                mine,
                doubts.c.account == _word("account_"),
                doubts.c.hour >= _integer("first"),
                doubts.c.hour < _integer("behind"),
            )
            .group_by(doubts.c.model)
        )
        self.doubtful_holds = self._sql(
            sa.select(holds.c.route, holds.c.used).where(
                holds.c.project == _word("project_"),
                holds.c.reason != EMPTY,
                holds.c.opened >= _integer("first"),
                holds.c.opened < _integer("behind"),
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
        first = _integer("first")
        counted = self._insert(owners).values(id=_word("id"), until=self.now, verbs=first)
        count = counted.on_conflict_do_update(index_elements=["id"], set_={"verbs": owners.c.verbs + _integer("more")})
        # Not every SQLite that Python comes with knows RETURNING, and nobody else counts there meanwhile.
        self.returns_counts = not self._on_sqlite
        self.count_verbs = self._sql(count.returning(owners.c.verbs) if self.returns_counts else count)
        nobody_waits = sa.func.pg_try_advisory_xact_lock(_integer("key"))
        tell = sa.cast(sa.func.pg_notify(_word("channel"), EMPTY), TEXT)
        self.count_and_tell = self._sql(count.returning(owners.c.verbs, sa.case((nobody_waits, EMPTY), else_=tell)))
        projects = self._tables.projects
        self.standing = self._sql(
            sa.select(projects.c.identity, owners.c.verbs)
            .select_from(projects.outerjoin(owners, owners.c.id == _word("owner_")))
            .where(projects.c.project == _word("project_"))
        )
        self.withdraw = self._sql(sa.delete(owners).where(owners.c.id == _word("id_")))
        self.prune_owners = self._sql(sa.delete(owners).where(owners.c.until <= self.now - _real("seconds")))

    def _of_reports(self) -> None:
        reports = self._tables.reports
        mine, since = reports.c.project == _word("project_"), reports.c.day >= _integer("since")
        find = sa.select(*_bare(reports)).where(mine, since)
        self.list_reports = self._sql(find.order_by(reports.c.day))
        self.account_reports = self._sql(find.where(reports.c.account == _word("account_")))
        of_users = sa.func.substr(reports.c.account, sa.literal_column("1"), sa.literal_column("2")) == _word("kind")
        spent = sa.func.sum(reports.c.usd).desc()
        self.spent_most = self._sql(
            sa.select(reports.c.account)
            .where(mine, reports.c.day == _integer("day_"), of_users)
            .group_by(reports.c.account)
            .order_by(spent, reports.c.account)
            .limit(_integer("count"))
            .offset(ZERO)
        )
        insert = self._insert(reports).values({column.name: _param(column) for column in reports.c})
        self.add_report = self._sql(
            insert.on_conflict_do_update(
                index_elements=[column.name for column in reports.primary_key],
                set_={column.name: column + insert.excluded[column.name] for column in figures(reports)},
            )
        )
        self.put_report = self._sql(
            insert.on_conflict_do_update(
                index_elements=[column.name for column in reports.primary_key],
                set_={column.name: insert.excluded[column.name] for column in figures(reports)},
            )
        )
        # Apart from each other: a bound that is looked for within the statement lets PostgreSQL go through all rows.
        self.report_days = self._sql(sa.select(sa.func.min(reports.c.day), sa.func.max(reports.c.day)).where(mine))
        self.prune_reports = self._sql(sa.delete(reports).where(mine, reports.c.day < _integer("before")))

    def _quoted(self, name: str) -> str:
        return self._dialect.identifier_preparer.quote(name)

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
    return {column.name: _param(column) for column in figures(table)}


def figures(table: sa.Table) -> list[Column]:
    """The columns that say something of what a row is about."""
    return [column for column in table.c if not column.primary_key]


def _bare(table: sa.Table) -> list[Column]:
    """A table's columns without the project."""
    return [column for column in table.c if column.name != "project"]
