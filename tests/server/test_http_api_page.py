"""The page on the HTTP API: it has every endpoint, and each command answers what it says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from gateways import gateway
from page_examples import ROOT
from scripts import http_examples
from serving import Asking

from budgeted import BudgetManager
from budgeted.gateway import own_answers
from budgeted.gateway.settings import GatewaySettings
from budgeted.server import endpoints
from budgeted.server.endpoint import Endpoint

TEXT = (ROOT / "docs" / "reference" / "http-api.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^### (\S+ \S+) \{.*?^```sh\n(.*?)^```\n\n```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = {name: (command, json.loads(answer)) for name, command, answer in EXAMPLE.findall(TEXT)}


def test_every_endpoint_is_on_the_page() -> None:
    assert list(EXAMPLES) == [f"{one.method} {one.path}" for one in endpoints.ENDPOINTS]


@pytest.mark.parametrize("endpoint", endpoints.ENDPOINTS, ids=lambda one: one.id)
def test_each_command_answers_what_the_page_says(endpoint: Endpoint) -> None:
    command, expected = EXAMPLES[f"{endpoint.method} {endpoint.path}"]
    words = shlex.split(command)
    options: dict[str, Any] = {"json": json.loads(words[words.index("--json") + 1])} if "--json" in words else {}
    method = words[words.index("-X") + 1] if "-X" in words else "POST" if options else "GET"
    [url] = [word for word in words if word.startswith("http")]
    with http_examples.served() as client:
        answer = client.request(method, url, **options)
        assert answer.status_code == 200, answer.text
        if endpoint.path not in ("/v1/ledger/opening", "/v1/ledger/everything"):  # at random, and of each platform
            assert answer.json() == expected


def test_the_gateways_own_endpoints_are_on_the_page(tmp_path: Path) -> None:
    own = TEXT.partition("## A gateway's own endpoints")[2]
    assert set(re.findall(r"`GET (\S+)`", own)) == {*own_answers.PATHS, "/metrics"}
    with BudgetManager("shop", ledger=str(tmp_path), max_budget="$5/day") as manager:
        with gateway(manager, GatewaySettings()) as url, Asking(url) as ask:
            told = ask("GET", "/budget", token=None).json()
        [shown] = [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", own, re.MULTILINE | re.DOTALL)]
        assert shown.keys() == told.keys()
        assert shown["limits"][0].keys() == told["limits"][0].keys()
