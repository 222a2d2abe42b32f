"""Reading what a response says it used, whatever object it comes as.

SDK objects, mappings, raw JSON and HTTP responses are all read the same way. What their reports of usage mean is in
:mod:`budgeted.wire.usage_report_formats`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from budgeted.money import NANO, nano_usd
from budgeted.pricing.usage import Counts
from budgeted.wire.sdk_object_fields import Fields, fields_of, json_of
from budgeted.wire.usage_report_formats.amazon_bedrock import guardrail_units
from budgeted.wire.usage_report_formats.anthropic_messages import attempts, is_messages
from budgeted.wire.usage_report_formats.google_gemini import Grounding
from budgeted.wire.usage_report_formats.openai_chat_completions import plain_usage
from budgeted.wire.usage_report_formats.openai_responses import picture_tokens, picture_tool, searches, tool_fees
from budgeted.wire.usage_report_formats.report_detection import read_fields, read_usage, report_in
from budgeted.wire.usage_report_formats.unread_numbers import milliseconds, text

_TICKS_PER_NANO: Final = 10**10 // NANO


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a response says of itself.

    Args:
        usage: what the model that answered has used; None if the response does not say, or not sensibly.
        model: the model that answered.
        id: the response's own.
        report: the provider's own report, from which the usage was read.
        attempts: further models that wrote something in this call, each of which is billed beside ``usage``.
        error: True if this is an error that was told with a status of success, and nothing of it is billed.
        cost: what the provider says that all of the call cost, in nano-USD; None if it does not say.
    """

    usage: Counts | None
    model: str | None = None
    id: str | None = None
    report: object = None
    attempts: tuple[tuple[str, Counts], ...] = ()
    error: bool = False
    cost: int | None = None


NOTHING = Answer(None)


def read(response: object) -> Answer:
    """Read a response: an SDK's object, a mapping, JSON text, or an HTTP response with a JSON body."""
    try:
        fields = fields_of(response)
        report = fields.get("usage")
        # Every call comes by here, so what nearly all of them say is asked first, by identity of classes.
        if report is not None and "output" not in fields and "container" not in fields:
            model, id, tier = fields.get("model"), fields.get("id"), fields.get("service_tier")
            if model.__class__ is str and (tier is None or tier.__class__ is str):
                usage = plain_usage(fields_of(report), tier, model)
                if usage is not None:
                    return Answer(usage, model or None, id if id.__class__ is str and id else None, report)
        return _read_more(response, fields, report)
    except Exception:  # noqa: BLE001 - a stranger's attributes may raise anything, and what was paid for is returned
        return NOTHING


def _read_more(response: object, fields: Fields, report: object) -> Answer:
    """Read a response that says more than its model, its id and the plainest report, or says it elsewhere."""
    if report is None:
        report = report_in(fields)
        if report is None and "usage" not in fields:
            inner = _inner(response, fields)
            if inner is None:
                return _without_report(fields)
            fields = fields_of(inner)
            report = report_in(fields)
        if report is None:
            return _without_report(fields)
        if "candidates" in fields or "usageMetadata" in fields:
            return _gemini_answer(fields, report)
    model, id = fields.get("model"), fields.get("id")
    answer = answer_of(
        report,
        fields.get("service_tier"),
        model if model.__class__ is str and model else None,
        id if id.__class__ is str and id else None,
    )
    # Read as Counts if it is plain; what else there may be comes with a report that says more.
    if answer.usage.__class__ is not Counts or "output" in fields or fields.get("container") is not None:
        return with_tools(answer, fields)
    return answer


def answer_of(report: object, tier: object, model: str | None, id: str | None) -> Answer:
    """What a usage report says, of an answer of this tier, model and id."""
    served = tier if tier.__class__ is str else None
    fields = fields_of(report) if report.__class__ is not Counts else {}
    found = read_fields(fields, served, model or "") if fields else read_usage(report)
    if found is None or found.__class__ is Counts:
        return Answer(found, model, id, report)
    others = attempts(fields, model or "", found) if "iterations" in fields else ()
    return Answer(found, model, id, report, others, cost=_stated(fields))


def with_tools(answer: Answer, fields: Fields) -> Answer:
    """An answer with what its body tells beside its usage report: tools that are billed each, and pictures."""
    usage = answer.usage
    try:
        if usage is None:
            return msgspec.structs.replace(answer, error=told_as_error(fields))
        report = fields_of(answer.report)
        if picture_tokens(fields, report):
            usage = msgspec.structs.replace(usage, output_image_tokens=usage.output_tokens)
        units: dict[str, int] = {}
        if "output" in fields:
            usage = msgspec.structs.replace(usage, web_searches=usage.web_searches or searches(fields))
            units = tool_fees(fields)
        if "trace" in fields or "amazon-bedrock-trace" in fields:
            units["guardrail"] = guardrail_units(fields)
        if fields.get("container") is not None and is_messages(report) and not _searched(report):
            units["code_session"] = 1
        usage = with_units(usage, units)
        return _with_pictures(msgspec.structs.replace(answer, usage=usage, error=_is_insured(fields, usage)), fields)
    except Exception:  # noqa: BLE001 - as in read()
        return answer


def with_units(usage: Counts, units: dict[str, int]) -> Counts:
    """A usage with further units that are billed each; of those that it has, the larger number holds."""
    fees = dict(usage.fees)
    for name, number in units.items():
        if number > fees.get(name, 0):
            fees[name] = number
    return usage if len(fees) == len(usage.fees) == 0 else msgspec.structs.replace(usage, fees=tuple(fees.items()))


def _with_pictures(answer: Answer, fields: Fields) -> Answer:
    """An answer with the pictures that a tool has drawn: billed at a model of its own, or not known at what."""
    drawn = picture_tool(fields)
    if drawn is None or answer.usage is None:
        return answer
    model, used = drawn
    if used is not None:
        return msgspec.structs.replace(answer, attempts=(*answer.attempts, (model, used)))
    names = (*answer.usage.unread, "image_generation_call")
    return msgspec.structs.replace(answer, usage=msgspec.structs.replace(answer.usage, unread=names))


def _searched(report: Fields) -> bool:
    """Whether a message used the web: code that runs beside that is free.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/code-execution-tool
    """
    tools = fields_of(report.get("server_tool_use"))
    return bool(tools.get("web_search_requests") or tools.get("web_fetch_requests"))


def _without_report(fields: Fields) -> Answer:
    """An answer that has no usage report: an error, or a transcript that tells how long its sound is."""
    if not fields:
        return NOTHING
    model, id = text(fields, "model"), text(fields, "id")
    usage = None
    if "duration" in fields and "text" in fields and ("segments" in fields or "task" in fields):
        try:
            usage = Counts(audio_ms=milliseconds(fields, "duration"))
        except ValueError:
            usage = None
    return Answer(usage, model, id, error=usage is None and told_as_error(fields))


_WRITTEN: Final = ("choices", "content", "output", "candidates", "message", "text")
"""Where answers have what was written."""


def told_as_error(fields: Fields) -> bool:
    """Whether a body without a usage report is an error, and nothing else."""
    kind = fields.get("type") or fields.get("object")
    if not fields.get("error") and kind != "error":
        return any(_failed(choice) for choice in _choices(fields))
    written = [name for name in _WRITTEN if fields.get(name) and (name != "message" or kind != "error")]
    return not written or (written == ["choices"] and all(_failed(choice) for choice in _choices(fields)))


def _choices(fields: Fields) -> list[Fields]:
    choices = fields.get("choices")
    return [fields_of(choice) for choice in choices] if isinstance(choices, (list, tuple)) else []


def _failed(choice: Fields) -> bool:
    """Whether a choice is an error instead of an answer, as OpenRouter tells them."""
    said = fields_of(choice.get("message") or choice.get("delta"))
    return bool(choice.get("error") or choice.get("finish_reason") == "error") and not said.get("content")


def _is_insured(fields: Fields, usage: Counts) -> bool:
    """Whether an answer of OpenRouter's has nothing in it: an error, or no completion, is not billed.

    https://openrouter.ai/docs/features/zero-completion-insurance
    """
    if usage.output_tokens or not text(fields, "provider") or not (text(fields, "id") or "").startswith("gen-"):
        return False
    choices = _choices(fields)
    return bool(choices) and all(_failed(one) or not one.get("finish_reason") for one in choices)


def _stated(fields: Fields) -> int | None:
    """What a provider's report says that the call cost, in nano-USD; None if it does not say, or not sensibly.

    OpenRouter reports ``cost`` in USD (https://openrouter.ai/docs/use-cases/usage-accounting). With a key of the
    caller's own, that is only its fee, and what the provider behind it bills is told apart. Perplexity reports what
    the cost is made of, and its sum (https://docs.perplexity.ai/docs/getting-started/pricing). xAI reports ticks, of
    which 10**10 are a USD (https://docs.x.ai/docs/key-information/consumption-and-rate-limits).
    """
    ticks = fields.get("cost_in_usd_ticks")
    if ticks.__class__ is int and 0 <= ticks <= 10**18:
        return -(-ticks // _TICKS_PER_NANO)
    cost = fields.get("cost")
    if cost is None:
        return None
    parts = fields_of(cost)
    try:
        if "total_cost" in parts:
            return nano_usd(parts["total_cost"], "cost")
        stated = nano_usd(cost, "cost")
        if fields.get("is_byok") or (not stated and fields.get("is_byok") is None):
            own = fields_of(fields.get("cost_details")).get("upstream_inference_cost") or 0
            return stated + nano_usd(own, "cost") or None
        return stated
    except (TypeError, ValueError):
        return None


def _gemini_answer(fields: Fields, report: object) -> Answer:
    """Google's response, whose names are its own, and which tells of its searches apart from its usage."""
    model = text(fields, "modelVersion") or text(fields, "model_version")
    id = text(fields, "responseId") or text(fields, "response_id")
    usage = read_usage(report, text(fields, "serviceTier") or text(fields, "service_tier"), model or "")
    if usage is not None:
        grounding = Grounding()
        grounding.add(fields)
        usage = grounded(usage, grounding, model)
    return Answer(usage, model, id, report)


def grounded(usage: Counts, grounding: Grounding, model: str | None) -> Counts:
    """A usage of Gemini's with what grounded the answer."""
    searched = max(usage.web_searches, grounding.searches(str(model)))
    if searched:
        usage = msgspec.structs.replace(usage, web_searches=searched)
    return with_units(usage, {"maps": grounding.maps})


def _inner(response: object, fields: Fields) -> object:
    """What a wrapper has inside: a completed event's response, an HTTP response's body, JSON text."""
    if response is None or response.__class__ in (int, float, bool, list, tuple):
        return None
    if "response" in fields and "type" in fields:
        return fields["response"]
    body = body_of(response)
    return json_of(body) if body is not None and body.lstrip()[:1] == b"{" else None


def body_of(response: object) -> bytes | None:
    """The body of an HTTP response that was read, or of what is a body itself; None if it has none."""
    if not isinstance(response, (str, bytes, bytearray)):
        raw = getattr(response, "http_response", None)
        response = getattr(response if raw is None else raw, "content", None)
    if isinstance(response, str):
        return response.encode("utf-8", "replace")
    return bytes(response) if isinstance(response, (bytes, bytearray)) else None
