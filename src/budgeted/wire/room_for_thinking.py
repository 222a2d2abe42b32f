"""How many output tokens a model that thinks before it answers needs at least, so that there is an answer.

Thoughts are billed as output, and come first. A cap that they use up buys an empty answer:
https://platform.openai.com/docs/guides/reasoning#allocating-space-for-reasoning.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final

from budgeted.wire.normalized_request import Request

ANSWER: Final = 256
"""Output tokens for the answer, behind thoughts that a budget limits."""

ROOM: Final = 4_096
"""Output tokens for thoughts that nothing limits, and the answer: as many as any answer is granted by default.

Google counts 1,024 as little effort and 8,192 as medium (https://ai.google.dev/gemini-api/docs/openai#thinking); OpenAI
recommends 25,000 to begin with, and fewer once the prompts are known, as a small budget has them.
"""

LITTLE: Final = 1_024 + ANSWER
"""The same with little effort."""

_EFFORTS: Final = {"none": 0, "minimal": 0, "disabled": 0, "low": LITTLE}
_EFFORT: Final = ("reasoning_effort", "effort", "thinkingLevel", "thinking_level", "think")
_BUDGET: Final = ("budget_tokens", "thinkingBudget", "thinking_budget", "token_budget")
_SWITCH: Final = ("enable_thinking", "thinking", "think", "enabled")
_INSIDE: Final = (
    *("reasoning", "reasoning_config", "thinking", "thinkingConfig", "thinking_config"),
    *("generationConfig", "generation_config", "completion_args", "chat_template_kwargs", "extra_body", "extra"),
)
"""What may hold the above, in a request or in each other."""

_TELLING: Final = frozenset((*_EFFORT, *_BUDGET, *_SWITCH, *_INSIDE))

_THINKS: Final = re.compile(
    r"(?<![a-z0-9])(?:"
    r"o[1-9](?![a-z0-9])|gpt-(?:[5-9](?![0-9])(?!-chat)|oss)|codex-|deepseek-reasoner|(?:deepseek[-.])r1|"
    r"claude-(?:fable|mythos|(?:opus|sonnet|haiku)-[5-9](?![0-9]))|"
    r"gemini-(?:2[.-]5-(?:pro|flash(?!-lite))|[3-9](?![0-9]))|grok-(?:3-mini|[4-9](?![0-9])|code|build)|"
    r"magistral|qwq|(?:[\w.-]+-)?(?:thinking|reasoning|reasoner|deep-research)(?![a-z0-9]))"
)
"""Models that think unless they are told not to, by a part of the name.

https://platform.openai.com/docs/guides/reasoning, https://platform.claude.com/docs/en/build-with-claude/thinking,
https://ai.google.dev/gemini-api/docs/thinking, https://api-docs.deepseek.com/guides/reasoning_model,
https://docs.x.ai/docs/guides/reasoning, https://docs.mistral.ai/capabilities/reasoning/
"""

_DOES_NOT: Final = re.compile(r"non-(?:reasoning|thinking)|tts|image|audio|embed|realtime|live")


def room_for_thinking(request: Request) -> int:
    """The fewest output tokens of which thoughts leave some for an answer; 0 for a request that is answered at once.

    Args:
        request: what is asked.
    """
    if request.thinking:
        return request.thinking + ANSWER
    said = _said(request.body)
    if said is not None:
        return said
    return ROOM if thinks(request.model) else 0


@functools.lru_cache(maxsize=1024)
def thinks(model: str) -> bool:
    """Whether a model thinks before it answers, unless it is told not to."""
    name = model.lower()
    return _THINKS.search(name) is not None and _DOES_NOT.search(name) is None


def _said(fields: Mapping[str, object]) -> int | None:
    """What a request says of it; None if it leaves it to the model."""
    if _TELLING.isdisjoint(fields):  # nearly always: looking for each name would take longer than all else of a bound
        return None
    for name in _EFFORT:
        effort = fields.get(name)
        if isinstance(effort, str):
            return _EFFORTS.get(effort.lower(), ROOM)
    for name in _BUDGET:
        budget = fields.get(name)
        if isinstance(budget, int):
            return budget + ANSWER if budget > 0 else 0 if budget == 0 else ROOM  # -1 leaves it open
    for name in _SWITCH:
        switch = fields.get(name)
        if isinstance(switch, bool):
            return ROOM if switch else 0
    for name in _INSIDE:
        inner = fields.get(name)
        if isinstance(inner, Mapping):
            found = _said(inner)
            if found is None and name == "reasoning":
                found = _said({"budget_tokens": inner.get("max_tokens")})  # as OpenRouter has it
            if found is None and name == "thinking":
                found = _said({"effort": inner.get("type")})  # as Anthropic has it
            if found is not None:
                return found
    return None
