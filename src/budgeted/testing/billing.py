"""What calls cost at the simulated provider: its own price list, its own arithmetic, its own book-keeping.

Nothing here comes from the rest of the package, so that a mistake there cannot hide behind the same mistake here.
"""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

Amount: TypeAlias = int | str | float
"""USD per million tokens; a float counts as the decimal number that it is written as."""

NANO_PER_USD_PER_MILLION = 1000  # one token at 1 USD per million tokens costs 1000 nano-USD


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of one call. Totals include their subsets.

    Attributes:
        input_tokens: Everything that was read, cached tokens and cache writes included.
        output_tokens: Everything that was written, reasoning included.
        cached_input_tokens: The part of the input that was read from a cache.
        cache_write_tokens: The part of the input that was written to a cache.
        cache_write_1h_tokens: The part of `cache_write_tokens` that is kept for an hour.
        reasoning_tokens: The part of the output that was reasoning.
        drawn_tokens: The part of the output that was pictures.
        searches: Web searches that the provider made.
        pictures: Pictures that were made.
        units: What else is billed by number: pages that were read, searches that were ranked.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    drawn_tokens: int = 0
    searches: int = 0
    pictures: int = 0
    units: int = 0


class Rates(msgspec.Struct, frozen=True):
    """The price of one model, in USD per million tokens.

    Attributes:
        input: Input that is in no cache.
        output: Output, reasoning included.
        drawn: Output that is pictures; None: as `output`.
        cached_input: Input read from a cache; None: as `input`.
        cache_write: Input written to a cache for five minutes; None: as `input`.
        cache_write_1h: Input written to a cache for an hour; None: as `cache_write`.
        long_input: The rates of calls whose whole input is above 200,000 tokens; None: the same.
        tiers: The rates of other service tiers, by the name that a request gives them.
        per_search: USD for each web search.
        once: Whether an answer is billed for one search, however many it took.
        per_picture: USD for each picture.
        per_unit: USD for each of the units that are billed by number.
    """

    input: Amount
    output: Amount
    cached_input: Amount | None = None
    cache_write: Amount | None = None
    cache_write_1h: Amount | None = None
    long_input: Rates | None = None
    tiers: dict[str, Rates] = {}
    drawn: Amount | None = None
    per_search: Amount = "0.01"
    once: bool = False
    per_picture: Amount = 0
    per_unit: Amount = 0

    def nano_usd(self, counts: Counts, tier: str | None = None) -> int:
        """Return what a call costs in nano-USD, rounded up once.

        Args:
            counts: What was used.
            tier: The service tier; None for the standard one.
        """
        rates = self.tiers.get(tier or "", self)
        if rates.long_input is not None and counts.input_tokens > 200_000:
            rates = rates.long_input
        write = rates.input if rates.cache_write is None else rates.cache_write
        cached = rates.input if rates.cached_input is None else rates.cached_input
        write_1h = write if rates.cache_write_1h is None else rates.cache_write_1h
        plain = counts.input_tokens - counts.cached_input_tokens - counts.cache_write_tokens
        usd_per_million = (
            plain * _exact(rates.input)
            + counts.cached_input_tokens * _exact(cached)
            + (counts.cache_write_tokens - counts.cache_write_1h_tokens) * _exact(write)
            + counts.cache_write_1h_tokens * _exact(write_1h)
            + (counts.output_tokens - counts.drawn_tokens) * _exact(rates.output)
            + counts.drawn_tokens * _exact(rates.output if rates.drawn is None else rates.drawn)
        )
        searches = min(counts.searches, 1) if self.once else counts.searches
        apart = searches * _exact(self.per_search) + counts.pictures * _exact(self.per_picture)
        apart += counts.units * _exact(rates.per_unit)
        return math.ceil(usd_per_million * NANO_PER_USD_PER_MILLION + apart * 10**9)


@cache
def _exact(amount: Amount) -> Fraction:
    return Fraction(str(amount)) if isinstance(amount, float) else Fraction(amount)


Prices: TypeAlias = Mapping[str, Rates | Sequence[Amount]]
"""By model: `Rates`, or (input, output) or (input, output, cached input) in USD per million tokens."""


def _rates(price: Rates | Sequence[Amount]) -> Rates:
    amounts = (price.input, price.output) if isinstance(price, Rates) else price
    if isinstance(amounts, str) or len(amounts) not in (2, 3) or not all(map(_is_amount, amounts)):
        raise ValueError(
            f"a price is (input, output) or (input, output, cached input) in USD per million tokens, not {price!r}"
        )
    return price if isinstance(price, Rates) else Rates(price[0], price[1], price[2] if len(price) == 3 else None)


def _is_amount(amount: Amount) -> bool:
    """Whether it can be reckoned with: if not, the first call would be told, and not who has set the price."""
    try:
        return _exact(amount) >= 0
    except (ValueError, TypeError):
        return False


def _openai(rates: str, *, flex: str = "", priority: str = "") -> Rates:
    tiers = {"flex": flex, "priority": priority, "fast": priority}
    others = {name: _rates(text.split()) for name, text in tiers.items() if text}
    return msgspec.structs.replace(_rates(rates.split()), tiers=others)


def _by_context(sent: str, made: str, **fees: str) -> dict[str, Rates]:
    return {size: Rates(sent, made, per_unit=fee) for size, fee in fees.items()}


# https://developers.openai.com/api/docs/pricing, https://platform.claude.com/docs/en/about-claude/pricing, 2026-10.
# https://ai.google.dev/gemini-api/docs/pricing, https://groq.com/pricing, https://mistral.ai/pricing,
# https://cohere.com/pricing, as listed in 2026-11.
PRICES: dict[str, Rates] = {
    "gpt-5": _openai("1.25 10 0.125", flex="0.625 5 0.0625", priority="2.5 20 0.25"),
    "gpt-5-mini": _openai("0.25 2 0.025", flex="0.125 1 0.0125", priority="0.45 3.6 0.045"),
    "gpt-4o": _openai("2.5 10 1.25", priority="4.25 17 2.125"),
    "gpt-4o-mini": _openai("0.15 0.6 0.075", priority="0.25 1 0.125"),
    "gpt-3.5-turbo-instruct": _openai("1.5 2"),
    "text-embedding-3-small": _openai("0.02 0"),
    "gpt-image-1": _openai("5 40 1.25"),
    "dall-e-3": Rates(0, 0, per_picture="0.04"),
    "gpt-4o-transcribe": _openai("2.5 10"),
    "gpt-4o-mini-tts": _openai("0.6 12"),
    "tts-1": _openai("15 0"),  # per million characters
    "claude-sonnet-4-5": Rates("3", "15", "0.3", "3.75", "6", Rates("6", "22.5", "0.6", "7.5", "12")),
    "claude-haiku-4-5": Rates("1", "5", "0.1", "1.25", "2"),
    "gemini-2.5-flash": Rates("0.3", "2.5", "0.03", per_search="0.035", once=True),
    "gemini-2.5-flash-image": Rates("0.3", "2.5", drawn="30"),
    "gemini-3.5-flash": Rates("1.5", "9", "0.15", per_search="0.014"),
    "gemini-2.5-pro": Rates("1.25", "10", "0.125", long_input=Rates("2.5", "15", "0.25")),
    "imagen-4.0-generate-001": Rates(0, 0, per_picture="0.04"),
    "gemini-embedding-001": Rates("0.15", "0"),
    "llama-3.3-70b-versatile": Rates("0.59", "0.79"),
    "openai/gpt-oss-20b": Rates("0.075", "0.3", "0.0375"),
    "mistral-large-latest": Rates("2", "6"),
    "codestral-latest": Rates("0.3", "0.9"),
    "mistral-embed": Rates("0.1", "0"),
    "mistral-ocr-latest": Rates(0, 0, per_unit="0.004", tiers={"annotated": Rates(0, 0, per_unit="0.005")}),
    "command-a-03-2025": Rates("2.5", "10"),
    "command-r7b-12-2024": Rates("0.0375", "0.15"),
    "embed-v4.0": Rates("0.12", "0"),
    "rerank-v3.5": Rates(0, 0, per_unit="0.002"),
    "llama3.2": Rates("0", "0"),  # at home
    # https://aws.amazon.com/bedrock/pricing, 2026-10.
    "us.anthropic.claude-haiku-4-5-20251001-v1:0": Rates("1.1", "5.5", "0.11", "1.375", "2.2"),
    "global.anthropic.claude-haiku-4-5-20251001-v1:0": Rates("1", "5", "0.1", "1.25", "2"),
    "amazon.nova-pro-v1:0": Rates("0.8", "3.2", "0.2"),
    "meta.llama3-3-70b-instruct-v1:0": Rates("0.72", "0.72"),
    "amazon.rerank-v1:0": Rates(0, 0, per_unit="0.001"),
    "amazon.titan-embed-text-v2:0": Rates("0.02", "0"),
    # https://www.together.ai/pricing, https://fireworks.ai/pricing, https://www.cerebras.ai/pricing,
    # https://openrouter.ai/models, https://azure.microsoft.com/pricing/details/phi-3, https://docs.z.ai/guides/overview/pricing,
    # https://huggingface.co/inference/models and https://docs.voyageai.com/docs/pricing, as listed in 2026-11.
    "Qwen/Qwen3.5-9B": Rates("0.17", "0.25"),
    "accounts/fireworks/models/glm-4p7": Rates("0.6", "2.2"),
    "zai-glm-4.7": Rates("2.25", "2.75"),
    "amazon/nova-micro-v1": Rates("0.035", "0.14"),
    "phi-4": Rates("0.125", "0.5"),
    "glm-4.6": Rates("0.6", "2.2", "0.11"),
    "deepseek-ai/DeepSeek-V3.1": Rates("0.6", "1.7"),
    "voyage-3.5": Rates("0.06", "0"),
    # https://docs.perplexity.ai/getting-started/pricing, 2026-11: for each request, by the size of its context.
    "sonar": Rates("1", "1", per_unit="0.005", tiers=_by_context("1", "1", medium="0.008", high="0.012")),
    "search": Rates(0, 0, per_unit="0.005"),
    # https://www.ibm.com/products/watsonx-ai/pricing, https://www.alibabacloud.com/help/en/model-studio/models,
    # https://writer.com/pricing, https://replicate.com/pricing, https://docs.voyageai.com/docs/pricing and
    # https://elevenlabs.io/pricing/api (per million characters), 2026-11; a second of a machine at Hugging Face.
    "ibm/granite-3-3-8b-instruct": Rates("0.2", "0.2"),
    "ibm/slate-125m-english-rtrvr-v2": Rates("0.1", "0"),
    "qwen-plus": Rates("0.4", "1.2"),
    "text-embedding-v4": Rates("0.07", "0"),
    "palmyra-x5": Rates("0.6", "6"),
    "meta/meta-llama-3-70b-instruct": Rates("0.65", "2.75"),
    "rerank-2.5": Rates("0.05", "0"),
    "voyage-multimodal-3.5": Rates("0.12", "0"),
    "eleven_multilingual_v2": Rates("100", "0"),
    "intfloat/multilingual-e5-large": Rates(0, 0, per_unit="0.00012"),
}
DEFAULT_PRICE = Rates("2", "8")  # an unknown model is not a free one

# The most that a model writes in one answer, from the model pages of the same two sites.
MAX_OUTPUT_TOKENS: dict[str, int] = {
    "gpt-5": 128_000,
    "gpt-5-mini": 128_000,
    "gpt-4o": 16_384,
    "gpt-4o-mini": 16_384,
    "gpt-3.5-turbo-instruct": 4_096,
    "claude-sonnet-4-5": 64_000,
    "claude-haiku-4-5": 64_000,
    "gemini-2.5-flash": 65_536,
    "gemini-2.5-pro": 65_536,
    "command-a-03-2025": 8_000,
    "command-r7b-12-2024": 4_096,
    "us.anthropic.claude-haiku-4-5-20251001-v1:0": 64_000,
    "global.anthropic.claude-haiku-4-5-20251001-v1:0": 64_000,
    "amazon.nova-pro-v1:0": 10_000,
    "meta.llama3-3-70b-instruct-v1:0": 4_096,
}
DEFAULT_MAX_OUTPUT_TOKENS = 16_384

_DATED = re.compile(r"-(latest|\d{8}|\d{4}-\d{2}-\d{2})\Z")


def base_model(model: str) -> str:
    """Return a model's name without a date: gpt-5 for gpt-5-2025-08-07."""
    return _DATED.sub("", model)


class Tariff:
    """What each model costs and how much it may write.

    Args:
        prices: Prices which win over, or add to, `PRICES`.
        default_price: The price of every other model.
        max_output_tokens: Largest outputs which win over, or add to, `MAX_OUTPUT_TOKENS`.
    """

    def __init__(
        self,
        prices: Prices | None = None,
        default_price: Rates | Sequence[Amount] = DEFAULT_PRICE,
        max_output_tokens: Mapping[str, int] | None = None,
    ) -> None:
        self._prices = PRICES | {model: _rates(price) for model, price in (prices or {}).items()}
        self._default = _rates(default_price)
        self._maxima = MAX_OUTPUT_TOKENS | dict(max_output_tokens or {})

    def nano_usd(self, model: str, counts: Counts, tier: str | None = None) -> int:
        """Return what a call to `model` costs in nano-USD, rounded up once."""
        rates = self._prices.get(model) or self._prices.get(base_model(model), self._default)
        return rates.nano_usd(counts, tier)

    def max_output_tokens(self, model: str) -> int:
        """Return the most tokens that `model` writes in one answer."""
        return self._maxima.get(model) or self._maxima.get(base_model(model), DEFAULT_MAX_OUTPUT_TOKENS)


class Billed(msgspec.Struct, kw_only=True):
    """One call that the provider charges for.

    Attributes:
        id: The answer's id on the wire.
        api: chat, completions, responses, embeddings, embeddings.multimodal, images, speech, transcription, messages,
            gemini, gemini.embeddings, interactions, decisions, fim, agents, conversations, ocr, cohere.chat,
            cohere.generate, cohere.embed, cohere.rerank, ollama.chat, ollama.generate, ollama.embed, converse,
            invoke, rerank, generation, search, predictions or features.
        model: The model that answered.
        usage: The tokens billed.
        nano_usd: What it costs, in 1e-9 USD.
        stream: Whether the answer was streamed.
        reported: Whether the true usage was written to the client's socket completely. A client may leave
            without reading what the kernel has buffered for it: `Reply(gate_after=...)` makes that certain.
        delivered: Whether the whole answer was written to the client's socket.
        body: The request's body.
    """

    id: str
    api: str
    model: str
    usage: Counts
    nano_usd: int
    stream: bool = False
    reported: bool = False
    delivered: bool = False
    body: dict[str, Any] = {}


class Bill:
    """Every `Billed` call so far. Thread-safe.

    Args:
        path: A file that gets each call as a line of JSON, when it is billed; what happens to the answer afterwards
            (`reported`, `delivered`) is not in it.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self._lock = threading.Lock()
        self._calls: list[Billed] = []
        self._file = None if path is None else _open_for_me(path)

    def add(self, billed: Billed) -> None:
        """Book a call, in the file too, before its answer is sent.

        Args:
            billed: What it was, and what it costs.
        """
        with self._lock:
            self._calls.append(billed)
            if self._file is not None:
                # One unbuffered write: the line is there even if the process is killed now.
                self._file.write(msgspec.json.encode(billed) + b"\n")

    def calls(self) -> list[Billed]:
        """Return all calls, oldest first."""
        with self._lock:
            return list(self._calls)

    def clear(self) -> None:
        """Forget all calls; the file keeps its lines."""
        with self._lock:
            self._calls.clear()

    def close(self) -> None:
        """Close the file, if there is one."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None


def _open_for_me(path: str | Path) -> FileIO:
    """Open a file to add to, which nobody else may read if it is made."""
    return FileIO(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def read_bill(path: str | Path) -> list[Billed]:
    """Return the calls in the file of a `Bill`, oldest first.

    Args:
        path: Of the file that a provider was given for its bill.
    """
    return [msgspec.json.decode(line, type=Billed) for line in Path(path).read_bytes().splitlines()]
