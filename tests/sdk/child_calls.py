"""What the children do that tests start: they call by the real SDK, and know nothing of budgets by themselves."""

from __future__ import annotations

import multiprocessing
from typing import Any

import openai
from paying import MESSAGES

from budgeted import BudgetError


def ask(url: str, times: int = 1, **asked: Any) -> list[str]:
    """Ask so often. Returns how each call ended: "" or the name of the refusal and its text."""
    asked = {"model": "gpt-5-mini", "messages": MESSAGES, "max_completion_tokens": 100, **asked}
    ends = []
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        for _ in range(times):
            try:
                client.chat.completions.create(**asked)
                ends.append("")
            except BudgetError as error:
                ends.append(f"{type(error).__name__}: {error}")
    return ends


def told(queue: Any, url: str, *args: Any) -> None:
    """Ask in a process of its own."""
    queue.put(ask(url, *args))


class Asking(multiprocessing.get_context("spawn").Process):  # type: ignore[name-defined,misc]
    """A process that overrides ``run``."""

    def __init__(self, queue: Any, url: str) -> None:
        super().__init__()
        self.queue, self.url = queue, url

    def run(self) -> None:
        told(self.queue, self.url)


class AskingInItsOwnWay(Asking):
    """The same, pickled by what it knows of itself alone."""

    def __init__(self, queue: Any, url: str) -> None:
        super().__init__(queue, url)
        self._mine = [*vars(self), "_mine"]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name in self._mine}


class AskingForked(multiprocessing.get_context("fork").Process):  # type: ignore[name-defined,misc]
    """The same, forked."""

    def __init__(self, queue: Any, url: str) -> None:
        super().__init__()
        self.queue, self.url = queue, url

    def run(self) -> None:
        told(self.queue, self.url)
