"""OpenAI's responses, pictures and transcripts, and the calls of its tools that are billed each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from budgeted.pricing.usage import Counts, Usage
from budgeted.wire.sdk_object_fields import Fields, fields_of
from budgeted.wire.usage_report_formats.openai_chat_completions import IN_THE_INPUT, IN_THE_OUTPUT, only, served
from budgeted.wire.usage_report_formats.unread_numbers import (
    MOST_TOKENS,
    Known,
    count,
    milliseconds,
    names,
    unread,
)

_MODALITIES: Final = names("audio_tokens image_tokens text_tokens")
_INPUT: Final = _MODALITIES | names("cached_tokens cached_tokens_details cache_write_tokens cache_write_tokens_details")
_OUTPUT: Final = _MODALITIES | names("reasoning_tokens")
_WRITTEN: Final = names("ttl_30m_tokens")
"""What is kept for longer has no published price of its own, and is not known here."""

_TOOLS: Final = {
    "web_search_calls": "web_search",
    "x_search_calls": "web_search",
    "file_search_calls": "file_search",
    "document_search_calls": "file_search",
    "code_interpreter_calls": "code_session",
}
"""xAI's, as it names them and as what is billed (https://docs.x.ai/docs/guides/tools/overview)."""

KNOWN: Final[Known] = {
    "": names(
        "input_tokens output_tokens total_tokens webSearches service_tier type seconds",
        "input_tokens_details input_token_details output_tokens_details output_token_details",
        "cost cost_details is_byok cost_in_usd_ticks num_sources_used num_server_side_tools_used",
        "server_side_tool_usage_details",
    ),
    **dict.fromkeys(("input_tokens_details", "input_token_details"), _INPUT),
    **dict.fromkeys(
        ("input_tokens_details.cached_tokens_details", "input_token_details.cached_tokens_details"), _MODALITIES
    ),
    **dict.fromkeys(
        ("input_tokens_details.cache_write_tokens_details", "input_token_details.cache_write_tokens_details"), _WRITTEN
    ),
    **dict.fromkeys(("output_tokens_details", "output_token_details"), _OUTPUT),
    "server_side_tool_usage_details": frozenset((*_TOOLS, "mcp_calls", "view_image_calls", "view_x_video_calls")),
}
"""What is read here, and sums and parts that are billed as what they are parts of."""

_PLAIN_NAMES: Final = names("input_tokens output_tokens total_tokens input_tokens_details output_tokens_details")


def _plain_usage(fields: Fields, tier: str | None) -> Counts | None:
    """Most answers: checked here, and so without the checks of Usage. None if they are not that plain."""
    sent, output = fields["input_tokens"], fields.get("output_tokens")
    if fields.get("output_tokens_details") is None:
        return None  # what is drawn may come without
    if not (sent.__class__ is output.__class__ is int and 0 <= sent <= MOST_TOKENS and 0 <= output <= MOST_TOKENS):
        return None
    cached = only(fields_of(fields.get("input_tokens_details")), "cached_tokens", IN_THE_INPUT)
    thought = only(fields_of(fields.get("output_tokens_details")), "reasoning_tokens", IN_THE_OUTPUT)
    if not (0 <= cached <= sent and 0 <= thought <= output):
        return None
    return Counts(sent, output, cached, reasoning_tokens=thought, service_tier=tier)


def responses_usage(fields: Fields, tier: str | None) -> Counts | None:
    """Read a report that has ``input_tokens``, and whose totals include their subsets."""
    if fields["input_tokens"] is None:
        return None
    if _PLAIN_NAMES.issuperset(fields):
        plain = _plain_usage(fields, tier)
        if plain is not None:
            return plain
    sent, output = count(fields, "input_tokens"), count(fields, "output_tokens")
    ins = fields_of(fields.get("input_tokens_details") or fields.get("input_token_details"))
    outs = fields_of(fields.get("output_tokens_details") or fields.get("output_token_details"))
    audio = count(ins, "audio_tokens")
    cached_audio = count(fields_of(ins.get("cached_tokens_details")), "audio_tokens")
    tools = fields_of(fields.get("server_side_tool_usage_details"))
    fees: dict[str, int] = {}
    for name, fee in _TOOLS.items():
        fees[fee] = fees.get(fee, 0) + count(tools, name)
    searches = fees.pop("web_search") or count(fields, "webSearches")
    fees["live_search"] = count(fields, "num_sources_used")
    return Usage(
        sent,
        output,
        count(ins, "cached_tokens"),
        count(ins, "cache_write_tokens"),
        reasoning_tokens=min(count(outs, "reasoning_tokens"), output),
        input_audio_tokens=audio,
        cached_audio_tokens=min(cached_audio, audio),
        output_audio_tokens=count(outs, "audio_tokens"),
        input_image_tokens=count(ins, "image_tokens"),
        output_image_tokens=count(outs, "image_tokens"),
        web_searches=searches,
        service_tier=served(fields, tier),
        fees=tuple((name, units) for name, units in fees.items() if units),
        unread=unread(fields, KNOWN),
    )


def duration_usage(fields: Fields, tier: str | None) -> Usage | None:
    """Read the report of a transcript that is billed by its length."""
    if fields.get("type") != "duration":
        return None
    return Usage(
        audio_ms=milliseconds(fields, "seconds"), service_tier=served(fields, tier), unread=unread(fields, KNOWN)
    )


def picture_tokens(fields: Fields, report: Fields) -> bool:
    """Whether all the output of an answer is pictures, though its report does not say so."""
    return (
        ("data" in fields or "b64_json" in fields)
        and "input_tokens" in report
        and not report.get("output_tokens_details")
        and fields.get("output_format") != "svg"
    )


def searches(fields: Fields) -> int:
    """How many searches an answer counts as billed, or its items tell of. Pages that were opened are not billed."""
    told = fields.get("tool_usage")
    billed = None if told is None else fields_of(fields_of(told).get("web_search")).get("num_requests")
    if billed.__class__ is int and 0 <= billed <= MOST_TOKENS:
        return billed
    return sum(
        fields_of(item.get("action")).get("type", "search") == "search" for item in _items(fields, "web_search_call")
    )


def tool_fees(fields: Fields) -> dict[str, int]:
    """What an answer's items tell of that is billed each: calls of a file search, and containers that ran code."""
    containers = {str(item.get("container_id")) for item in _items(fields, "code_interpreter_call")}
    return {"file_search": sum(1 for _ in _items(fields, "file_search_call")), "code_session": len(containers)}


def picture_tool(fields: Fields) -> tuple[str, Counts | None] | None:
    """The model that drew pictures for an answer, "" if it is not told, and what it used, beside the answer's usage.

    https://developers.openai.com/api/docs/guides/tools-image-generation
    """
    told = fields_of(fields_of(fields.get("tool_usage")).get("image_gen"))
    drawn = any(told.get(name) for name in ("input_tokens", "output_tokens"))
    if not drawn and next(_items(fields, "image_generation_call"), None) is None:
        return None
    tools = fields.get("tools")
    for each in tools if isinstance(tools, (list, tuple)) else ():
        tool = fields_of(each)
        if drawn and tool.get("type") == "image_generation" and isinstance(tool.get("model"), str):
            return tool["model"], responses_usage(told, None)
    return "", None


def _items(fields: Fields, kind: str) -> Iterator[Fields]:
    output = fields.get("output")
    for each in output if isinstance(output, (list, tuple)) else ():
        item = fields_of(each)
        if item.get("type") == kind:
            yield item
