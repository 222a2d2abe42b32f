"""Reading what a response says it used, whatever object it comes as.

SDK objects, mappings, raw JSON and HTTP responses are all read the same way. What their reports of usage mean is in
:mod:`budgeted.wire.usage_report_formats`.
"""

from __future__ import annotations

import msgspec

from budgeted.money import nano_usd
from budgeted.pricing.usage import Counts
from budgeted.wire.sdk_object_fields import Fields, fields_of, json_of
from budgeted.wire.usage_report_formats import gemini_searches, read_usage, report_in, with_searches


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a response says of itself. ``usage`` is None if it does not say, or not sensibly.

    ``report`` is the provider's own report, from which the usage was read.
    """

    usage: Counts | None
    model: str | None = None
    id: str | None = None
    report: object = None


NOTHING = Answer(None)


def read(response: object) -> Answer:
    """Read a response: an SDK's object, a mapping, JSON text, or an HTTP response with a JSON body."""
    try:
        fields = fields_of(response)
        usage = fields.get("usage")
        if usage is None and "usage" not in fields:
            usage = report_in(fields)
            if usage is None:
                inner = _inner(response, fields)
                if inner is None:
                    return NOTHING
                fields = fields_of(inner)
                usage = report_in(fields)
            if "candidates" in fields or "usageMetadata" in fields:
                return _gemini_answer(fields, usage)
    except Exception:  # noqa: BLE001 - a stranger's attributes may raise anything, and what was paid for is returned
        return NOTHING
    # Identity of classes, not isinstance(): every call comes by here.
    tier = fields.get("service_tier")
    found = read_usage(usage, tier if tier.__class__ is str else None)
    if "output" in fields and found is not None:
        found = with_searches(found, fields)
    model = fields.get("model")
    id = fields.get("id")
    return Answer(
        found,
        model if model.__class__ is str and model else None,
        id if id.__class__ is str and id else None,
        usage,
    )


def stated_cost(report: object) -> int | None:
    """What a provider's report says that the call cost, in nano-USD; None if it does not say, or not sensibly.

    OpenRouter reports ``cost`` in USD (https://openrouter.ai/docs/use-cases/usage-accounting). With a key of the
    caller's own, that is only its fee, and what the provider behind it bills is told apart. Perplexity reports what
    the cost is made of, and its sum (https://docs.perplexity.ai/docs/getting-started/pricing).
    """
    fields = fields_of(report)
    parts = fields_of(fields.get("cost"))
    if "total_cost" in parts:
        fields = {"cost": parts["total_cost"]}
    own = fields_of(fields.get("cost_details")).get("upstream_inference_cost") if fields.get("is_byok") else 0
    try:
        return nano_usd(fields.get("cost"), "cost") + nano_usd(own or 0, "cost") or None
    except (TypeError, ValueError):
        return None


def _gemini_answer(fields: Fields, report: object) -> Answer:
    """Google's response, whose names are its own, and which tells of its searches apart from its usage."""
    usage = read_usage(report)
    searches = gemini_searches(fields)
    if usage is not None and searches:
        usage = msgspec.structs.replace(usage, web_searches=searches)
    model = fields.get("modelVersion", fields.get("model_version"))
    id = fields.get("responseId", fields.get("response_id"))
    return Answer(usage, model if isinstance(model, str) and model else None, id if isinstance(id, str) else None)


def _inner(response: object, fields: Fields) -> object:
    """What a wrapper has inside: a completed event's response, an HTTP response's body, JSON text."""
    if response is None or response.__class__ in (int, float, bool, list, tuple):
        return None
    if "response" in fields and "type" in fields:
        return fields["response"]
    if isinstance(response, (str, bytes, bytearray)):
        text = response.encode("utf-8", "replace") if isinstance(response, str) else bytes(response)
        return json_of(text) if text.lstrip()[:1] == b"{" else None
    raw = getattr(response, "http_response", None)
    content = getattr(response if raw is None else raw, "content", None)
    if isinstance(content, (bytes, str)):
        return json_of(content)
    return None
