"""The page on providers: what its table says is so."""

from __future__ import annotations

import re
import tomllib

import pytest
from page_examples import ROOT, blocks

from budgeted.gateway.known_providers import KNOWN
from budgeted.gateway.upstreams import Upstreams

PAGE = ROOT / "docs" / "how-to" / "gateway-providers.md"
ROWS = re.findall(
    r"^\| `([a-z]+)` \| `http://GATEWAY([^`]*)` \| `(/[^`]*)` \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE
)
STATED = {
    name: url
    for language, text in blocks(PAGE)
    if language == "toml"
    for name, url in tomllib.loads(text)["gateway"]["upstreams"].items()
}


def test_every_provider_has_a_row() -> None:
    assert {name for name, *_ in ROWS} == KNOWN.keys()


@pytest.mark.parametrize(("name", "base", "path", "keys"), ROWS, ids=[f"{name}{base}" for name, base, *_ in ROWS])
def test_a_path_leads_where_the_table_says(name: str, base: str, path: str, keys: str) -> None:
    assert path.startswith(base)
    upstream, _ = Upstreams(STATED).route(path)
    assert upstream.name == name
    assert keys == "the same" or re.findall("`([A-Z_]+)`", keys) == [*KNOWN[name].keys]


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/groq/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
        ("/groq/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
        ("/groq/openai/v1/chat/completions", "https://api.groq.com/openai/v1/chat/completions"),
        ("/fireworks/inference/v1/chat/completions", "https://api.fireworks.ai/inference/v1/chat/completions"),
        ("/api/v1/chat/completions", "https://openrouter.ai/api/v1/chat/completions"),
        ("/openai/v1/responses", "https://api.openai.com/v1/responses"),
        ("/openai/responses", "https://api.openai.com/v1/responses"),
        ("/v1/models/ft:gpt-4o:org::id", "https://api.openai.com/v1/models/ft:gpt-4o:org::id"),
        ("/v1/models/gemini-2.5-pro:generateContent", "https://generativelanguage.googleapis.com/v1/models/"),
        ("/v1/interactions/i", "https://generativelanguage.googleapis.com/v1/interactions/i"),
        ("/upload/v1/files", "https://generativelanguage.googleapis.com/upload/v1/files"),
        ("/v1/projects/p/locations/us-east5/x", "https://us-east5-aiplatform.googleapis.com/v1/projects/p/"),
        ("/vertex/v1/projects/p/locations/eu/x", "https://aiplatform.eu.rep.googleapis.com/v1/projects/p/"),
        ("/v1/projects/p/locations/global/x", "https://aiplatform.googleapis.com/v1/projects/p/locations/global/x"),
        ("/v1/projects/p/locations/evil.example/x", "https://aiplatform.googleapis.com/v1/projects/p/locations/evil"),
        ("/corp/chat/completions", "https://llm.corp.example/v1/chat/completions"),
        ("/corp/v1/chat/completions", "https://llm.corp.example/v1/chat/completions"),
        ("/corp/v2/chat/completions", "https://llm.corp.example/v2/chat/completions"),
    ],
)
def test_what_an_address_ends_with_is_not_repeated(path: str, target: str) -> None:
    upstream, there = Upstreams(STATED).route(path)
    assert (upstream.origin + there).startswith(target)


@pytest.mark.parametrize(
    ("path", "asker", "name"),
    [
        ("/v1/models", "", "openai"),
        ("/v1/models", "anthropic", "anthropic"),
        ("/v1/models", "gemini", "gemini"),
        ("/v1/models", "cohere", "cohere"),
        ("/v1/chat/completions", "gemini", "openai"),
        ("/v1/chat/completions", "anthropic", "openai"),
        ("/v1/files", "gemini", "gemini"),
        ("/v1/organizations/me", "anthropic", "anthropic"),
        ("/openai/v1/chat/completions", "azure", "azure"),
        ("/openai/responses", "azure", "azure"),
        ("/openai/v1/chat/completions", "", "openai"),
    ],
)
def test_where_a_path_could_mean_two_the_sdk_decides(path: str, asker: str, name: str) -> None:
    assert Upstreams(STATED).route(path, asker)[0].name == name


@pytest.mark.parametrize("name", ["v1", "model", "api", "health", "Corp", ""])
def test_no_upstream_is_called_as_what_paths_begin_with(name: str) -> None:
    with pytest.raises(ValueError, match=r"called|name"):
        Upstreams({name: "https://llm.corp.example"})


@pytest.mark.parametrize(
    ("name", "url", "scheme"),
    [
        ("bedrock-eu", STATED["bedrock-eu"], "aws"),
        ("team", "https://api.anthropic.com", "x-api-key"),
        ("house", "https://house.openai.azure.com/openai/v1", "api-key"),
        ("palm", "https://generativelanguage.googleapis.com", "x-goog-api-key"),
        ("lambda", "https://abc.execute-api.us-east-1.amazonaws.com/prod", "bearer"),
        ("vllm", "http://10.0.0.7:8000/v1", "bearer"),
    ],
)
def test_a_key_goes_where_its_provider_looks_for_it_whatever_the_upstream_is_called(
    name: str, url: str, scheme: str
) -> None:
    assert Upstreams({name: url}).by_name[name].scheme == scheme
