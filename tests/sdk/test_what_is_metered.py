"""What ``instrument()`` returns of the SDKs that are installed here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest

import budgeted
from budgeted import providers

pytestmark = pytest.mark.sdk

IMPORTED_LATE = """
import json, sys
import budgeted
def state():
    return next(one.state for one in budgeted.instrument().packages if one.package == "groq")
states = [state()]
assert "groq" not in sys.modules
import groq
states.append(state())
budgeted.uninstrument()
from budgeted import providers
states.append(next(one.state for one in providers.instrumented().packages if one.package == "groq"))
states.append(state())
print(json.dumps(states))
"""

TOO_NEW = """
import json, logging
import groq._base_client
del groq._base_client.AsyncAPIClient.request
import budgeted
logging.disable()
found = budgeted.instrument()
print(json.dumps([found.complete, next(one.state for one in found.packages if one.package == "groq")]))
"""


def told(program: str) -> Any:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def test_an_sdk_is_hooked_once_it_is_imported() -> None:
    before, after, out, again = told(IMPORTED_LATE)
    assert (before, after, again) == ("hooked when imported", "hooked", "hooked")
    assert out.startswith("missing: ")


def test_an_sdk_without_a_function_that_should_be_hooked_is_told() -> None:
    assert told(TOO_NEW) == [False, "missing: groq._base_client.AsyncAPIClient.request"]


def test_the_installed_sdks_are_told_with_their_versions() -> None:
    import openai

    found = {one.package: one for one in budgeted.instrument().packages}
    assert found["openai"].version == openai.__version__
    assert found["openai"].state == "hooked"
    assert found["google-genai"].version == metadata.version("google-genai")


def test_nothing_that_should_be_hooked_is_missing_from_the_installed_sdks() -> None:
    assert [one for one in providers.instrumented(ahead=True).packages if one.state.startswith("missing")] == []
