"""Commands that tell what a model costs, and what a request may cost at most."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from click.testing import CliRunner, Result

from budgeted import BudgetManager, Usage
from budgeted.cli.command_group import budgeted
from budgeted.pricing import price_registry
from budgeted.testing import SimulatedProvider

AT = 1_795_000_000


def run(*args: str, code: int = 0, given: str = "") -> Result:
    result = CliRunner().invoke(budgeted, args, input=given, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def estimated(request: object, *args: str) -> Any:
    return json.loads(run("estimate", "-", "--json", *args, given=json.dumps(request)).stdout)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_registered: None) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- prices


def test_a_price_is_shown_with_its_source_and_what_tokens_cost() -> None:
    table = run("price", "gpt-5-mini", "--input", "1000", "--output", "200", "--cached", "500").stdout
    assert "gpt-5-mini of openai, by the bundled price list (genai-prices" in table
    assert ["input", "$0.25"] in [line.split() for line in table.splitlines()]
    assert "1,000 tokens in (500 cached) and 200 out cost $0.0005375" in table
    found = json.loads(run("price", "gpt-5-mini", "--input", "1000", "--output", "200", "--json").stdout)
    assert (found["rates"]["input"], found["rates"]["output"]) == (0.25, 2)
    price = price_registry.find("gpt-5-mini")
    assert price is not None
    assert found["cost"] * 1e9 == pytest.approx(price.cost(Usage(1000, 200), AT))


def test_a_price_of_the_settings_file_names_its_line(folder: Path) -> None:
    Path("budgeted.toml").write_text(
        '[prices."our-model"]\ninput = 1\noutput = 4\n\n[prices."gpt-5*"]\nmultiplier = 2\n'
    )
    assert "budgeted.toml, line 1, prices.our-model" in run("price", "our-model").stdout
    doubled = json.loads(run("price", "gpt-5-mini", "--json").stdout)
    assert doubled["rates"]["input"] == 0.5
    assert 'prices."gpt-5*", over the bundled price list' in doubled["source"]


@pytest.mark.parametrize(
    ("args", "told", "code"),
    [
        (["gtp-5-mini"], "no price is known for model 'gtp-5-mini'; did you mean 'gpt-5-mini'", 1),
        (["openai/gtp-5-mini"], "did you mean 'openai/gpt-5-mini'", 1),
        (["zzzzzzzz"], '[prices."NAME"]', 1),
        (["claude-sonet-4-5", "--provider", "anthropic"], "of anthropic; did you mean 'claude-sonnet-4-5'", 1),
        (["gpt-5", "--input", "-1"], "-1", 2),
        (["gpt-5", "--input", "many"], "'many'", 2),
        (["gpt-5", "--cached", "5"], "--cached 5 is a part of --input, which is 0", 2),
        (["gpt-5", "--input", str(10**13)], str(10**13), 1),
    ],
)
def test_what_has_no_price_is_told_with_the_nearest_names(args: list[str], told: str, code: int) -> None:
    assert told in run("price", *args, code=code).stderr


# -- estimates

CHAT = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello!"}], "max_completion_tokens": 100}
MESSAGES = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 100}


def test_an_estimate_is_what_a_call_of_an_sdk_holds() -> None:
    with SimulatedProvider() as provider, BudgetManager("app", ledger="memory://") as manager:
        gpt = openai.OpenAI(base_url=provider.openai_url, api_key="none")
        with manager.budget("alice"), gpt.chat.completions.create(**CHAT, stream=True):
            assert manager.balance("alice").held == estimated({**CHAT, "stream": True})["most"]
        claude = anthropic.Anthropic(base_url=provider.anthropic_url, api_key="none")
        with manager.budget("bob"), claude.messages.create(**MESSAGES, stream=True):
            assert manager.balance("bob").held == estimated({**MESSAGES, "stream": True})["most"]


BEDROCK = "anthropic.claude-sonnet-4-5-20250929-v1:0"
TEXT = [{"role": "user", "content": [{"text": "Hi"}]}]
GEMINI = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 50}}
INVOKED = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": MESSAGES["messages"]}


@pytest.mark.parametrize(
    ("request_", "args", "provider", "output"),
    [
        (CHAT, [], "openai", 100),
        ({**CHAT, "n": 3}, [], "openai", 300),
        (CHAT, ["--model", "gpt-5"], "openai", 100),
        ({**CHAT, "model": "llama-3.3-70b-versatile"}, ["--provider", "groq"], "groq", 100),
        ({"model": "gpt-5", "input": "Hi", "max_output_tokens": 50}, [], "openai", 50),
        ({"model": "gpt-5", "input": "Hi"}, [], "openai", 128_000),
        ({"model": "text-embedding-3-small", "input": "Hi"}, [], "openai", 0),
        ({"model": "gpt-3.5-turbo-instruct", "prompt": "Hi", "max_tokens": 50}, [], "openai", 50),
        (MESSAGES, [], "anthropic", 100),
        (GEMINI, ["--model", "gemini-2.5-pro"], "google", 50),
        ({**GEMINI, "model": "models/gemini-2.5-pro"}, [], "google", 50),
        ({"modelId": BEDROCK, "messages": TEXT, "inferenceConfig": {"maxTokens": 50}}, [], "aws", 50),
        ({"messages": TEXT, "inferenceConfig": {"maxTokens": 50}}, ["--model", BEDROCK], "aws", 50),
        ({"modelId": BEDROCK, "body": json.dumps(INVOKED)}, [], "aws", 50),
        (INVOKED, ["--model", BEDROCK], "aws", 50),
        ({"model": BEDROCK, "messages": TEXT, "max_tokens": 5}, ["--provider", "aws"], "aws", 64_000),
        ({"model": "voyage-3", "input": ["Hi"]}, [], "voyageai", 0),
        ({"custom_id": "1", "url": "/v1/chat/completions", "body": CHAT}, [], "openai", 100),
        ({"custom_id": "1", "params": MESSAGES}, [], "anthropic", 100),
    ],
)
def test_requests_are_read_as_each_provider_takes_them(
    request_: dict[str, object], args: list[str], provider: str, output: int
) -> None:
    found = estimated(request_, *args)
    assert (found["provider"], found["output_tokens"]) == (provider, output)
    assert 0 < found["input_tokens"] < 1000
    assert found["most"] > 0


def test_an_estimate_tells_people_that_a_request_has_no_cap(tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"model": "gpt-5", "input": "Hi"}), encoding="utf-8-sig")
    table = run("estimate", str(file)).stdout
    assert ["output", "128,000"] in [line.split() for line in table.splitlines()]
    assert "it has no output cap" in table


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "<stdin> is empty"),
        ("nope", "<stdin> is no JSON"),
        ("{} {}", "trailing characters"),
        ("[" * 100_000, "<stdin> is no JSON"),
        ('["x"]', "has ['x']; a request is an object"),
        ("{}", "names no model; name it with --model"),
        ('{"model": 5, "input": "x"}', "the model must be a name, got 5"),
        ('{"model": "gpt-5"}', "it has model, and one would have messages"),
        ('{"model": "gpt-5", "text": "x"}', "it has model, text"),
        ('{"model": "gtp-5-mini", "input": "x"}', "did you mean 'gpt-5-mini'"),
        ('{"model": "gpt-5", "input": "x", "background": true}', "a background response has no bound"),
        ('{"modelId": "x", "body": "nope"}', "no price is known for model 'x'"),
    ],
)
def test_what_is_no_request_is_told_as_what_it_is(given: str, told: str) -> None:
    assert told in run("estimate", "-", code=1, given=given).stderr


def test_a_file_that_is_not_there_is_a_wrong_argument(tmp_path: Path) -> None:
    assert "nowhere.json" in run("estimate", str(tmp_path / "nowhere.json"), code=2).stderr
