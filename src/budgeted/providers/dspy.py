"""DSPy, from 3.4 on: its own engine, which reaches providers where no other hook sees it.

Its cache is asked before an attempt is made, and each candidate and each retry is an attempt. `LM.forward` itself is
left alone: DSPy takes one that is not its own for a program's, and treats it otherwise. Calls that DSPy leaves to
LiteLLM are metered there, as all calls of older versions are.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from budgeted.errors import BudgetError
from budgeted.metering.call import Call
from budgeted.pricing import token_types
from budgeted.pricing.token_types import kinds_of
from budgeted.providers.metered_method import End, Sent, pair
from budgeted.providers.monkeypatching import Hook
from budgeted.wire import usage_report_formats
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.parameter_coercion import count, text
from budgeted.wire.response_usage import Answer

_REQUEST = 3
_RESULTS = 6
"""Where the arguments of an attempt have the request, and the list that what was used is appended to."""


class _Sent(Sent):
    """One attempt."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.asked = args[_REQUEST]
        self.before = len(args[_RESULTS])
        super().__init__(_request(args[0], self.asked), args, {})

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with the model and cap that were granted."""
        asked = self.asked
        if call.capped:
            asked = dataclasses.replace(asked, config=dataclasses.replace(asked.config, max_tokens=call.granted))
        if asked.model != call.request.model:
            asked = dataclasses.replace(asked, model=call.request.model)
        args = self.args
        return (*args[:_REQUEST], asked, *args[_REQUEST + 1 :]), {}

    def finish(self, call: Call, response: Any) -> End | None:  # noqa: ARG002 - an attempt returns nothing
        """Settle at the usage in the result that the attempt has appended."""
        return functools.partial(call.settle, self._answer())

    def outcome(self, call: Call, error: BaseException) -> End:
        """How a call ends that raised: what it has used may be known all the same."""
        answer = self._answer()
        return (
            functools.partial(call.settle, answer) if answer.usage is not None else functools.partial(call.fail, error)
        )

    def _answer(self) -> Answer:
        results = self.args[_RESULTS][self.before :]
        usage = usage_report_formats.read_usage(getattr(results[-1], "usage", None) or None) if results else None
        return Answer(usage)


def _request(lm: Any, asked: Any) -> Request:
    config = asked.config
    body = {name: _plain(getattr(asked, name, None)) for name in ("messages", "system", "tools")}
    kinds = kinds_of(str(asked.model), body)
    if getattr(config, "cache", None) is not None:
        kinds |= token_types.CACHE_WRITE | token_types.CACHE_WRITE_1H
    return Request(
        provider="",
        model=str(asked.model),
        body=body,
        cap=count(config.max_tokens),
        structured=config.response_format is not None,
        tier=text(config.service_tier),
        base_url=text(getattr(lm, "kwargs", {}).get("api_base")),
        kinds=kinds,
        exact_bytes=False,
    )


def _plain(value: Any) -> Any:
    try:
        return msgspec.to_builtins(value)
    except (TypeError, ValueError):
        return str(value)


def _read(instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> _Sent | None:
    return _Sent(args) if not kwargs and len(args) > _RESULTS and args[_REQUEST] is not None else None


def _wrap_error(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """DSPy hides errors that it does not know behind one of its own: a refusal reaches the caller as it is."""
    return args[0] if args and isinstance(args[0], BudgetError) else wrapped(*args, **kwargs)


HOOKS = (
    *pair("dspy.clients.execution", "_attempt", "_aattempt", _read),
    Hook("dspy.clients.errors", "wrap_error", _wrap_error),
)
