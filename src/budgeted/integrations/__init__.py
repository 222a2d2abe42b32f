"""Where budgeted meets frameworks and tools; each module is imported by whoever uses it."""
