"""The ledger in an SQL database, SQLite or PostgreSQL: its statements, its connections and its verbs.

What it has in common with the other ledgers of several hosts is in :mod:`budgeted.ledger.network_ledger`.
"""
