"""What LiteLLM's answers and streams say that they used, and the errors that it makes of others'."""

from __future__ import annotations

from typing import Any

import msgspec

from budgeted.metering.call import Call
from budgeted.metering.item_streams import Items
from budgeted.pricing import model_price
from budgeted.pricing.usage import COUNTS, OTHERS, Usage
from budgeted.providers.metered_method import End
from budgeted.wire import response_usage
from budgeted.wire.request_formats.parameter_coercion import items
from budgeted.wire.response_usage import Answer
from budgeted.wire.sdk_object_fields import fields_of, text_bytes
from budgeted.wire.usage_report_formats.google_gemini import Grounding


def origin(error: BaseException) -> BaseException:
    """What LiteLLM made its exception of: its own carry a status even if no server sent one."""
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None or not type(cause).__module__.startswith("litellm"):
            break
        cause = cause.__cause__ or cause.__context__
    return cause if cause is not None else error


class _Stream(Items):
    """A stream of LiteLLM's, which makes an error of its own of what broke it."""

    ends_when_cut = True

    def ending(self, error: BaseException | None) -> End | None:
        """How the call ends."""
        return super().ending(None if error is None else origin(error))


class SayingItems(_Stream):
    """A stream whose own items say what it used."""

    def __init__(self, call: Call, *, hide: bool) -> None:
        super().__init__(call)
        self._hide = hide

    def add(self, item: Any) -> bool:
        """Note a chunk; the one that only brings the usage, asked for on the caller's behalf, is hidden."""
        before = self.answer
        super().add(item)
        if self.answer is not before and not _says_usage(self.answer):
            self.answer = before
        return not (self._hide and getattr(item, "usage", None) is not None)


class Chunks(_Stream):
    """A stream that keeps all its chunks, with the usage that it takes out of those that it passes on."""

    def __init__(self, call: Call, stream: Any) -> None:
        super().__init__(call)
        self._chunks = below(stream).chunks

    def add(self, item: Any) -> bool:
        """Note a chunk."""
        self.count(item)
        return True

    def ending(self, error: BaseException | None) -> End | None:
        """How the call ends: what the provider has said counts only if it has said all."""
        if error is None:
            self.answer = _total(self._chunks)
        return super().ending(error)


def below(stream: Any) -> Any:
    """The stream of chunks: itself, or what a stream of text completions is made of."""
    inner = getattr(stream, "completion_stream", None)
    return inner if hasattr(inner, "chunks") else stream


def _says_usage(answer: Answer) -> bool:
    """Whether an answer says what it used: LiteLLM fills in zeros where its provider says nothing."""
    usage = answer.usage
    return usage is not None and any(getattr(usage, name) for name in (*COUNTS, "fees", "unread"))


def read_usage(response: Any) -> Answer:
    """What an answer, or a chunk of one, says of itself."""
    answer = response_usage.read(response)
    return answer if _says_usage(answer) else msgspec.structs.replace(answer, usage=None)


def _total(chunks: Any) -> Answer:
    """What the chunks of a stream say that it used. Counts are cumulative, and some providers give them in parts."""
    answers = []
    whole = False
    for chunk in list(chunks):
        answer = read_usage(chunk)
        if answer.usage is not None:
            answers.append(answer)
            whole = True
        elif text_bytes(chunk):
            whole = False  # LiteLLM ends some streams as if nothing were missing when their connection is lost
    if not whole:
        return response_usage.NOTHING
    last = answers[-1]
    reports = [answer.usage for answer in answers if answer.usage is not None]
    counts = {name: max(getattr(one, name) for one in reports) for name in COUNTS}
    others = {name: next(filter(None, (getattr(one, name) for one in reversed(reports))), None) for name in OTHERS}
    told = {name: value for name, value in others.items() if value is not None}
    return as_billed(msgspec.structs.replace(last, usage=Usage(**counts, **told)))


def as_billed(answer: Answer, response: Any = None) -> Answer:
    """An answer with its searches as Google bills them: LiteLLM tells how many there were, or only what they were."""
    usage = answer.usage
    if usage is None:
        return answer
    found = usage.web_searches
    groundings = fields_of(response).get("vertex_ai_grounding_metadata")
    if groundings:
        grounding = Grounding()
        grounding.add({"candidates": [{"groundingMetadata": each} for each in items(groundings)]})
        usage = response_usage.grounded(msgspec.structs.replace(usage, web_searches=0), grounding, answer.model)
        return msgspec.structs.replace(answer, usage=usage)
    if found > 1 and model_price.gemini_bills_answers(str(answer.model)):
        found = 1
    if found == usage.web_searches:
        return answer
    return msgspec.structs.replace(answer, usage=msgspec.structs.replace(usage, web_searches=found))
