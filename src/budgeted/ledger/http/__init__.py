"""The ledger behind ``budgeted serve``: a client of its verbs, and what they look like as JSON.

The server is in :mod:`budgeted.server`.
"""
