"""The sections of the page on the HTTP API: each endpoint with an example that a server really has answered."""

# ruff: noqa: INP001

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from urllib.parse import urlencode

from budgeted.server import endpoints, health, openapi_document
from budgeted.server.endpoint import Endpoint
from budgeted.server.openapi_document import answers, sent

ADDRESS = "http://127.0.0.1:8787"


def sections() -> dict[str, list[str]]:
    """All sections, as lines of Markdown, by their name in the page."""
    verbs = [one for one in endpoints.ENDPOINTS if openapi_document.tag(one) == openapi_document.VERBS]
    litellm = [one for one in endpoints.ENDPOINTS if openapi_document.tag(one) == openapi_document.LITELLM]
    return {
        "all endpoints": list(_table(endpoints.BUDGETS)),
        "endpoints for people": list(_each(endpoints.BUDGETS)),
        "endpoints for LiteLLM": list(_each(litellm)),
        "health": list(_health()),
        "verbs": list(_each(verbs, short=True)),
        "problems": list(_problems()),
    }


def curl(endpoint: Endpoint) -> str:
    """An endpoint's example as a command.

    Args:
        endpoint: which one.
    """
    asked = sent(endpoint.example)
    query = f"?{urlencode(asked)}" if asked and not endpoint.has_body else ""
    method = {"GET": "", "POST": ""}.get(endpoint.method, f"-X {endpoint.method} ")
    words = [f"curl {method}{shlex.quote(f'{ADDRESS}{endpoint.path}{query}')}", '-H "Authorization: Bearer $TOKEN"']
    if endpoint.has_body:
        words.append(f"--json {shlex.quote(json.dumps(asked))}")
    return " \\\n  ".join(words) if len(" ".join(words)) > 110 else " ".join(words)


def _table(listed: Iterable[Endpoint]) -> Iterator[str]:
    yield "| | what for | token |"
    yield "|---|---|---|"
    for one in listed:
        link = f"[`{one.method} {one.path}`](#{anchor(one)})"
        yield f"| {link} | {one.title[:1].lower()}{one.title[1:]} | {'write' if one.changes else 'read'} |"


def anchor(endpoint: Endpoint) -> str:
    """What the heading of an endpoint is linked by."""
    return endpoint.id.replace("_", "-")


def _each(listed: Iterable[Endpoint], *, short: bool = False) -> Iterator[str]:
    for number, one in enumerate(listed):
        if number:
            yield ""
        yield f"### {one.method} {one.path} {{ #{anchor(one)} }}"
        yield ""
        about = f"{one.title}. {one.about}".strip()
        yield f"{about} Takes a token that may {'write' if one.changes else 'read'}."
        yield from ("", "```sh", curl(one), "```", "", "```json", *_answer(one, short=short), "```")


def _answer(endpoint: Endpoint, *, short: bool) -> list[str]:
    answer = answers()[endpoint.id]
    text = json.dumps(answer)
    return [text] if short or len(text) < 110 else json.dumps(answer, indent=2).splitlines()


def _health() -> Iterator[str]:
    yield "| | what for | answer |"
    yield "|---|---|---|"
    for path, title in health.PATHS.items():
        answer = json.dumps(answers()[f"get_{path.strip('/').replace('/', '_')}"])
        yield f"| `GET {path}` | {title[:1].lower()}{title[1:]} | `{answer}` |"
    yield "| `GET /openapi.json` | what programs read: every endpoint with its types and an example | the description |"


def _problems() -> Iterator[str]:
    yield "| status | what it means | such as |"
    yield "|---|---|---|"
    for status, meaning in openapi_document.PROBLEMS.items():
        problem = answers()["problems"].get(status, {}).get("error")
        such = f"`{problem['type']}`: {problem['message']}" if problem else ""
        yield f"| {status} | {meaning[:1].lower()}{meaning[1:]} | {such.replace('|', chr(92) + '|')} |"
