"""Tables that an earlier version made are opened as they are, and get what they lack."""

# ruff: noqa: S608 - the names are ours
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import ALICE, AT, charge, check, cost, finish, held, hold, python, route, spent, together
from saved_tables import SavedTables
from servers import postgres_url, project

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.ledger import SQLLedger
from budgeted.ledger.sql.schema import VERSION

VERSION_1 = """
CREATE TABLE {}accounts (project TEXT NOT NULL, id TEXT NOT NULL, version BIGINT NOT NULL, explicit BIGINT NOT NULL,
  gone BIGINT NOT NULL, slots TEXT NOT NULL, usd BIGINT NOT NULL, tokens BIGINT NOT NULL, calls BIGINT NOT NULL,
  held BIGINT NOT NULL, models TEXT, models_since BIGINT NOT NULL, PRIMARY KEY (project, id));
CREATE TABLE {}holds (project TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, opened BIGINT NOT NULL,
  granted BIGINT NOT NULL, usd BIGINT NOT NULL, tokens BIGINT NOT NULL, guess TEXT, route TEXT NOT NULL, ended BIGINT,
  used TEXT, reason TEXT NOT NULL, PRIMARY KEY (project, id));
CREATE TABLE {}owners (id TEXT NOT NULL, until DOUBLE PRECISION NOT NULL, PRIMARY KEY (id));
CREATE TABLE {}projects (project TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (project));
CREATE TABLE {}reports (project TEXT NOT NULL, day BIGINT NOT NULL, account TEXT NOT NULL, provider TEXT NOT NULL,
  model TEXT NOT NULL, calls BIGINT NOT NULL, usd BIGINT NOT NULL, input_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL, uncertain BIGINT NOT NULL, PRIMARY KEY (project, day, account, provider, model));
CREATE TABLE {}schema (version BIGINT NOT NULL, PRIMARY KEY (version));
CREATE INDEX {}holds_ended ON {}holds (project, ended);
CREATE INDEX {}holds_uncertain ON {}holds (project) WHERE reason != '';
INSERT INTO {}schema VALUES (1);
INSERT INTO {}projects VALUES ('p', 2), ('q', 0);
INSERT INTO {}accounts VALUES
  ('p', 'g', 1, 1, 0, '[["usd",0,1000,0,4611686018427387904,107,30,-1]]', 107, 6, 2, 30, NULL, 0),
  ('p', 'u:alice', 2, 1, 0, '[["usd",0,600,0,4611686018427387904,107,30,-1]]', 107, 6, 2, 30, NULL, 0);
INSERT INTO {}owners VALUES ('old', 4000000000);
INSERT INTO {}holds VALUES
  ('p', 'old.1', 'old', 1800000000, 0, 30, 0, '[30,0,0]', ROUTE, NULL, NULL, ''),
  ('p', 'old.2', 'old', 1800000000, 0, 100, 0, NULL, ROUTE, 1800000000, '[100,2,1]', ''),
  ('p', 'old.3', 'old', 1800000000, 0, 7, 0, NULL, ROUTE, 1800000000, '[7,2,1]', 'cut off');
INSERT INTO {}reports VALUES
  ('p', 20000, 'g', 'p', 'm', 2, 107, 4, 2, 7), ('p', 20000, 'u:alice', 'p', 'm', 2, 107, 4, 2, 7)
"""
VERSION_2 = """
CREATE TABLE {}accounts (project TEXT NOT NULL, id TEXT NOT NULL, version BIGINT NOT NULL, explicit BIGINT NOT NULL,
  gone BIGINT NOT NULL, slots TEXT NOT NULL, usd BIGINT NOT NULL, tokens BIGINT NOT NULL, calls BIGINT NOT NULL,
  held BIGINT NOT NULL, models TEXT, models_since BIGINT NOT NULL, seal BIGINT DEFAULT 0 NOT NULL,
  PRIMARY KEY (project, id));
CREATE TABLE {}holds (project TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, opened BIGINT NOT NULL,
  granted BIGINT NOT NULL, usd BIGINT NOT NULL, tokens BIGINT NOT NULL, guess TEXT, route TEXT NOT NULL, ended BIGINT,
  used TEXT, reason TEXT NOT NULL, seal BIGINT DEFAULT 0 NOT NULL, PRIMARY KEY (project, id));
CREATE TABLE {}owners (id TEXT NOT NULL, until DOUBLE PRECISION NOT NULL, verbs BIGINT DEFAULT 0 NOT NULL,
  PRIMARY KEY (id));
CREATE TABLE {}projects (project TEXT NOT NULL, version BIGINT NOT NULL, identity TEXT DEFAULT '' NOT NULL,
  accounts BIGINT DEFAULT 0 NOT NULL, PRIMARY KEY (project));
CREATE TABLE {}reports (project TEXT NOT NULL, day BIGINT NOT NULL, account TEXT NOT NULL, provider TEXT NOT NULL,
  model TEXT NOT NULL, calls BIGINT NOT NULL, usd BIGINT NOT NULL, input_tokens BIGINT NOT NULL,
  output_tokens BIGINT NOT NULL, uncertain BIGINT NOT NULL, PRIMARY KEY (project, day, account, provider, model));
CREATE TABLE {}ended (project TEXT NOT NULL, owner TEXT NOT NULL, first BIGINT NOT NULL, last BIGINT NOT NULL,
  at BIGINT NOT NULL, PRIMARY KEY (project, owner, first));
CREATE TABLE {}doubts (project TEXT NOT NULL, account TEXT NOT NULL, model TEXT NOT NULL, hour BIGINT NOT NULL,
  usd BIGINT NOT NULL, PRIMARY KEY (project, account, model, hour));
CREATE TABLE {}schema (version BIGINT NOT NULL, identity TEXT DEFAULT '' NOT NULL, opened BIGINT DEFAULT 0 NOT NULL,
  PRIMARY KEY (version));
CREATE INDEX {}holds_doubtful ON {}holds (project, opened) WHERE reason != '';
CREATE INDEX {}holds_sure ON {}holds (project, ended) WHERE reason = '';
CREATE INDEX {}reports_account ON {}reports (project, account, day);
INSERT INTO {}schema VALUES (2, 'e05a22f9e6adc486', 1);
INSERT INTO {}projects VALUES ('p', 2, '47e6c918c139dc28', 2), ('q', 0, '8fd0cb5bd8a5d9b4', 0);
INSERT INTO {}accounts VALUES
  ('p', 'g', 1, 1, 0, '[["usd",0,1000,0,4611686018427387904,107,30,-1]]', 107, 6, 2, 30, '{"m":107}', 0, 706424355),
  ('p', 'u:alice', 2, 1, 0, '[["usd",0,600,0,4611686018427387904,107,30,-1]]', 107, 6, 2, 30, '{"m":107}', 0,
   476658725);
INSERT INTO {}owners VALUES ('old', 4000000000, 7);
INSERT INTO {}holds VALUES
  ('p', 'old.1', 'old', 1800000000, 0, 30, 0, '[30,0,0]', ROUTE, NULL, NULL, '', 2783454171),
  ('p', 'old.2', 'old', 1800000000, 0, 100, 0, '[100,0,0]', ROUTE, 1800000000, '[100,2,1]', '', 727768155),
  ('p', 'old.3', 'old', 1800000000, 0, 7, 0, '[7,0,0]', ROUTE, 1800000000, '[7,2,1]', 'cut off', 2446195302);
INSERT INTO {}reports VALUES
  ('p', 20000, 'g', 'p', 'm', 2, 107, 4, 2, 7), ('p', 20000, 'u:alice', 'p', 'm', 2, 107, 4, 2, 7);
INSERT INTO {}doubts VALUES ('p', 'g', 'm', 500000, 7), ('p', 'u:alice', 'm', 500000, 7)
"""
ROUTE = '[20000,"p","m",[["g",[["usd",0,4611686018427387904]]],["u:alice",[["usd",0,4611686018427387904]]]]]'


def made(kind: str, version: str, tmp_path: Path) -> tuple[str, str]:
    """The URL of a database, and the prefix of tables there that an earlier version made."""
    url = f"sqlite:///{tmp_path}/ledger.db" if kind == "sqlite" else postgres_url()
    prefix = project().replace("-", "_") + "_"
    engine = sa.create_engine(sa.make_url(url).set(drivername=f"{kind}+psycopg".replace("sqlite+psycopg", "sqlite")))
    with engine.begin() as connection:
        for statement in version.replace("{}", prefix).replace("ROUTE", f"'{ROUTE}'").split(";"):
            connection.exec_driver_sql(statement)
    engine.dispose()
    return url, prefix


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """Of the database."""
    return str(request.param)


@pytest.fixture(params=[VERSION_1, VERSION_2], ids=["version 1", "version 2"])
def place(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> tuple[str, str]:
    """The URL of a database, and the prefix of tables there that an earlier version made."""
    return made(kind, request.param, tmp_path)


def test_what_they_have_is_there(place: tuple[str, str]) -> None:
    ledger: Any = SQLLedger(place[0], "p", prefix=place[1])
    assert (spent(ledger), held(ledger), spent(ledger, ALICE)) == (107, 30, 107)
    assert [one.id for one in ledger.open_holds()] == ["old.1"]
    assert ledger.uncertain_sums([(GLOBAL, 0, 2**62), (ALICE, AT, AT + 1), (ALICE, AT + 1, AT + 2)]) == [
        {"m": 7},
        {"m": 7},
        {},
    ]
    assert ledger.settle("old.1", Used(20, 1, 1), AT)
    assert ledger.correct("old.3", Used(9, 1, 1), AT).used.usd == 7
    charge(ledger, 1, GLOBAL, ALICE)
    assert hold(ledger, 600, GLOBAL, ALICE).limit == "usd"
    assert (spent(ledger), held(ledger), spent(ledger, ALICE)) == (130, 0, 130)
    assert ledger.uncertain_sums([(GLOBAL, 0, 2**62)]) == [{}]
    check(ledger)
    ledger.close()
    again = SQLLedger(place[0], "p", prefix=place[1])
    assert spent(again) == 130
    again.close()
    SQLLedger(place[0], "q", prefix=place[1]).close()


@pytest.mark.slow
def test_several_processes_may_open_them_at_once(place: tuple[str, str]) -> None:
    program = """
        import sys
        from ledgers import *
        from budgeted.ledger.sql.ledger import SQLLedger
        print("ready", flush=True)
        sys.stdin.readline()
        ledger = SQLLedger(sys.argv[1], "p", prefix=sys.argv[2])
        charge(ledger, 1, GLOBAL)
        ledger.close()
    """
    workers = [python(program, *place) for _ in range(4)]
    together(*workers)
    finish(*workers)
    ledger = SQLLedger(place[0], "p", prefix=place[1])
    assert spent(ledger) == 111
    ledger.close()


def test_those_that_they_open_lack_are_told_as_soon_as_any(place: tuple[str, str]) -> None:
    ledger: Any = SQLLedger(place[0], "p", prefix=place[1])
    where = route(ledger, GLOBAL)
    engine = sa.create_engine(ledger._database.engine.url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM {place[1]}projects")
    engine.dispose()
    with pytest.raises(LedgerError, match="are gone"):
        ledger.hold(ledger.new_id(), where, cost(1), AT)
    ledger.close()


def test_what_version_2_knew_of_itself_is_kept(kind: str, tmp_path: Path) -> None:
    url, prefix = made(kind, VERSION_2, tmp_path)
    SQLLedger(url, "p", prefix=prefix).close()
    tables = SavedTables(url, prefix)
    tables.save()
    tables.engine.dispose()
    assert [(row["version"], row["identity"]) for row in tables.saved["schema"]] == [(VERSION, "e05a22f9e6adc486")]
    assert {row["identity"] for row in tables.saved["projects"]} == {"47e6c918c139dc28", "8fd0cb5bd8a5d9b4"}
    assert {row["usd"] for row in tables.saved["doubts"]} == {7}


def test_accounts_that_version_2_has_lost_are_told(kind: str, tmp_path: Path) -> None:
    url, prefix = made(kind, VERSION_2, tmp_path)
    tables = SavedTables(url, prefix)
    tables.run("DELETE FROM {accounts} WHERE id = 'u:alice'")
    tables.engine.dispose()
    with pytest.raises(LedgerError, match="2 were made, and 1 are there"):
        SQLLedger(url, "p", prefix=prefix)
