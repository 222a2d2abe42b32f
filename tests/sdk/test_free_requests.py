"""What SDKs send for nothing is refused by nobody: all that their sources post to, asked of the provider's own host."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import anthropic
import httpx2
import openai
import pytest

from budgeted import BudgetManager, UnpricedModelError
from budgeted.testing import SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

pytestmark = pytest.mark.sdk

BILLED = {
    openai: (
        *("completions", "responses", "compact", "embeddings", "speech", "transcriptions", "translations"),
        *("generations", "edits", "variations", "decisions", "batches", "videos", "extensions", "remix"),
        *("jobs", "resume", "runs", "submit_tool_outputs", "run", "calls", "sessions", "transcription_sessions"),
        *("client_secrets", "accept", "fork", "automations", "events", "invocations", "containers", "search"),
    ),
    anthropic: ("messages", "batches", "complete", "sessions", "events", "deployments", "run", "unpause", "dreams"),
}
"""How paths end that are billed, at once or out of sight."""


def posted(sdk: ModuleType) -> list[str]:
    """The paths that an SDK's own methods post to."""
    found: set[str] = set()
    for source in Path(str(sdk.__file__)).parent.rglob("*.py"):
        found.update(re.findall(r'_post\(\s*(?:path_template\(\s*)?f?"([^"]+)"', source.read_text("utf-8")))
    return sorted({re.sub(r"\{[^}]*\}", "id_1", path).partition("?")[0] for path in found})


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    """A client whose proxy answers everything itself."""
    with SimulatedProvider() as provider, httpx2.Client(proxy=provider.url) as client:
        yield client


BODY = {"name": "mine", "role": "user", "content": "Hello!"}


@pytest.mark.parametrize("path", posted(openai))
def test_openais_free_requests_pass(path: str, http: httpx2.Client) -> None:
    client = openai.OpenAI(base_url="http://api.openai.com/v1", api_key="any", max_retries=0, http_client=http)
    passes(client, path, free=path.rpartition("/")[2] not in BILLED[openai])


@pytest.mark.parametrize("path", posted(anthropic))
def test_anthropics_free_requests_pass(path: str, http: httpx2.Client) -> None:
    client = anthropic.Anthropic(base_url="http://api.anthropic.com", api_key="any", max_retries=0, http_client=http)
    passes(client, path, free=path.rpartition("/")[2] not in BILLED[anthropic])


def passes(client: openai.OpenAI | anthropic.Anthropic, path: str, *, free: bool) -> None:
    with BudgetManager(ledger="memory://", max_budget=1) as manager, manager.budget("alice"):
        try:
            client.post(path, body=BODY, cast_to=object)
        except UnpricedModelError:
            assert not free
        except (openai.APIStatusError, anthropic.APIStatusError):
            pass  # the proxy knows few of them
        assert manager.balance().spent == 0
