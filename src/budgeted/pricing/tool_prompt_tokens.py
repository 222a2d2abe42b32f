"""Tokens that a provider adds to a request with tools, beside the tools' definitions as they are written in it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final

UNKNOWN_PROMPT: Final = 1_000
"""Where nobody has published a figure: more than the largest that is."""

NO_PROMPT: Final = 64
"""Of OpenAI and Google, who bill definitions as a part of the input, and document no prompt beside them.

Around all functions OpenAI counts 12 tokens, and its newer models are told where to write calls:
https://platform.openai.com/docs/guides/function-calling#token-usage,
https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, https://cookbook.openai.com/articles/openai-harmony.
Google: https://ai.google.dev/gemini-api/docs/tokens.
"""

_CLAUDE_PROMPT: Final = {
    "opus-5": 406,
    "opus-4-8": 410,
    "opus-4-7": 804,
    "opus-4-6": 589,
    "opus-4-5": 588,
    "opus-4-1": 346,
    "opus-4-0": 346,
    "opus-4": 346,
    "opus-3": 530,
    "sonnet-5": 474,
    "sonnet-4-6": 589,
    "sonnet-4-5": 588,
    "sonnet-4-0": 346,
    "sonnet-4": 346,
    "sonnet-3-7": 346,
    "sonnet-3-5": 346,
    "sonnet-3": 235,
    "haiku-4-5": 588,
    "haiku-3-5": 355,
    "haiku-3": 340,
}
"""The larger of the figures for `tool_choice` auto and any, and of those that Anthropic has published over time.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview#pricing
"""

_CLAUDE_TOOLS: Final = {
    "bash": 245,
    "text_editor": 700,
    "computer_toolset": 4_500,
    "computer": 735 + 499,
    "browser_toolset": 6_600,
    "": 735 + 499,
}
"""What tools cost whose definition Anthropic keeps, by the beginning of their type.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/bash-tool#pricing and its neighbours
"""

_CLAUDE_TOOLS_NEWER: Final = 3, 2
"""They are figures of models before Opus 4.7, whose tokenizer makes up to 1.35 times the tokens of a text.

https://platform.claude.com/docs/en/about-claude/models/whats-new-claude-4-7
"""

# A date behind the version has more than two digits.
_CLAUDE: Final = re.compile(r"claude-(?:(\d(?:-\d)?)-)?(opus|sonnet|haiku)(?:-(\d{1,2}(?!\d)(?:-\d{1,2}(?!\d))?))?")
_OPENAI: Final = re.compile(r"(?:gpt-\d|chatgpt-|o\d)[-.:\w]*")


def tool_prompt(model: str, tools: object) -> int:
    """The most tokens that a request's tools add to what they are in JSON.

    Args:
        model: its name, with whatever is around it.
        tools: what the request has as tools.
    """
    most = prompt_of(model)
    if "claude" not in model.lower() or not isinstance(tools, (list, tuple)):
        return most
    return most + sum(map(_kept_definition, tools))


@functools.lru_cache(maxsize=1024)
def prompt_of(model: str) -> int:
    """The most tokens of the hidden prompt that a model gets as soon as there are tools."""
    name = model.lower().replace(".", "-").replace("_", "-")
    found = _CLAUDE.search(name)
    if found is not None:
        before, family, after = found.groups()
        return _CLAUDE_PROMPT.get(f"{family}-{after or before}", UNKNOWN_PROMPT)
    if "gemini" in name or _OPENAI.fullmatch(name.rpartition("/")[2]):
        return NO_PROMPT
    return UNKNOWN_PROMPT


def _kept_definition(tool: object) -> int:
    """The tokens of a definition that is not in the request."""
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    if not isinstance(kind, str) or kind in ("custom", "function"):
        return 0
    most = next(size for name, size in _CLAUDE_TOOLS.items() if kind.startswith(name))
    times, part = _CLAUDE_TOOLS_NEWER
    return most * times // part
