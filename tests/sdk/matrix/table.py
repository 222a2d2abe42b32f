"""The table: which SDKs and frameworks are called, in which forms.

To add one, name its packages in `PACKAGES`, and write `rows/<name>.py` with a `row` in it, like its neighbours.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from budgeted.testing import SimulatedProvider

PACKAGES: dict[str, tuple[str, ...]] = {
    "openai": ("openai",),
    "anthropic": ("anthropic",),
    "langchain": ("langchain-openai", "langchain-anthropic"),
    "langgraph": ("langgraph", "langchain-openai"),
    "pydantic_ai": ("pydantic-ai-slim",),
    "openai_agents": ("openai-agents",),
    "instructor": ("instructor",),
    "llama_index": ("llama-index-llms-openai",),
    "crewai": ("crewai",),
}
"""By module of `rows`: the packages whose versions decide how it behaves. It is run where all of them are installed."""

Client = Callable[[SimulatedProvider], Any]


class Form(NamedTuple):
    """One way of calling: a function of a client, which gives an answer or a stream, or what gives one when awaited."""

    name: str
    client: Client
    run: Callable[[Any], Any]
    streams: bool
    asynchronous: bool
    bills: int


class Row:
    """The forms in which one SDK or framework is called."""

    def __init__(self) -> None:
        self.forms: list[Form] = []

    def call(
        self, client: Client | None = None, async_client: Client | None = None, *, name: str = "", bills: int = 1
    ) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """Add a form that gives an answer.

        Args:
            client: makes what a function is given, for a provider. A coroutine function's runs in an event loop too.
            async_client: makes what the same function is given to be awaited.
            name: what the table calls it, if not as the function is called.
            bills: how many calls the provider bills for it.
        """
        return self._adding(client, async_client, name, bills, streams=False)

    def stream(
        self, client: Client | None = None, async_client: Client | None = None, *, name: str = "", bills: int = 1
    ) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """Add a form that gives a stream: an iterator, or a context manager that enters as one."""
        return self._adding(client, async_client, name, bills, streams=True)

    def _adding(
        self, client: Client | None, async_client: Client | None, name: str, bills: int, *, streams: bool
    ) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        def add(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
            title = name or run.__name__
            own_loop = inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run)
            if client is not None:
                self.forms.append(Form(title, client, run, streams, own_loop, bills))
            if async_client is not None:
                title = f"{title}_async" if client is not None else title
                self.forms.append(Form(title, async_client, run, streams, True, bills))
            return run

        return add


def versions(name: str) -> dict[str, str | None]:
    """The installed versions of a row's packages; None for what is not installed."""
    return {package: _version(package) for package in PACKAGES[name]}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def installed() -> dict[str, Row]:
    """The rows that can be run here, by name."""
    names = (name for name in PACKAGES if None not in versions(name).values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a framework warns of is its business
        return {name: importlib.import_module(f"rows.{name}").row for name in names}
