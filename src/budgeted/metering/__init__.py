"""The life of one call: bound, hold, run, settle; in threads, in event loops, and over streams.

Which functions become calls is said in :mod:`budgeted.functions` and :mod:`budgeted.providers`.
"""
