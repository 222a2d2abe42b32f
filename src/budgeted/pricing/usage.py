"""What one call used, in the form that every provider's report is brought into."""

from __future__ import annotations

from typing import Final

import msgspec

from budgeted.validation import shown

_MOST: Final = 10**12  # more than this in one call is a mistake of whoever counted

# Which counts are parts of which other one. Parts on one line do not overlap.
_PARTS: Final = (
    ("input_tokens", ("cached_input_tokens", "cache_write_tokens")),
    ("input_tokens", ("input_audio_tokens", "input_image_tokens")),
    ("output_tokens", ("output_audio_tokens", "output_image_tokens")),
    ("output_tokens", ("reasoning_tokens",)),
    ("cache_write_tokens", ("cache_write_1h_tokens",)),
    ("cached_input_tokens", ("cached_audio_tokens",)),
    ("input_audio_tokens", ("cached_audio_tokens",)),
)


class Counts(msgspec.Struct, frozen=True, gc=False, eq=False):
    """What a provider's report says, checked by who read it. See :class:`Usage` for what it counts."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    cached_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_image_tokens: int = 0
    web_searches: int = 0
    service_tier: str | None = None
    audio_ms: int = 0
    fees: tuple[tuple[str, int], ...] = ()
    region: str = ""
    unread: tuple[str, ...] = ()

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __eq__(self, other: object) -> bool:
        """Compare what was counted, by whomever."""
        if not isinstance(other, Counts):
            return NotImplemented
        return msgspec.structs.astuple(self) == msgspec.structs.astuple(other)

    def __hash__(self) -> int:
        return hash(msgspec.structs.astuple(self))


class Usage(Counts, frozen=True, gc=False, eq=False):
    """Tokens and other billed units of one call. Totals include their subsets.

    Args:
        input_tokens: all tokens sent, with those read from and written to a cache, audio and images.
        output_tokens: all tokens received, with reasoning, audio and images.
        cached_input_tokens: those of the input that were read from a cache.
        cache_write_tokens: those of the input that were written to a cache, whatever its lifetime.
        cache_write_1h_tokens: those of ``cache_write_tokens`` written to be kept for an hour (Anthropic).
        reasoning_tokens: those of the output that were spent thinking.
        input_audio_tokens: those of the input that were audio.
        cached_audio_tokens: those that were both audio and read from a cache.
        output_audio_tokens: those of the output that were audio.
        input_image_tokens: those of the input that were images.
        output_image_tokens: those of the output that were images.
        web_searches: searches made by the provider and billed each.
        service_tier: the tier that served the call, as the provider named it, or None.
        audio_ms: milliseconds of sound that are billed by time, beside the tokens.
        fees: further units that are billed each, by what they are: ``(("maps", 1), ("file_search", 2))``.
        region: where the call was served, as the provider named it, where that has a price of its own; "" else.
        unread: what the provider's report says besides and nobody here can price: such a charge is uncertain.

    Raises:
        TypeError: a count is not an int, or the tier not a str.
        ValueError: a count is negative or absurd, or parts are larger than their total.

    Example:
        >>> Usage(1200, 300, cached_input_tokens=1000).total_tokens
        1500
    """

    def __post_init__(self) -> None:
        # Most calls make one of these, and nearly all of them pass here. Identity with 0 is a shortcut: where
        # an interpreter does not share small ints, the long way round gives the same answer.
        cached, written, reasoning = self.cached_input_tokens, self.cache_write_tokens, self.reasoning_tokens
        if not (
            type(self.input_tokens) is type(self.output_tokens) is type(cached) is type(written) is int
            and type(reasoning) is type(self.cache_write_1h_tokens) is int
            and cached >= 0 <= self.cache_write_1h_tokens <= written
            and cached + written <= self.input_tokens <= _MOST
            and 0 <= reasoning <= self.output_tokens <= _MOST
            and self.input_audio_tokens is self.cached_audio_tokens is self.output_audio_tokens is _NONE
            and self.input_image_tokens is self.output_image_tokens is self.web_searches is self.audio_ms is _NONE
            and not (self.fees or self.unread or self.region)
            and (self.service_tier is None or type(self.service_tier) is str)
        ):
            _check(self)


_NONE: Final = 0
OTHERS: Final = ("service_tier", "fees", "region", "unread")
"""The names of what is not a count."""
COUNTS: Final = tuple(name for name in Usage.__struct_fields__ if name not in OTHERS)
"""The names of the counts, which are numbers."""


def _check(usage: Usage) -> None:
    for name in COUNTS:
        count = getattr(usage, name)
        if not isinstance(count, int) or isinstance(count, bool):
            raise TypeError(f"{name} must be an int, got {shown(count)}")
        if not 0 <= count <= _MOST:
            raise ValueError(f"{name} must be from 0 to {_MOST:,}, got {shown(count)}")
    for total, parts in _PARTS:
        if sum(getattr(usage, part) for part in parts) > getattr(usage, total):
            named = " and ".join(f"{part}={getattr(usage, part)}" for part in parts)
            raise ValueError(
                f"{total}={getattr(usage, total)} must include its parts, got {named}: "
                f"add them to {total} if the provider counts them apart"
            )
    _check_others(usage)


def _check_others(usage: Usage) -> None:
    fees: object = usage.fees
    if not isinstance(fees, tuple) or not all(isinstance(pair, tuple) and len(pair) == _PAIR for pair in fees):
        raise TypeError(f"fees must be pairs such as (('maps', 1),), got {shown(fees)}")
    for name, units in fees:
        if not isinstance(name, str) or isinstance(units, bool) or not isinstance(units, int):
            raise TypeError(f"fees must be pairs such as (('maps', 1),), got {shown(fees)}")
        if not 0 <= units <= _MOST:
            raise ValueError(f"{name} of fees must be from 0 to {_MOST:,}, got {shown(units)}")
    unread: object = usage.unread
    if not isinstance(unread, tuple) or not all(isinstance(name, str) for name in unread):
        raise TypeError(f"unread must be names such as ('citation_tokens',), got {shown(unread)}")
    for field in ("region", "service_tier"):
        text = getattr(usage, field)
        if not isinstance(text, str) and (field == "region" or text is not None):
            raise TypeError(f"{field} must be a str{' or None' if field == 'service_tier' else ''}, got {shown(text)}")


_PAIR: Final = 2
