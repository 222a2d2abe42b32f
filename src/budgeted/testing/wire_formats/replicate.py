"""Replicate's predictions on the wire: made at once, and asked for until they are there.

https://replicate.com/docs/reference/http#predictions.create. How many tokens there are is told of the models that are
billed by them, in the metrics.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..scripted_reply import Request
from ..simulated_model import Answer, Call, prompt_tokens, split
from .api_interface import Api, positive, required
from .openai_chat_completions import BROKEN

API_URL = "https://api.replicate.com/v1/predictions"


def failure(status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"title": "Simulated failure", "detail": message, "status": status}


def _read(path: str, body: dict[str, Any]) -> Call:
    """Read a request for the model in `/v1/models/owner/name/predictions`, or for a version in the body."""
    given = required(body, "input", dict)
    model = path.partition("/models/")[2].partition("/predictions")[0]
    return Call(
        api="predictions",
        model=model or required(body, "version", str).partition(":")[0],
        body=body,
        cap=positive(given, "max_tokens") or positive(given, "max_new_tokens"),
        input_tokens=max(1, prompt_tokens(given.get("prompt") or "", given.get("system_prompt") or "")),
        deferred=True,
    )


def _by_headers(call: Call, request: Request) -> Call:
    call.deferred = not request.headers.get("prefer", "").startswith("wait")
    return call


def _body(call: Call, answer: Answer) -> dict[str, Any]:
    made = datetime.fromtimestamp(answer.created, UTC).isoformat().replace("+00:00", "Z")
    prediction = {
        "id": answer.id,
        "model": answer.model,
        "version": "hidden",
        "input": call.body["input"],
        "logs": "",
        "output": None,
        "error": None,
        "data_removed": False,
        "status": "starting",
        "created_at": made,
        "urls": {"get": f"{API_URL}/{answer.id}", "cancel": f"{API_URL}/{answer.id}/cancel"},
    }
    if call.deferred:
        return prediction
    done = {"status": "succeeded", "started_at": made, "completed_at": made, "output": _output(answer)}
    return prediction | done | {"metrics": _metrics(answer)}


def _output(answer: Answer) -> list[str]:
    return list(split(answer.texts[0], answer.pieces))


def _metrics(answer: Answer) -> dict[str, Any]:
    counts = {"input_token_count": answer.counts.input_tokens, "output_token_count": answer.counts.output_tokens}
    told = answer.shown_usage(counts) if answer.says_usage else {}
    return {"predict_time": 0.25, "total_time": 0.5, "time_to_first_token": 0.125, **told}


PREDICTIONS = Api(_read, _body, None, failure, BROKEN, status=201, by_headers=_by_headers)
