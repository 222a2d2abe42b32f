"""A ledger that takes slices out of a shared one's limits, and spends them in this process's memory.

Which slices there are, how large, and what becomes of them is here; what they are slices of is any other ledger.
"""
