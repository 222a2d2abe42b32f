"""What an exception says about money."""

from __future__ import annotations

import asyncio
import http.client
import socket
import urllib.error
from typing import Any

import aiohttp
import aiohttp.http_exceptions
import pytest

from budgeted.wire.exception_classification import REFUSED, UNCERTAIN, UNSENT, classify, reason_of, status_of


class WithStatus(Exception):
    def __init__(self, **fields: Any) -> None:
        super().__init__(*fields, *map(repr, fields.values()))
        self.__dict__.update(fields)


class Response:
    def __init__(self, status_code: int) -> None:
        self.status_code = status_code

    def __repr__(self) -> str:
        return f"Response({self.status_code})"


class ConnectError(Exception):
    """As in httpx."""


class NewConnectionError(Exception):
    """As in urllib3."""


class MaxRetryError(Exception):
    """As in urllib3, which keeps the cause as `reason`."""

    def __init__(self, reason: Exception) -> None:
        super().__init__("Max retries exceeded")
        self.reason = reason


class APITimeoutError(Exception):
    """As in the SDKs; LiteLLM's heir of it has a status that no server sent."""

    status_code = 408


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001
        return caught


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WithStatus(status_code=429), REFUSED),
        (WithStatus(status=500), REFUSED),
        (WithStatus(http_status=529), REFUSED),
        (WithStatus(response=Response(400)), REFUSED),
        (WithStatus(response={"ResponseMetadata": {"HTTPStatusCode": 403}}), REFUSED),
        (WithStatus(response={"ResponseMetadata": None}), UNCERTAIN),
        (WithStatus(status_code=200), UNCERTAIN),
        (WithStatus(status_code=True), UNCERTAIN),
        (WithStatus(code="429"), UNCERTAIN),
        (WithStatus(code=1006), UNCERTAIN),
        (urllib.error.HTTPError("http://x", 404, "no", None, None), REFUSED),  # type: ignore[arg-type]
        (urllib.error.URLError(ConnectionRefusedError()), UNSENT),
        (urllib.error.URLError(TimeoutError()), UNCERTAIN),
        (ConnectionRefusedError(), UNSENT),
        (socket.gaierror(), UNSENT),
        (ConnectionResetError(), UNCERTAIN),
        (TimeoutError(), UNCERTAIN),
        (APITimeoutError(), UNCERTAIN),
        (APITimeoutError(ConnectError()), UNSENT),
        (http.client.RemoteDisconnected(), UNCERTAIN),
        (ConnectError(), UNSENT),
        (OSError(MaxRetryError(NewConnectionError())), UNSENT),
        (raised(RuntimeError(), ConnectError()), UNSENT),
        (raised(RuntimeError(), WithStatus(status_code=503)), REFUSED),
        (asyncio.CancelledError(), UNCERTAIN),
        (KeyboardInterrupt(), UNCERTAIN),
        (ValueError(), UNCERTAIN),
    ],
    ids=repr,
)
def test_a_status_or_a_failed_connection_means_that_nothing_was_spent(error: BaseException, kind: str) -> None:
    assert classify(error) == kind


def test_an_exception_that_was_being_handled_before_the_call_says_nothing_about_it() -> None:
    try:
        raise WithStatus(status_code=429)
    except WithStatus as handled:
        try:
            raise TimeoutError
        except TimeoutError as error:
            assert error.__context__ is handled
            assert classify(error, handled) == UNCERTAIN
            assert classify(error) == REFUSED


def test_a_chain_that_bites_its_tail_ends() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert classify(first) == UNCERTAIN


def test_an_exception_whose_attributes_raise_is_uncertain() -> None:
    class Strange(Exception):
        @property
        def status_code(self) -> int:
            raise RuntimeError

    assert status_of(Strange()) is None
    assert classify(Strange()) == UNCERTAIN


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (asyncio.CancelledError(), "cancelled after sending"),
        (GeneratorExit(), "cancelled after sending"),
        (KeyboardInterrupt(), "cancelled after sending"),
        (TimeoutError(), "timed out after sending"),
        (APITimeoutError(), "timed out after sending"),
        (ConnectionResetError(), "cut off after sending (ConnectionResetError)"),
    ],
    ids=repr,
)
def test_the_reason_is_said_in_a_few_words(error: BaseException, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    "cause", [aiohttp.http_exceptions.BadHttpMessage("no HTTP"), aiohttp.http_exceptions.TransferEncodingError("cut")]
)
def test_an_answer_that_breaks_the_rules_of_http_has_no_status_whatever_its_reader_says(cause: BaseException) -> None:
    request: Any = None
    error = aiohttp.ClientResponseError(request, (), status=400)
    assert classify(raised(error)) == REFUSED
    assert classify(raised(error, cause)) == UNCERTAIN
    assert classify(raised(aiohttp.ClientPayloadError("cut"), cause)) == UNCERTAIN
