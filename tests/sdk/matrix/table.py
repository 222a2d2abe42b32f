"""The table: which SDKs and frameworks are called, in which forms.

To add one, name its packages in `SDKS` or `FRAMEWORKS`, and write `rows/<name>.py` with a `row` in it, like its
neighbours.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import warnings
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from budgeted.testing import SimulatedProvider

SDKS: dict[str, tuple[str, ...]] = {
    "openai": ("openai",),
    "anthropic": ("anthropic",),
    "groq": ("groq",),
    "google": ("google-genai",),
    "mistral": ("mistralai",),
    "cohere": ("cohere",),
    "ollama": ("ollama",),
    "bedrock": ("boto3",),
    "aiobotocore": ("aiobotocore", "boto3"),
    "litellm": ("litellm",),
}
FRAMEWORKS: dict[str, tuple[str, ...]] = {
    "dspy": ("dspy",),
    "langchain": ("langchain-openai", "langchain-anthropic"),
    "langgraph": ("langgraph", "langchain-openai"),
    "pydantic_ai": ("pydantic-ai-slim",),
    "openai_agents": ("openai-agents",),
    "instructor": ("instructor",),
    "llama_index": ("llama-index-llms-openai",),
    "crewai": ("crewai",),
    "semantic_kernel": ("semantic-kernel",),
    "autogen": ("autogen-agentchat", "autogen-ext"),
    "any_llm": ("any-llm-sdk",),
    "haystack": ("haystack-ai",),
    "google_adk": ("google-adk", "litellm"),
    "smolagents": ("smolagents", "litellm"),
    "strands": ("strands-agents",),
    "strands_bedrock": ("strands-agents", "boto3"),
    "browser_use": ("browser-use",),
    "agno": ("agno",),
}
PACKAGES = {**SDKS, **FRAMEWORKS}
"""By module of `rows`: the packages whose versions decide how it behaves. It is run where all of them are installed."""

Client = Callable[[SimulatedProvider], Any]


class Form(NamedTuple):
    """One way of calling.

    Attributes:
        name: what the table calls it.
        client: makes what is called with.
        run: calls; gives an answer or a stream, or what gives one when awaited.
        streams: whether it gives a stream.
        asynchronous: whether it runs in an event loop.
        bills: how many calls the provider bills for it.
        eager: whether it reads all of a stream whatever its caller does, so that nothing is left when it is left.
        swallows: whether a refusal is not raised to its caller, whose answer says that there was one.
    """

    name: str
    client: Client
    run: Callable[[Any], Any]
    streams: bool
    asynchronous: bool
    bills: int = 1
    eager: bool = False
    swallows: bool = False


class Row:
    """The forms in which one SDK or framework is called.

    Args:
        without: endings that its provider's wire format does not know.
    """

    def __init__(self, without: Collection[str] = ()) -> None:
        self.forms: list[Form] = []
        self.without = without

    def call(
        self, client: Client | None = None, async_client: Client | None = None, **details: Any
    ) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """Add a form that gives an answer.

        Args:
            client: makes what a function is given, for a provider. A coroutine function's runs in an event loop too.
            async_client: makes what the same function is given to be awaited.
            **details: as of a `Form`: `name`, if not as the function is called; `bills`, `swallows`.
        """
        return self._adding(client, async_client, streams=False, **details)

    def stream(
        self, client: Client | None = None, async_client: Client | None = None, **details: Any
    ) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        """Add a form that gives a stream: an iterator, or a context manager that enters as one.

        Args:
            client: as above.
            async_client: as above.
            **details: as above, and `eager`.
        """
        return self._adding(client, async_client, streams=True, **details)

    def _adding(
        self, client: Client | None, async_client: Client | None, *, name: str = "", **details: Any
    ) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        def add(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
            title = name or run.__name__
            own_loop = inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run)
            if client is not None:
                self.forms.append(Form(title, client, run, asynchronous=own_loop, **details))
            if async_client is not None:
                title = f"{title}_async" if client is not None else title
                self.forms.append(Form(title, async_client, run, asynchronous=True, **details))
            return run

        return add


def versions(name: str) -> dict[str, str | None]:
    """The installed versions of a row's packages; None for what is not installed."""
    return {package: version(package) for package in PACKAGES.get(name, ())}


def version(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
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
