"""``budgeted doctor``: what is metered in an environment, what could not be hooked, and what nothing meters."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from budgeted.cli.command_group import budgeted

ALONE = """
import sys
import budgeted.cli.command_group as commands
sys.path[:] = [sys.argv.pop(1), *(place for place in sys.path if "site-packages" not in place)]
commands.budgeted()
"""
"""Runs the command where only what is in one folder is installed."""

GROQ = """
class BaseClient: ...
class SyncAPIClient(BaseClient[int]):
    def request(self): ...
    def _sleep_for_retry(self): ...
if True:
    class AsyncAPIClient(BaseClient):
        async def request(self): ...
        async def _sleep_for_retry(self): ...
"""


def install(site: Path, distribution: str, version: str, **modules: str) -> None:
    """Put a package where others would be installed; importing it fails."""
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    for name, text in modules.items():
        file = site / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        (file.parent / "__init__.py").write_text("raise AssertionError('it was imported')\n")


def diagnosis(site: Path) -> tuple[int, dict[str, Any]]:
    """The exit code and what is told where only this is installed."""
    command = [sys.executable, "-c", ALONE, str(site), "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert not done.stderr
    return done.returncode, json.loads(done.stdout)


def states(found: dict[str, Any]) -> dict[str, str]:
    return {one["package"]: one["state"] for one in found["packages"]}


def test_an_environment_in_which_everything_will_be_hooked_is_healthy(tmp_path: Path) -> None:
    install(tmp_path, "groq", "1.7.0", groq___base_client=GROQ)
    code, found = diagnosis(tmp_path)
    assert code == 0
    assert found["healthy"]
    assert found["packages"] == [{"package": "groq", "version": "1.7.0", "state": "hooked when imported"}]
    assert found["unmetered"] == []


def test_a_function_that_a_version_has_not_got_is_named(tmp_path: Path) -> None:
    install(tmp_path, "groq", "99.0", groq___base_client=GROQ.replace("async def request", "async def send"))
    code, found = diagnosis(tmp_path)
    assert code == 1
    assert states(found) == {"groq": "missing: groq._base_client.AsyncAPIClient.request"}


def test_a_version_without_what_all_calls_go_through_is_told(tmp_path: Path) -> None:
    install(tmp_path, "groq", "0.0.1", groq__other="")
    code, found = diagnosis(tmp_path)
    assert code == 1
    assert states(found) == {"groq": "missing: groq._base_client"}


@pytest.mark.parametrize(
    "text",
    [
        GROQ.replace("    def request", "    def send").replace(
            "class BaseClient: ...", "from elsewhere import BaseClient"
        ),
        GROQ.replace("    def request", "    def send").replace(
            "class BaseClient: ...", "class BaseClient:\n    def request(self): ..."
        ),
        "from elsewhere import *",
        "this is no Python",
    ],
    ids=["inherited from elsewhere", "inherited", "whatever elsewhere has", "unreadable"],
)
def test_what_the_source_does_not_tell_is_not_called_missing(tmp_path: Path, text: str) -> None:
    install(tmp_path, "groq", "2.0", groq___base_client=text)
    code, found = diagnosis(tmp_path)
    assert (code, states(found)) == (0, {"groq": "hooked when imported"})


def test_a_paid_package_that_nothing_meters_is_told(tmp_path: Path) -> None:
    install(tmp_path, "groq", "1.7.0", groq___base_client=GROQ)
    install(tmp_path, "deepgram-sdk", "5.0.0", deepgram__client="")
    code, found = diagnosis(tmp_path)
    assert code == 1
    assert not found["healthy"]
    assert found["unmetered"] == ["deepgram-sdk"]
    assert states(found) == {"groq": "hooked when imported", "deepgram-sdk": "not metered"}


def test_a_package_without_a_hook_is_met_at_the_transport_by_its_http_client(tmp_path: Path) -> None:
    install(tmp_path, "voyageai", "0.5.0", voyageai__client="")
    install(tmp_path, "together", "1.0", together__old="")  # a version before the one that is hooked
    install(tmp_path, "xai-sdk", "1.21.0", xai_sdk__chat="")
    code, found = diagnosis(tmp_path)
    assert code == 0
    assert states(found) == {
        "together": "met at the transport by httpx or requests or aiohttp",
        "voyageai": "met at the transport by requests or aiohttp",
        "xai-sdk": "met at the transport by grpc",
    }


def test_an_environment_without_paid_packages_is_healthy(tmp_path: Path) -> None:
    assert diagnosis(tmp_path)[0] == 0


def test_an_older_version_that_calls_another_package_is_metered_there(tmp_path: Path) -> None:
    install(tmp_path, "dspy", "3.0", dspy__clients__lm="")
    assert states(diagnosis(tmp_path)[1]) == {"dspy": "missing: dspy.clients.execution"}
    install(tmp_path, "litellm", "1.83", litellm__main="from elsewhere import *")
    assert states(diagnosis(tmp_path)[1])["dspy"] == "hooked when imported by litellm, which it calls"


def test_what_is_set_is_told_and_what_is_secret_is_not(budgeted_home: Path) -> None:
    variables = {
        "BUDGETED_MAX_BUDGET": "$10/day",
        "BUDGETED_LEDGER": "redis://me:swordfish@db/0",
        "BUDGETED_TOKEN": "swordfish",
        "BUDGETED_MAX_BUGDET": "swordfish",
    }
    table = CliRunner().invoke(budgeted, ["doctor"], env=variables)
    assert "BUDGETED_MAX_BUDGET=$10/day" in table.stdout
    assert "BUDGETED_LEDGER=redis://***@db/0" in table.stdout
    assert str(budgeted_home) in table.stdout
    assert "swordfish" not in table.output
    found = json.loads(CliRunner().invoke(budgeted, ["doctor", "--json"], env=variables).stdout)
    assert found["variables"]["BUDGETED_TOKEN"] == "***"  # noqa: S105 - that it is not told
    assert found["variables"]["BUDGETED_MAX_BUGDET"] == "***"
    assert found["problems"] == ["BUDGETED_MAX_BUGDET is not known; did you mean BUDGETED_MAX_BUDGET?"]
    assert found["default_ledger"] == str(budgeted_home)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
