"""How much may be spent: limits as people write them, and the calendar periods that they hold for.

Whether a call fits under one is decided in :mod:`budgeted.ledger`; amounts of money are in :mod:`budgeted.money`.
"""
