"""What ``ledger=`` may be, and what is refused because something else was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from budgeted.errors import LedgerError
from budgeted.ledger.default_place import default_directory
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.urls import HTTP, MEMORY, PATH, REDIS, SQL, kind_of, public


class TheirRedis(redis.Redis):
    pass


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        (None, PATH),
        ("./spend", PATH),
        (Path("spend "), PATH),
        ("./redis:host", PATH),
        ("spend@home:today", PATH),
        ("file:///var/lib/spend", PATH),
        ("memory://", MEMORY),
        ("redis://host", REDIS),
        ("redis://host/", REDIS),
        ("rediss://:p%20w@host:6380/12?socket_timeout=1", REDIS),
        (TheirRedis(), REDIS),
        ("sqlite:////var/lib/my app.db", SQL),
        ("sqlite+pysqlite:///spend.db?table_prefix=x_", SQL),
        ("postgresql+psycopg://u:p@host/app", SQL),
        ("postgres://u:p@host/app", SQL),
        (sa.create_engine("sqlite://"), SQL),
        ("https://host/budgets", HTTP),
        ("http://[::1]:8787", HTTP),
    ],
)
def test_what_is_a_ledger_is_told_by_its_beginning_or_its_package(where: Any, kind: str) -> None:
    assert kind_of(where) == kind


@pytest.mark.parametrize(
    ("where", "quoted", "write"),
    [
        ("redis:host", "'redis:host'", "redis://user:password@host:6379/0"),
        ("redis:user:secret@host:6379", "'redis:***@host:6379'", "redis://user:password@host:6379/0"),
        ("redis:/host/0", "'redis:/host/0'", "redis://"),
        ("rediss:host", "'rediss:host'", "rediss://"),
        ("memory:/", "'memory:/'", "'memory://'"),
        ("memory", "'memory'", "'memory://', or './memory'"),
        (":memory:", "':memory:'", "'memory://'"),
        ("memory:///x", "'memory:///x'", "'memory://'"),
        ("postgresql:/x", "'postgresql:/x'", "postgresql+psycopg://"),
        ("postgresql+psycopg:u:secret@h/d", "'postgresql+psycopg:***@h/d'", "postgresql+psycopg://"),
        ("sqlite:spend.db", "'sqlite:spend.db'", "sqlite:////path"),
        ("sqlite://relative", "'sqlite://relative'", "'sqlite:///relative'"),
        ("sqlite://u:secret@h/spend.db", "'sqlite://***@h/spend.db'", "'sqlite:///h/spend.db'"),
        ("sqlite://relative/spend.db", "'sqlite://relative/spend.db'", "'sqlite:///relative/spend.db'"),
        ("file:/var/spend", "'file:/var/spend'", "file:///dir"),
        ("https:host", "'https:host'", "https://host"),
        ("Redis://host", "'Redis://host'", "small letters"),
        ("HTTPS://host", "'HTTPS://host'", "small letters"),
        ("redis://host/foo", "'redis://host/foo'", "host:6379/0"),
        ("redis://u:secret@host/0/1", "'redis://***@host/0/1'", "host:6379/0"),
        ("redis://my host/0", "'redis://my host/0'", "blank"),
        ("postgresql://u:my secret@host/d", "'postgresql://***@host/d'", "%20"),
        (" redis://host", "' redis://host'", "blank"),
        ("./spend\n", r"'./spend\n'", "blank"),
        ("valkey://host", "'valkey://host'", "redis://host:6379/0"),
        ("unix:///run/redis.sock", "'unix:///run/redis.sock'", "unix_socket_path"),
        ("~nobody-here/spend", "'~nobody-here/spend'", "'./~nobody-here/spend'"),
        ("localhost:6379", "'localhost:6379'", "'redis://localhost:6379'"),
        ("db.example:6379/0", "'db.example:6379/0'", "'redis://db.example:6379/0'"),
        ("http://localhost:1/path?secret", "localhost:1/path", "allow_http=1"),
        ("http://localhost:1/path?token=secret", "localhost:1/path", "allow_http=1"),
        ("mongodb://u:secret@h/d", "'mongodb://...'", "redis://"),
        ("file://relative/dir", "'file://...'", "three slashes"),
    ],
)
def test_what_was_meant_as_something_else_is_refused_quoted_and_makes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str, quoted: str, write: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LedgerError) as caught:
        open_ledger(where, "default", fsync="background")
    text = str(caught.value)
    assert quoted in text
    assert write in text
    assert "secret" not in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("redis://:p@ss@host/0?password=x", "redis://***@host/0?..."),
        ("https://token@host", "https://***@host"),
        ("redis://:pa?ss@host/0", "redis://***?..."),
        ("https://host/#token", "https://host/"),
        ("sqlite:////tmp/x.db", "sqlite:////tmp/x.db"),
        ("./spend", "./spend"),
    ],
)
def test_urls_are_shown_without_credentials_and_options(where: str, shown: str) -> None:
    assert public(where) == shown


def test_nothing_is_the_users_own_directory(budgeted_home: Path) -> None:
    assert default_directory() == budgeted_home
