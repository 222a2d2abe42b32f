"""Which requests to a gateway are for its page. Nothing here needs the packages that the page is made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.types import Scope

BEGINNINGS: Final = frozenset((b"/", b"/page/"))
"""What the first six bytes of a path are that may be the page's."""

_PAGE: Final = b"/page/"


def is_for_page(scope: Scope) -> bool:
    """Whether a request is for the page, whose path begins as one of :data:`BEGINNINGS`.

    Args:
        scope: ASGI's.
    """
    path: bytes = scope["raw_path"]
    return path.startswith(_PAGE) or (scope["method"] in ("GET", "HEAD") and prefers_html(scope["headers"]))


def prefers_html(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether somebody asks for HTML rather than JSON: a browser does, a program with ``*/*`` does not.

    Args:
        headers: of the request, by names in lower case.
    """
    accepted = dict(map(_weighed, _listed(headers)))
    html = accepted.get("text/html", 0.0)
    return html > 0 and html >= accepted.get("application/json", 0.0)


def _listed(headers: Sequence[tuple[bytes, bytes]]) -> list[str]:
    text = b",".join(value for name, value in headers if name == b"accept").decode("latin-1").lower()
    return text.split(",")


def _weighed(one: str) -> tuple[str, float]:
    """A media type with its weight (https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2)."""
    kind, *parameters = (part.strip() for part in one.split(";"))
    weight = next((text.removeprefix("q=") for text in parameters if text.startswith("q=")), "1")
    try:
        return kind, float(weight)
    except ValueError:
        return kind, 0.0
