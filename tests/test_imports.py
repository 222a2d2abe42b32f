"""What importing the package costs and touches."""

from __future__ import annotations

import subprocess
import sys

import pytest

import budgeted

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


def loaded(program: str, *names: str) -> set[str]:
    """Which modules a fresh interpreter has loaded after a program."""
    program += "; import sys; print(*set(sys.argv[1:]).intersection(sys.modules))"
    fresh = subprocess.run([sys.executable, "-c", program, *names], capture_output=True, text=True, check=False)
    assert fresh.returncode == 0, fresh.stderr
    return set(fresh.stdout.split())


def test_importing_budgeted_loads_no_sdk_and_nothing_heavy() -> None:
    """An application that meters no call yet pays for no price list, tokenizer, SDK, server or database."""
    assert loaded("from budgeted import budget", *LOADED_WHERE_THEY_ARE_USED) == set()


def test_the_command_needs_nothing_of_a_gateway_until_one_is_asked_for() -> None:
    """Its extra alone may be installed, and most commands are about something else."""
    parts = ("aiohttp", "yarl", "starlette", "uvicorn", "httptools", "opentelemetry.sdk", "prometheus_client")
    assert loaded("import budgeted.cli.command_group", *parts) == set()


def test_a_gateway_loads_nothing_of_its_page_until_one_is_shown() -> None:
    """That of a run shows none, and starts when the program first asks it for something."""
    assert loaded("import budgeted.gateway.application", "jinja2", "pygal", "budgeted.page") == set()


def test_the_package_is_loaded_with_its_first_public_name() -> None:
    """Tools that look for plugins import modules of every package that is installed."""
    parts = ("budgeted.api", "budgeted.manager", "opentelemetry", "msgspec")
    assert loaded("import budgeted", *parts) == set()
    assert loaded("import budgeted; budgeted.budget", *parts) == set(parts)


def test_its_modules_are_reached_through_it_without_another_import() -> None:
    code = "import budgeted; print(budgeted.errors.BudgetError is budgeted.BudgetError, budgeted.limits.limit.Limit)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True <class 'budgeted.limits.limit.Limit'>\n"


def test_a_name_that_nobody_has_is_missed_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'budgeted' has no attribute 'budgets'"):
        budgeted.budgets  # type: ignore[attr-defined]  # noqa: B018


def test_pytest_is_told_that_nothing_here_is_to_be_rewritten() -> None:
    """It rewrites the packages of its plugins, and warns of those that were imported before."""
    assert "PYTEST_DONT_REWRITE" in str(budgeted.__doc__)
