"""The ledger in an SQL database."""

from __future__ import annotations

from budgeted.ledger.sql.ledger import SQLLedger

__all__ = ["SQLLedger"]
