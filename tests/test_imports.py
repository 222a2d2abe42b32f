"""What importing the package costs and touches."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.sdk

LOADED_WHERE_THEY_ARE_USED = [
    "anthropic",
    "claude_agent_sdk",
    "click",
    "cohere",
    "genai_prices",
    "google.genai",
    "groq",
    "litellm",
    "mistralai",
    "multiprocessing",
    "ollama",
    "openai",
    "pickle",
    "psycopg",
    "pydantic",
    "redis",
    "rich",
    "sqlalchemy",
    "starlette",
    "tiktoken",
    "uvicorn",
]


def test_importing_budgeted_loads_no_sdk_and_nothing_heavy() -> None:
    """An application that meters no call yet pays for no price list, tokenizer, SDK, server or database."""
    program = "import sys, budgeted; print(*set(sys.argv[1:]).intersection(sys.modules))"
    fresh = subprocess.run(
        [sys.executable, "-c", program, *LOADED_WHERE_THEY_ARE_USED],
        capture_output=True,
        text=True,
        check=False,
    )
    assert fresh.returncode == 0, fresh.stderr
    assert fresh.stdout.split() == []
