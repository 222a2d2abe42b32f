"""Where budgeted meets frameworks and tools; each module is imported by whoever uses it.

SDKs, whose calls are metered, are in :mod:`budgeted.providers`.
"""
