"""Anthropic's messages: cached input is counted apart, and further attempts and compactions are listed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from budgeted.pricing.model_price import ANYWHERE
from budgeted.pricing.usage import COUNTS, Counts, Usage
from budgeted.wire.sdk_object_fields import Fields, fields_of
from budgeted.wire.usage_report_formats.openai_chat_completions import served
from budgeted.wire.usage_report_formats.unread_numbers import MOST_TOKENS, Known, count, names, text, unread

_SPLIT: Final = names("ephemeral_5m_input_tokens ephemeral_1h_input_tokens")
_COUNTED: Final = names("input_tokens output_tokens cache_read_input_tokens cache_creation_input_tokens cache_creation")
_PLAIN_NAMES: Final = _COUNTED | names("service_tier speed inference_geo server_tool_use output_tokens_details")
KNOWN: Final[Known] = {
    "": _PLAIN_NAMES | names("iterations total_tokens cached_tokens"),
    "cache_creation": _SPLIT,
    # Fetches and searches for tools cost nothing but their tokens.
    "server_tool_use": names("web_search_requests web_fetch_requests tool_search_requests code_execution_requests"),
    "output_tokens_details": names("thinking_tokens"),
    "iterations": _COUNTED | names("type model output_tokens_details server_tool_use service_tier speed inference_geo"),
    "iterations.cache_creation": _SPLIT,
}
"""What is read here, and sums and parts that are billed as what they are parts of."""

_DATED: Final = re.compile(r"[-@]\d{8}|-latest|-0")


def is_messages(fields: Fields) -> bool:
    """Whether a report that has ``input_tokens`` is one of Anthropic's."""
    return (
        "cache_read_input_tokens" in fields
        or "cache_creation_input_tokens" in fields
        or "server_tool_use" in fields
        or "iterations" in fields
        or "inference_geo" in fields
    )


def messages_usage(fields: Fields, tier: str | None) -> Counts | None:
    """Read a report for which `is_messages` holds."""
    if (
        _PLAIN_NAMES.issuperset(fields)
        and not fields.get("server_tool_use")
        and not fields.get("output_tokens_details")
        and fields.get("inference_geo") in _NOWHERE
        and fields.get("speed") in _USUAL
    ):
        found = _plain_usage(fields, tier)
        if found is not None:
            return found
    return _usage(fields, tier)


_NOWHERE: Final = (None, *ANYWHERE)
_USUAL: Final = (None, "standard")


def _plain_usage(fields: Fields, tier: str | None) -> Counts | None:
    """Most answers: checked here, and so without the checks of Usage. None if they are not that plain."""
    sent, output = fields["input_tokens"], fields.get("output_tokens")
    read, written = fields.get("cache_read_input_tokens"), fields.get("cache_creation_input_tokens")
    read, written, for_an_hour = read or 0, written or 0, 0
    split = fields.get("cache_creation")
    if split is not None:
        split = fields_of(split)
        if not _SPLIT.issuperset(split):
            return None
        for_an_hour = split.get("ephemeral_1h_input_tokens") or 0
    if not (
        sent.__class__ is output.__class__ is read.__class__ is written.__class__ is for_an_hour.__class__ is int
        and 0 <= for_an_hour <= written
        and sent >= 0 <= read
        and sent + read + written <= MOST_TOKENS
        and 0 <= output <= MOST_TOKENS
    ):
        return None
    served_by = fields.get("service_tier") or tier
    if served_by is not None and served_by.__class__ is not str:
        return None
    return Counts(sent + read + written, output, read, written, for_an_hour, service_tier=served_by)


def _usage(fields: Fields, tier: str | None) -> Usage | None:
    used = _counted(fields, tier, unread(fields, KNOWN))
    iterations = fields.get("iterations")
    return used if used is None or not iterations else _with_compactions(used, iterations)


def _counted(fields: Fields, tier: str | None, strangers: tuple[str, ...] = ()) -> Usage | None:
    read, written = count(fields, "cache_read_input_tokens"), count(fields, "cache_creation_input_tokens")
    sent, output = count(fields, "input_tokens") + read + written, count(fields, "output_tokens")
    if sent > MOST_TOKENS:
        return None
    split = fields_of(fields.get("cache_creation"))
    tools = fields_of(fields.get("server_tool_use"))
    sessions = count(tools, "code_execution_requests")
    thought = count(fields_of(fields.get("output_tokens_details")), "thinking_tokens")
    return Usage(
        sent,
        output,
        read,
        written,
        count(split, "ephemeral_1h_input_tokens"),
        min(thought, output),
        web_searches=count(tools, "web_search_requests"),
        service_tier=served(fields, tier),
        fees=(("code_session", sessions),) if sessions else (),
        region=text(fields, "inference_geo") or "",
        unread=strangers,
    )


def _with_compactions(used: Usage, iterations: Iterable[object]) -> Usage:
    """What Anthropic bills with the compactions of the context, which are in none of the totals.

    https://platform.claude.com/docs/en/build-with-claude/compaction
    """
    for each in iterations:
        iteration = fields_of(each)
        more = _counted(iteration, None) if iteration.get("type") == "compaction" else None
        if more is not None:
            counts = {name: getattr(used, name) + getattr(more, name) for name in COUNTS}
            used = msgspec.structs.replace(used, **counts)
    return used


def attempts(report: Fields, model: str, used: Counts) -> tuple[tuple[str, Counts], ...]:
    """What other models than the one that answered have written, each of which is billed at its own price.

    The totals are those of the model that answered. An attempt that was declined before it wrote anything is not
    billed; an advisor is, whatever it says
    (https://platform.claude.com/docs/en/build-with-claude/refusals-and-fallbacks).

    Args:
        report: the usage report.
        model: the model that answered.
        used: what the report says of it, with the tier and the region that hold for all.
    """
    found = []
    iterations = report.get("iterations")
    for each in iterations if isinstance(iterations, (list, tuple)) else ():
        iteration = fields_of(each)
        other = text(iteration, "model")
        kind = iteration.get("type")
        if other is None or kind not in ("message", "advisor_message"):
            continue
        if kind == "message" and (not iteration.get("output_tokens") or _is_same(other, model)):
            continue
        more = _counted(iteration, used.service_tier)
        if more is not None:
            found.append((other, msgspec.structs.replace(more, region=more.region or used.region)))
    return tuple(found)


def _is_same(one: str, other: str) -> bool:
    """Whether two names are of one model: the same, or one of them with its date."""
    short, long = sorted((one, other), key=len)
    return long.startswith(short) and (long == short or _DATED.fullmatch(long, len(short)) is not None)
