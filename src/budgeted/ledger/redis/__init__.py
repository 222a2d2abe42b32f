"""The ledger in Redis or Valkey: its connections, its verbs, and the Lua scripts that they run.

What it has in common with the other ledgers of several hosts is in :mod:`budgeted.ledger.network_ledger`.
"""
