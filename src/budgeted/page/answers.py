"""The answers that a page is made of: HTML with its headers, where one is led, and the files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from budgeted.page.rendering import render
from budgeted.page.security_headers import HEADERS

_TYPES: Mapping[str, str] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def own_path(to: str) -> str:
    """Where one was on the way to: a path of this server's, whatever an address claims."""
    parts = urlsplit(to)
    return to if to.startswith("/") and not to.startswith(("//", "/\\")) and not parts.netloc else "/"


def redirected(where: str) -> Response:
    """Leads to another address, which is then asked for by GET."""
    return RedirectResponse(where, 303, headers=dict(HEADERS))


def html_page(html: str, status: int = 200) -> Response:
    """A page that is made already."""
    return Response(html, status, dict(HEADERS), "text/html; charset=utf-8")


def rendered(template: str, title: str, data: Mapping[str, object], status: int = 200) -> Response:
    """A page for somebody whom nobody knows yet."""
    return html_page(render(template, {"title": title, **data}), status)


def problem_page(status: int, title: str, text: str) -> Response:
    """A page that tells what is wrong, in a sentence."""
    return rendered("problem.html", title, {"text": text}, status)


def main_of(html: str) -> str:
    """The main part of a page."""
    begin, end = html.find("<main"), html.rfind("</main>")
    return html[begin : end + len("</main>")]


async def static_file(request: Request) -> Response:
    """A file in ``static``, by its name."""
    name = request.path_params["name"]
    kind = _TYPES.get(name.rpartition(".")[2])
    if kind is None or not name.replace(".", "").isalpha():
        return PlainTextResponse("there is no such file", 404, dict(HEADERS))
    try:
        data = (resources.files("budgeted.page") / "static" / name).read_bytes()
    except FileNotFoundError:
        return PlainTextResponse("there is no such file", 404, dict(HEADERS))
    return Response(data, headers={**HEADERS, "cache-control": "max-age=3600"}, media_type=kind)
