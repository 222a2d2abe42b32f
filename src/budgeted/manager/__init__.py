"""``BudgetManager``: what applications make, configure and ask, put together of parts that work by themselves.

What a call needs of it is in :mod:`budgeted.manager.project_payer`; how balances are kept, in :mod:`budgeted.ledger`.
"""
