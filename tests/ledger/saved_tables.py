"""The tables of an SQL ledger, saved and put back as a backup is, by whoever may write to the database."""

# ruff: noqa: S608 - the names are ours
from __future__ import annotations

from typing import Any

import sqlalchemy as sa

TABLES = ("schema", "projects", "owners", "accounts", "holds", "ended", "doubts", "reports")


class SavedTables:
    """The tables of a prefix in a database, and what was in them at some time.

    Args:
        url: of the database.
        prefix: what the tables' names begin with.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self.prefix = url, prefix
        drivername = "sqlite" if "sqlite" in url else "postgresql+psycopg"
        self.engine = sa.create_engine(sa.make_url(url).set(drivername=drivername))
        self.named = sa.make_url(url).update_query_dict({"table_prefix": prefix}).render_as_string(hide_password=False)
        self.saved: dict[str, list[dict[str, Any]]] = {}

    def save(self) -> None:
        """As a backup does."""
        with self.engine.begin() as connection:
            for table in TABLES:
                rows = connection.execute(sa.text(f"SELECT * FROM {self.prefix}{table}")).mappings()
                self.saved[table] = [dict(row) for row in rows]

    def put_back(self) -> None:
        """As restoring it does."""
        with self.engine.begin() as connection:
            for table in TABLES:
                connection.execute(sa.text(f"DELETE FROM {self.prefix}{table}"))
                for row in self.saved[table]:
                    names = ", ".join(f":{name}" for name in row)
                    connection.execute(sa.text(f"INSERT INTO {self.prefix}{table} VALUES ({names})"), row)

    def run(self, statement: str) -> None:
        """Run a statement, in which ``{accounts}`` stands for the name of that table."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement.replace("{", self.prefix).replace("}", "")))
