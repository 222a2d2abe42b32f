"""The ledger on a host's disk: an append-only file of records that all processes of the host share.

What a record means is in :mod:`budgeted.ledger.memory`.
"""
