"""The HTTP server below ``budgeted serve`` and the gateway: sockets, connections, deadlines, and how HTTP is read.

It knows nothing of budgets: what it serves is any ASGI application.
"""
