"""The ledger in a process's own memory, and the fold over records that the one on disk is built of, too.

What makes records last is in :mod:`budgeted.ledger.journal`.
"""
