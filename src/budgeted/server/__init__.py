"""``budgeted serve``: any ledger over HTTP, for whole clusters and other languages, and for LiteLLM's hosted client.

``budgeted.server:app`` is the ASGI application that the ``BUDGETED_*`` variables describe; :func:`create_app` makes one
of other settings.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

try:
    from budgeted.server.asgi_application import create_app
except ImportError as error:
    if (error.name or "").partition(".")[0] not in ("starlette", "anyio"):
        raise
    msg = "the server needs packages that are not installed: pip install 'budgeted[server]'"
    raise ImportError(msg, name=error.name) from error
from budgeted.server.settings import ServerSettings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    app: Starlette

__all__ = ["ServerSettings", "app", "create_app"]

_lock = threading.Lock()


def __getattr__(name: str) -> Starlette:
    if name != "app":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    with _lock:  # made when it is asked for: importing this package reads no variables
        if "app" not in globals():
            globals()["app"] = create_app()
        made: Starlette = globals()["app"]
        return made
