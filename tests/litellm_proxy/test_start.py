"""A proxy that could not limit anything does not start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

RENAMED = """
async def hook(self, user_api_key, cache, data, call_type): ...
CustomLogger.async_pre_call_hook = hook
"""
GONE = "del CustomLogger.async_log_success_event"
NOT_CALLED = """
async def pre_call(self, data): ...
ProxyLogging.pre_call_hook = pre_call
"""


def run(code: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    import os

    return {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "BUDGETED_CONFIG": os.devnull}


def test_importing_it_makes_nothing(tmp_path: Path, environment: Mapping[str, str]) -> None:
    code = """
import sys, budgeted.integrations.litellm_proxy
from budgeted.manager import open_managers
assert "litellm" not in sys.modules
assert open_managers._default is None
"""
    done = run(code, tmp_path, environment)
    assert done.returncode == 0, done.stderr


def test_hooks_of_other_names_or_parameters_are_refused(tmp_path: Path, environment: Mapping[str, str]) -> None:
    code = f"""
import budgeted
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.utils import ProxyLogging
from litellm.proxy.types_utils.utils import get_instance_fn

def refused(change):
    kept = dict(vars(CustomLogger)), ProxyLogging.pre_call_hook
    exec(change)
    try:
        get_instance_fn("budgeted.integrations.litellm_proxy.handler")
    except RuntimeError as error:
        print(error)
    else:
        raise AssertionError(change)
    for name in ("async_pre_call_hook", "async_log_success_event"):
        setattr(CustomLogger, name, kept[0][name])
    ProxyLogging.pre_call_hook = kept[1]

for change in ({RENAMED!r}, {GONE!r}, {NOT_CALLED!r}):
    refused(change)
handler = get_instance_fn("budgeted.integrations.litellm_proxy.handler")
assert type(budgeted.get_manager().ledger).__name__ == "JournalLedger"  # nothing is said of it, and yet it is kept
assert handler is get_instance_fn("budgeted.integrations.litellm_proxy.handler")
"""
    done = run(code, tmp_path, environment)
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert "CustomLogger.async_pre_call_hook takes ('user_api_key'" in first
    assert "it was tried with litellm 1.1" in first.lower()
    assert "CustomLogger.async_log_success_event is not there" in second
    assert "ProxyLogging.pre_call_hook" in third
