"""Visits to a page as a browser without script makes them: cookies are kept, forms are sent as they stand there."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Self

import httpx2

ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
"""What browsers send for what somebody has typed, or clicked on."""

VOID = {"br", "hr", "img", "input", "link", "meta", "source"}


class Form:
    """A form of a page: where it goes, and its fields as they stand there."""

    def __init__(self, action: str, method: str) -> None:
        self.action, self.method = action, method
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []


class Page(HTMLParser):
    """What a page has: its text, its forms, its links. Each tag must be closed where it belongs."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[str] = []
        self.forms: list[Form] = []
        self.links: dict[str, str] = {}
        self.texts: list[str] = []
        self._open: list[str] = []
        self._link = ""
        self.feed(html)
        self.close()
        assert self._open == []

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = {name: value or "" for name, value in attrs}
        assert not [name for name in given if name.startswith("on") or name == "style"], given
        if tag not in VOID:
            self._open.append(tag)
        if tag == "form":
            self.forms.append(Form(given["action"], given.get("method", "get")))
        elif tag == "input" and self.forms and "form" in self._open:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "button" and self.forms and given.get("name"):
            self.forms[-1].buttons.append((given["name"], given.get("value", "")))
        elif tag == "a":
            self._link = given["href"]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._open and self._open[-1] == "a":
            self.links.setdefault(data.strip(), self._link)

    def form(self, path: str) -> Form:
        """The first form that sends something to a path."""
        return next(form for form in self.forms if (form.method, form.action.partition("?")[0]) == ("post", path))


class Visitor:
    """Somebody who looks at the page of a server.

    Args:
        url: of the server.
        token: to log in with; None for nobody in particular.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.client = httpx2.Client(base_url=url, trust_env=False, follow_redirects=False, headers={"accept": ACCEPT})
        if token is not None:
            answer = self.client.post("/page/login?to=/", data={"token": token})
            assert answer.status_code == 303, answer.text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def get(self, path: str, status: int = 200, **query: str) -> Page:
        """A page, after what it redirects to."""
        answer = self.client.get(path, params=query) if query else self.client.get(path)
        while answer.status_code == 303:
            answer = self.client.get(answer.headers["location"])
        assert answer.status_code == status, answer.text
        return Page(answer.text)

    def send(self, form: Form, status: int | None = None, **fields: str) -> Page:
        """What comes of a form, with some fields filled in and its button pressed."""
        return self.followed(self.post(form, **fields), status)

    def post(self, form: Form, **fields: str) -> Any:
        """The answer to a form itself."""
        return self.client.post(form.action, data={**form.fields, **dict(form.buttons), **fields})

    def followed(self, answer: Any, status: int | None = None) -> Page:
        """Where an answer leads to."""
        assert status is None or answer.status_code == status, answer.text
        if answer.status_code == 303:
            return self.get(answer.headers["location"])
        return Page(answer.text)
