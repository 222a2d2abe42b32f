"""Make `src/budgeted/pricing/max_output_tokens.txt` from LiteLLM's model map.

    python scripts/max_output_tokens.py path/to/model_prices_and_context_window.json

The map is in LiteLLM's repository, and in its wheel as `litellm/model_prices_and_context_window_backup.json`.
"""

# ruff: noqa: INP001

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from budgeted.pricing import bundled_price_list, max_output_tokens

TARGET = Path(__file__).parents[1] / "src" / "budgeted" / "pricing" / "max_output_tokens.txt"
MODES = {"chat", "completion", "responses"}
PROVIDERS = {  # as LiteLLM names them, and as the price list does
    "anthropic": "anthropic",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "deepseek": "deepseek",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "text-completion-openai": "openai",
    "vertex_ai-anthropic_models": "google",
    "vertex_ai-language-models": "google",
    "xai": "x-ai",
}


def limits(models: dict[str, dict[str, Any]]) -> dict[str, int]:
    """Return the limit by name. Where two places disagree about a model, the higher limit is the safe one."""
    found: dict[str, int] = {}
    for model, facts in models.items():
        provider = PROVIDERS.get(facts.get("litellm_provider", ""))
        most = facts.get("max_output_tokens")
        if provider is None or facts.get("mode") not in MODES or type(most) is not int or most < 1:
            continue
        if bundled_price_list.lookup(model, provider, None) is not None:
            name = next(max_output_tokens.spellings(model))
            found[name] = max(most, found.get(name, 0))
    return found


def without_repetition(found: dict[str, int]) -> dict[str, int]:
    """Drop the dated names that are found without their date anyway."""
    return {
        name: limit
        for name, limit in found.items()
        if all(other == name or found.get(other) != limit for other in max_output_tokens.spellings(name))
    }


def main(source: str) -> None:
    """Write the table, the names of each limit on a line."""
    names = defaultdict[int, list[str]](list)
    models = json.loads(Path(source).read_text("utf-8"))
    for name, limit in without_repetition(limits(models)).items():
        names[limit].append(name)
    lines = [" ".join([str(limit), *sorted(names[limit])]) + "\n" for limit in sorted(names)]
    TARGET.write_text("".join(lines), "ascii")
    sys.stdout.write(f"{sum(map(len, names.values()))} models, {TARGET.stat().st_size} bytes\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
