"""``budgeted gateway``: a reverse proxy that holds what a request may cost, and settles what it has cost."""

from __future__ import annotations
