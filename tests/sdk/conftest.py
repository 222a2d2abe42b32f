"""A simulated provider, managers that pay, and real SDK clients."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
from paying import Paying

from budgeted.testing import SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    """A provider in good health."""
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture
def paying(provider: SimulatedProvider) -> Iterator[Callable[..., Paying]]:
    """Makes managers that pay, by their settings; each is closed, and must have nothing open when the test ends."""
    made: list[Paying] = []

    def make(**settings: Any) -> Paying:
        made.append(Paying(provider, **settings))
        return made[-1]

    yield make
    try:
        for one in made:
            one.nothing_is_left_open()
    finally:
        for one in made:
            one.manager.close()


@pytest.fixture
def pool(paying: Callable[..., Paying], provider: SimulatedProvider) -> Iterator[ThreadPoolExecutor]:
    """Threads; what they still wait for when the test ends is cut off."""
    threads = ThreadPoolExecutor(60)
    yield threads
    threads.shutdown(wait=False, cancel_futures=True)
    provider.close()
    threads.shutdown()


@pytest.fixture
def payer(paying: Callable[..., Paying]) -> Paying:
    """A manager with 100 USD in memory."""
    return paying()


@pytest.fixture
def chat(provider: SimulatedProvider) -> Iterator[openai.OpenAI]:
    """An OpenAI client that does not retry."""
    with openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(provider: SimulatedProvider) -> Iterator[anthropic.Anthropic]:
    """An Anthropic client that does not retry."""
    with anthropic.Anthropic(base_url=provider.anthropic_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def async_chat(provider: SimulatedProvider) -> openai.AsyncOpenAI:
    """An asynchronous OpenAI client that does not retry; whoever uses it leaves it closed."""
    return openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0)


@pytest.fixture
def async_claude(provider: SimulatedProvider) -> anthropic.AsyncAnthropic:
    """An asynchronous Anthropic client that does not retry; whoever uses it leaves it closed."""
    return anthropic.AsyncAnthropic(base_url=provider.anthropic_url, api_key="any", max_retries=0)
