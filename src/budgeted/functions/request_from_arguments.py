"""A function that takes a model and its input: how its own arguments say what its call may cost."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import TypeGuard

from budgeted.metering.call import Call
from budgeted.pricing.tool_prices import provider_of_model
from budgeted.wire.normalized_request import ANY, CAPS, CONTENT, Request

_REASONING = ("reasoning_effort", "reasoning", "thinking")
_BODY = (*CONTENT, "system", "instructions", "tools", "functions", "response_format", "modalities", *_REASONING)
_STRUCTURED = ("response_format", "text_format", "output_format", "response_model")
_RARE = ("n", "base_url", "api_base", "service_tier", "custom_llm_provider", *_STRUCTURED)
_CONTENT = frozenset(CONTENT)
_SDKS = ("openai", "anthropic")


class Metered:
    """How a function's own arguments say what its call may cost."""

    def __init__(self, fn: Callable[..., object]) -> None:
        try:
            parameters = list(inspect.signature(fn).parameters.values())
        except (TypeError, ValueError):
            parameters = []
        self.open = any(one.kind is one.VAR_KEYWORD for one in parameters)
        self.names = tuple(
            one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        )
        named = [one for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
        self.accepts = frozenset(one.name for one in named)
        self.defaults = {one.name: one.default for one in named if one.default not in (one.empty, None)}
        self.body = self._taken(_BODY)
        self.caps = self._taken(CAPS)
        # The usual shape, a model, its content and perhaps one cap, is read without looking for anything else.
        self.only = self.body[0] if len(self.body) == 1 and len(self.caps) < 2 and not self._taken(_RARE) else None
        self.cap_name = next((name for name in CAPS if name in self.accepts), None)
        # Whether an SDK's call inside took the hold over, as far as was seen.
        self.hooked: bool | None = None

    def _taken(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if self.open or name in self.accepts)

    @property
    def possible(self) -> bool:
        """Whether the function may be a metered call at all."""
        return self.open or ("model" in self.accepts and not self.accepts.isdisjoint(CONTENT))

    @property
    def certain(self) -> bool:
        """Whether the function says by its parameters that it is a metered call."""
        return "model" in self.accepts and not self.accepts.isdisjoint(CONTENT)

    def arguments(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Mapping[str, object]:
        """The arguments by name, defaults included."""
        found = dict(zip(self.names, args))  # noqa: B905 - what is too many belongs to *args
        found.update(kwargs)
        return {**self.defaults, **found} if self.defaults else found

    def request(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> Request | None:
        """The call that the arguments describe, or None if they describe none."""
        if self.defaults:
            given = self.arguments(args, kwargs)
        else:
            given = dict(zip(self.names, args), **kwargs) if args else kwargs  # noqa: B905
        model = given.get("model")
        if model.__class__ is not str or not model:
            return None
        cappable = self.cap_name is not None or self._left_to_the_sdk()
        only = self.only
        if only is not None:
            content = given.get(only)
            if content is None:
                return None
            cap = None if self.cap_name is None else given.get(self.cap_name)
            if cap is not None and not (cap.__class__ is int and cap > 0):
                cap = cap if _is_count(cap) else None
            return Request("", model, {only: content}, cap, 1, cappable, False, kinds=ANY)
        body = {}
        for name in self.body:
            value = given.get(name)
            if value is not None:
                body[name] = value
        cap = None
        for name in self.caps:
            cap = given.get(name)
            if cap is not None:
                cap = cap if _is_count(cap) else None
                break
        request = Request("", model, body, cap, 1, cappable, False, kinds=ANY)
        _read_rare(request, given)
        return request if _CONTENT.intersection(body) else None

    def _left_to_the_sdk(self) -> bool:
        """Whether an SDK's hook inside will write the cap, as far as one can tell before the first call."""
        return self.hooked is not False and any(name in sys.modules for name in _SDKS)

    def capped(
        self, call: Call, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """The arguments with what was granted written into them."""
        changes: dict[str, object] = {}
        if call.capped and self.cap_name is not None:
            changes[self.cap_name] = call.granted
        given = self.arguments(args, kwargs)
        if call.request.model != given.get("model"):
            changes["model"] = call.request.model
        for name, value in changes.items():
            if name in self.names[: len(args)]:
                at = self.names.index(name)
                args = (*args[:at], value, *args[at + 1 :])
            else:
                kwargs = {**kwargs, name: value}
        return args, kwargs


def _read_rare(request: Request, given: Mapping[str, object]) -> None:
    n = given.get("n")
    if _is_count(n):
        request.n = n
    url = given.get("base_url") or given.get("api_base")
    request.base_url = url if isinstance(url, str) else None
    tier = given.get("service_tier")
    request.tier = tier if isinstance(tier, str) else None
    request.provider = provider_of_model(given.get("custom_llm_provider"))
    request.structured = any(given.get(name) is not None for name in _STRUCTURED)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
