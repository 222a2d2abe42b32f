"""What a gateway answers in an upstream's place: errors in the words that the path's own clients understand.

They are made so that clients do not try again what cannot succeed: Claude Code and Codex tell their users the reason
after one try, and the SDKs raise their own errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from budgeted.errors import (
    BudgetError,
    BudgetExceededError,
    BudgetStoppedError,
    LedgerError,
    UnattributedCallError,
    UnknownUserError,
    UnpricedModelError,
)

if TYPE_CHECKING:
    from starlette.types import Send  # the command line knows refusals, where no gateway is installed

LEDGER_SECONDS: Final = 5
"""After how long to try again where the ledger is away, in seconds."""

LONGEST: Final = 1000
"""Characters of a text that somebody reads on a terminal: what it quotes may be as long as a request."""

AWAY: Final = "it is away or damaged; `budgeted gateway --check` tells why"
"""What is told of a ledger, without where it is: anybody may ask how it stands, also without a key."""

BUDGET: Final = 402
"""The status of a refusal for want of money, where a dialect has no other for it."""


class Refusal(NamedTuple):
    """Why a gateway does not send a request on, or has no answer to it.

    Args:
        status: of HTTP, where the dialect has no other for it; ``BUDGET`` where a budget has no room.
        text: what is wrong, and what to do.
        retry_after: seconds after which the same request may pass; None if it will not by itself.
        final: whether trying again makes no sense.
    """

    status: int
    text: str
    retry_after: int | None = None
    final: bool = True


class Answer(NamedTuple):
    """An answer of the gateway's own.

    Args:
        status: of HTTP.
        headers: by names in lower case.
        body: JSON.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def dialect_of(path: str, provider: str = "") -> str:
    """Whose clients ask at a path, by what it looks like: ``"openai"`` where nothing tells.

    Args:
        path: of the request, as it was sent or as it goes to the upstream.
        provider: whose path it is, as genai-prices names it; "" where nobody knows.
    """
    if provider == "mistral":  # whose paths are OpenAI's
        return provider
    if provider in _OWN_DIALECTS and not any(part in path for part in _OF_OTHERS):
        return _OWN_DIALECTS[provider]
    for part, name in _DIALECTS:
        if part in path:
            return name
    return "openai"


def refusal_of(error: BudgetError, *, own: frozenset[str] | None = None) -> Refusal:
    """What whoever asked is told of a refusal.

    Args:
        error: the refusal.
        own: the names of the accounts whose figures are the caller's to know; None for all.
    """
    if isinstance(error, BudgetStoppedError):
        why = f": {error.why}" if error.why else ""
        return Refusal(BUDGET, f"{_who(error)} is stopped, and nothing was sent{why}")
    if isinstance(error, BudgetExceededError):
        return _exceeded(error, own)
    if isinstance(error, LedgerError):
        text = "the ledger of the budgets is away or damaged, so nothing may be spent; try again later"
        return Refusal(503, text, LEDGER_SECONDS, final=False)
    if isinstance(error, UnknownUserError):
        return Refusal(403, "no budget is there for whoever asks; nothing was sent")
    if isinstance(error, UnattributedCallError):
        return Refusal(403, "nothing in this request says who pays, and it has to; nothing was sent")
    if isinstance(error, UnpricedModelError):
        return Refusal(400, _for_operators(str(error)))
    return Refusal(500, "this request was refused, and nothing was sent; the gateway's log says why")


def answer(refusal: Refusal, dialect: str) -> Answer:
    """A refusal as an answer in a dialect.

    Args:
        refusal: why there is no other answer.
        dialect: as :func:`dialect_of` tells it.
    """
    status = refusal.status
    if status == BUDGET:
        status = 429 if refusal.retry_after is not None and not refusal.final else _OF_BUDGET.get(dialect, BUDGET)
    if len(refusal.text) > LONGEST or not refusal.text.isprintable():
        refusal = refusal._replace(text=_readable(refusal.text))
    headers = [(b"content-type", b"application/json")]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", str(refusal.retry_after).encode()))
    if refusal.final:
        headers.append((b"x-should-retry", b"false"))  # which OpenAI's and Anthropic's SDKs heed
    if dialect == "bedrock":
        headers.append((b"x-amzn-errortype", _named(_BEDROCK, refusal.status).encode()))
    body = msgspec.json.encode(_BODIES.get(dialect, _openai)(refusal, status))
    headers.append((b"content-length", str(len(body)).encode()))
    return Answer(status, headers, body)


def _readable(text: str) -> str:
    """A text that fits a screen, with nothing in it that does something there, or that UTF-8 has no room for."""
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


async def send_answer(send: Send, found: Answer, *, head: bool = False) -> None:
    """Send an answer to whoever asked.

    Args:
        send: as ASGI has it.
        found: the answer.
        head: whether its body is left out.
    """
    await send({"type": "http.response.start", "status": found.status, "headers": found.headers})
    await send({"type": "http.response.body", "body": b"" if head else found.body, "more_body": False})


def _exceeded(error: BudgetExceededError, own: frozenset[str] | None) -> Refusal:
    never = error.requested > error.max_budget
    waits = error.reason == "held" and not never
    retry = None if error.retry_after is None or never else max(1, math.ceil(error.retry_after))
    told = str(error) if own is None or error.account in own else error.without_figures(_who(error))
    return Refusal(BUDGET, f"{told}; nothing was sent", retry, final=not waits)


def _who(error: BudgetExceededError) -> str:
    if error.account_kind == "global":
        return "the global budget"
    return f"{error.account_kind} {error.account.removeprefix('tag:')!r}" if error.account else "a budget"


def _for_operators(text: str) -> str:
    """The text of an error for those who ask over HTTP: what they would write in Python is of no use to them."""
    said = text.partition("; nothing was sent")[0].partition("; it was not called")[0].partition(": it is not known")[0]
    return (
        f"{said}; nothing was sent. Whoever runs this gateway can tell a price in budgeted.toml, under "
        f'[prices."MODEL"], or let pass what nobody can bound'
    )


def _named(names: Mapping[int, str], status: int) -> str:
    return names.get(status) or names[500 if status >= 500 else 400]


def _openai(refusal: Refusal, _: int) -> dict[str, object]:
    code = {BUDGET: "budget_exceeded", 401: "invalid_api_key", 404: "unknown_url"}.get(refusal.status)
    kind = _named(_OPENAI, refusal.status)
    return {"error": {"message": refusal.text, "type": kind, "param": None, "code": code}}


def _anthropic(refusal: Refusal, _: int) -> dict[str, object]:
    return {"type": "error", "error": {"type": _named(_ANTHROPIC, refusal.status), "message": refusal.text}}


def _google(refusal: Refusal, status: int) -> dict[str, object]:
    name = "RESOURCE_EXHAUSTED" if status == 429 else _named(_GOOGLE, refusal.status)
    return {"error": {"code": status, "message": refusal.text, "status": name}}


def _interactions(refusal: Refusal, _: int) -> dict[str, object]:
    return {"error": {"code": _named(_GOOGLE, refusal.status).lower(), "message": refusal.text}}


def _message(refusal: Refusal, _: int) -> dict[str, object]:
    return {"message": refusal.text}


def _ollama(refusal: Refusal, _: int) -> dict[str, object]:
    return {"error": refusal.text}


_BODIES: Final = {
    "openai": _openai,
    "responses": _openai,
    "mistral": _openai,
    "anthropic": _anthropic,
    "google": _google,
    "interactions": _interactions,
    "bedrock": _message,
    "cohere": _message,
    "ollama": _ollama,
}

_DIALECTS: Final = (
    ("/interactions", "interactions"),
    ("/responses", "responses"),
    ("/messages", "anthropic"),
    ("awPredict", "anthropic"),
    ("/v1beta", "google"),
    ("/v1alpha", "google"),
    ("enerateContent", "google"),
    ("mbedContent", "google"),
    ("/model/", "bedrock"),
    ("/v2/", "cohere"),
    ("/embed", "openai"),
    ("/rerank", "cohere"),
    ("/api/chat", "ollama"),
    ("/api/generate", "ollama"),
    ("/api/embed", "ollama"),
)
"""A part of a path, and who has such paths; the first that is found counts."""

_OWN_DIALECTS: Final = {
    **{name: name for name in ("anthropic", "cohere", "google", "ollama")},
    "aws": "bedrock",
}
_OF_OTHERS: Final = ("/completions", "/responses", "/embeddings", "/openai/", "/messages", "awPredict", "/interactions")
"""Parts of paths where they speak like somebody else."""

_OF_BUDGET: Final = {"openai": 429, "responses": 400, "google": 400, "interactions": 400, "bedrock": 400}
"""What an empty budget is answered, where 402 is not what a dialect's clients take for final, or would show.

Codex tries again after a 402, and hides what a 429 says.
"""

_OPENAI: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    BUDGET: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    500: "server_error",
}
_ANTHROPIC: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    BUDGET: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    500: "api_error",
    504: "timeout_error",
}
_GOOGLE: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    BUDGET: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_BEDROCK: Final = {
    400: "ValidationException",
    401: "AccessDeniedException",
    BUDGET: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}
