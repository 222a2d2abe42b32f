"""What ``@budgeted`` does to a function: who pays for it, what it asks of a model, and what it gives back.

The calls that are made inside it are intercepted in :mod:`budgeted.providers`.
"""
