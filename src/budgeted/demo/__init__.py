"""The race that ``budgeted demo`` and ``make demo`` show: its calls, its processes, and its books compared.

How it is shown is the command's business, in :mod:`budgeted.cli`.
"""
