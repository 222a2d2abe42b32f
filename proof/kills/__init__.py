"""A process that is killed, or told an error, at any of its system calls on a ledger's files.

``shim.c`` stands between the process and the C library; ``victim.py`` is the process.
"""
