"""The most output tokens that a model can answer with, by the model's name.

The price list has no such field, and without one the worst case of a call is its whole context window. The facts
are those of LiteLLM's model map (`max_output_tokens` in `model_prices_and_context_window.json`, LiteLLM 1.106.2, MIT
licence), for the models of OpenAI, Anthropic, Google, Mistral, Groq, Cohere, DeepSeek, xAI and Amazon Bedrock.
`scripts/max_output_tokens.py` makes `max_output_tokens.txt` anew: a limit on each line, then the names that have it.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Iterator, Mapping
from typing import Final

_BEFORE: Final = re.compile(  # Bedrock: us.anthropic.claude-...; fine-tuned: ft:gpt-4o:...
    r"(ft:|((us|us-gov|eu|apac|jp|au|ca|in|sa|global|regional)\.)?"
    r"(ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot(ai)?|nvidia|openai|qwen|writer|zai)\.)"
)
_AFTER: Final = re.compile(r"(-v\d:\d|-v1|:(?s:.*))\Z")  # Bedrock: ...-v1:0; OpenRouter: ...:free
_DATE: Final = re.compile(r"-(latest|20\d\d-?[01]\d-?[0-3]\d)\Z")


def find(model: str) -> int | None:
    """Return the most output tokens that the model can answer with, or None if that is not known.

    Example:
        >>> find("gpt-4o-mini"), find("us.anthropic.claude-sonnet-4-5-20250929-v1:0"), find("my-model")
        (16384, 64000, None)
    """
    table = _table()
    return next((table[name] for name in spellings(model) if name in table), None)


def spellings(model: str) -> Iterator[str]:
    """Yield the names under which a model may be in the table: its own, without what surrounds it, without its date."""
    name = model.lower().rpartition("/")[2].replace("@", "-")
    name = _AFTER.sub("", _BEFORE.sub("", name, count=1)).replace(".", "-")
    yield name
    yield _DATE.sub("", name)


@functools.cache
def _table() -> Mapping[str, int]:
    text = importlib.resources.files("budgeted.pricing").joinpath("max_output_tokens.txt").read_text("ascii")
    return {name: int(limit) for limit, *names in map(str.split, text.splitlines()) for name in names}
