"""What a run's gateway is asked: by programs of the run alone, for its payers, and how it ended."""

from __future__ import annotations

import asyncio
import functools
import os
import re
import secrets
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from budgeted.errors import BudgetError
from budgeted.gateway import refusals
from budgeted.gateway.callers import Caller, Headers
from budgeted.gateway.refusals import Refusal
from budgeted.payers.scope import Scope as Payers
from budgeted.payers.scope import enter, leave
from budgeted.providers.addresses_of_run import payers_file
from budgeted.telemetry import run_notes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

MOST_PAYERS: Final = 256
"""Payers, other than the run's, that are kept in mind."""

_FAILED: Final = 400
_OTHERS: Final = re.compile("[0-9a-f]{24}")

_WITHOUT_VERSION: Final = re.compile(r"/anthropic/messages(?=$|/)")
"""What SDKs ask that take the version for a part of Anthropic's address, in the very variable of those that do not."""


class OfRun:
    """Who asks a run's gateway: somebody of the run, whose payers pay."""

    async def caller(self, headers: Headers) -> Caller:  # noqa: ARG002 - whatever they say
        """Nobody in particular.

        Args:
            headers: of the request.
        """
        return Caller()


class RequestsOfRun:
    """An ASGI application around the gateway's.

    Args:
        word: in each address that only programs of the run know.
        seen: the one in addresses that stand on command lines.
        folder: where this process notes what it has refused.

    Attributes:
        asked: how many requests have come that send something.
        refused_last: whether a refusal is the last that was answered; not if what was asked since was answered well.
    """

    def __init__(self, word: str, seen: str, folder: Path) -> None:
        self.asked, self.refused_last = 0, False
        self._words, self._folder = (word, seen), folder
        self._notes = folder / f"{os.getpid()}.{run_notes.REFUSED}"
        self._app: ASGIApp
        self._payers: Callable[[str | None], Payers]

    def serve(self, app: ASGIApp, payers: Callable[[str | None], Payers]) -> None:
        """Send on what is asked from now on.

        Args:
            app: the gateway.
            payers: who pays, given the text that tells of them where a program was started with payers of its own,
                else None; raises BudgetError for a text that makes no sense.
        """
        self._app, self._payers = app, functools.lru_cache(MOST_PAYERS)(payers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        first, slash, rest = scope["raw_path"].decode("latin-1")[1:].partition("/")
        given, _, others = first.partition(".")
        known, seen = (secrets.compare_digest(given.encode("latin-1"), word.encode()) for word in self._words)
        # There, credentials of the run's own are shown.
        if not (known or (seen and not others and not rest.startswith("bedrock"))):
            await _refuse(send, scope["path"], 404, "nothing is here")
            return
        try:
            # Of others, the ledger may have to be asked.
            payers = await asyncio.to_thread(self._payers_of, others) if others else self._payers(None)
        except (BudgetError, OSError) as error:
            await _refuse(send, scope["path"], 400, f"nobody pays for what comes by this address: {error}")
            return
        if scope["method"] == "HEAD" and not rest.partition("/")[2]:  # as Claude Code asks whether anybody is there
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        path = _WITHOUT_VERSION.sub("/anthropic/v1/messages", slash + rest or "/")
        await self._serve({**scope, "path": path, "raw_path": path.encode("latin-1")}, receive, send, payers.copy())

    def _payers_of(self, others: str) -> Payers:
        """Who pays where an address names others than those who pay for the run."""
        file = self._folder / payers_file(others if _OTHERS.fullmatch(others) else "nobody")
        return self._payers(file.read_text(encoding="utf-8", errors="surrogateescape"))

    async def _serve(self, scope: Scope, receive: Receive, send: Send, payers: Payers) -> None:
        before, posts, status = self._refusals(), scope["method"] == "POST", 0

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.asked += posts
        enter(payers)
        try:
            await self._app(scope, receive, noted)
        finally:
            leave(payers)
            if posts:
                self._note(before, status)

    def _note(self, before: int, status: int) -> None:
        """A request has ended. A refusal is known by its note: an upstream's own errors have the same statuses."""
        if self._refusals() == before:
            self.refused_last = self.refused_last and status >= _FAILED
        elif status >= _FAILED:
            self.refused_last = True

    def _refusals(self) -> int:
        try:
            return self._notes.stat().st_size
        except OSError:
            return 0


async def _refuse(send: Send, path: str, status: int, text: str) -> None:
    refused = refusals.answer(Refusal(status, text), refusals.dialect_of(path))
    await send({"type": "http.response.start", "status": refused.status, "headers": refused.headers})
    await send({"type": "http.response.body", "body": refused.body})
