"""The page on the gateway: each example does what the page says, against a gateway as its command starts it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_examples import ROOT, blocks
from started_gateway import Started

from budgeted.gateway.settings import GatewaySettings, ListenSettings
from budgeted.gateway.stated_gateway import stated_gateway
from budgeted.manager.environment import GATEWAY_SETTINGS
from budgeted.testing import SimulatedProvider

PAGE = ROOT / "docs" / "how-to" / "gateway.md"
COMMANDS = {"sh": ["bash", "-c"], "js": ["node", "--input-type=module", "-e"], "py": [sys.executable, "-c"]}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, provider: SimulatedProvider) -> Iterator[Started]:
    folder = tmp_path_factory.mktemp("page")
    options = ("--open", "--limit", "$10/day", "--upstream", f"openai={provider.openai_url}")
    gateway = Started(*options, folder=folder, OPENAI_API_KEY="sk-of-the-gateway")
    yield gateway
    gateway.end()


@pytest.mark.slow
@pytest.mark.parametrize("language", COMMANDS)
def test_every_example_is_charged_to_whom_it_names(
    language: str, started: Started, provider: SimulatedProvider
) -> None:
    if shutil.which(COMMANDS[language][0]) is None:
        pytest.skip(f"{COMMANDS[language][0]} is not installed")
    provider.reset()
    examples = [text for found, text in blocks(PAGE) if found == language]
    assert examples
    for text in examples:
        command = [*COMMANDS[language], text.replace("http://127.0.0.1:8788", started.url)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert len(provider.bill) == len(examples)


@pytest.mark.slow
def test_what_it_says_at_its_start_is_on_the_page(started: Started) -> None:
    [shown] = [text for language, text in blocks(PAGE) if language == "console"]
    said = "".join(started.said[:4]).replace(started.url, "http://127.0.0.1:8788")
    assert said in shown


def test_the_settings_on_the_page_are_all_there_are_with_what_holds_without_them(tmp_path: Path) -> None:
    [text] = [found for language, found in blocks(PAGE) if language == "toml"]
    file = tmp_path / "budgeted.toml"
    file.write_text(text, encoding="utf-8")
    found = stated_gateway({"BUDGETED_CONFIG": str(file)})
    assert {name for name in found.sources if "." not in name} == {*GATEWAY_SETTINGS} - {"upstreams"}
    assert found.listening == ListenSettings()
    assert found.settings == GatewaySettings(upstreams=found.settings.upstreams)
    assert set(found.settings.upstreams) == {"openai", "vllm"}
    assert found.keys.expires == "30d"
