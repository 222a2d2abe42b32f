"""DSPy, by its own engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK = "Name a city."


def gpt(provider: SimulatedProvider) -> dspy.LM:
    url = provider.openai_url
    return dspy.LM("openai/gpt-5-mini", api_base=url, api_key="any", cache=False, num_retries=0)


def claude(provider: SimulatedProvider) -> dspy.LM:
    url = provider.anthropic_url
    return dspy.LM(
        "anthropic/claude-haiku-4-5", api_base=url, api_key="any", max_tokens=500, cache=False, num_retries=0
    )


class City(dspy.Module):
    """A program of one step."""

    def __init__(self, lm: dspy.LM) -> None:
        super().__init__()
        self.lm = lm

    async def aforward(self) -> dspy.Prediction:
        return dspy.Prediction(city=(await self.lm.acall(ASK))[0])


def _call(lm: Any) -> Any:
    return lm(ASK)


async def _acall(lm: Any) -> Any:
    return await lm.acall(ASK)


def _streamify(lm: Any) -> Any:
    return dspy.streamify(City(lm), is_async_program=True)()


for client in (gpt, claude):
    row.call(client, name=f"{client.__name__}_call")(_call)
    row.call(client, name=f"{client.__name__}_acall")(_acall)
    row.stream(async_client=client, name=f"{client.__name__}_streamify")(_streamify)
