"""Who pays: blocks, the accounts they charge, what happens to a call that does not fit, and how contexts carry it.

What a call then does with its payers is in :mod:`budgeted.metering`.
"""
