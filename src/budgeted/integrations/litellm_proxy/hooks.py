"""The hooks that LiteLLM's proxy calls: each call holds before it is routed, and is settled once.

The hold is made by :meth:`Handler.async_pre_call_hook`, for the dearest of what the call may become. Whatever is then
sent for it runs in the same context: the hooks of LiteLLM's functions, or those of the transport, take the hold over
for the first attempt, and hold anew for each further one, be it a retry, a fallback or a guardrail's own question. So
they settle what was sent, by what the provider answers. What was not sent at all, such as an answer from the cache,
gives the hold back when LiteLLM tells of it, or when the request is forgotten.
"""

from __future__ import annotations

import functools
import re
import weakref
from collections.abc import Mapping
from typing import Any

from litellm.integrations.custom_logger import CustomLogger
from opentelemetry.context import attach, create_key, get_value, set_value

from budgeted import api
from budgeted.errors import BudgetError, refusal_behind
from budgeted.integrations.litellm_proxy import passed_through, payers, refusals, routed_requests
from budgeted.integrations.litellm_proxy.limits_of_litellm import LimitsOfLiteLLM
from budgeted.metering import charged_responses, runner
from budgeted.metering.call import Call
from budgeted.metering.owner import Owner
from budgeted.payers.scope import Offer, Scope, enter
from budgeted.providers.litellm import made_up
from budgeted.providers.litellm_answers import as_billed, origin, read_usage
from budgeted.providers.metered_method import End
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.parameter_coercion import items, mapping, text

_KEY = create_key("budgeted-litellm-proxy-call")
"""Where the OpenTelemetry context of a request has its :class:`_Held`."""

_FREE = ("call_mcp_tool", "list_mcp_tools", "mcp_call")
"""What the proxy calls the hook for and sends to no model."""

_UNSEEN = re.compile(
    ".*(realtime|websocket|live|decisions|systemone|extraction|send_message|run_code|sandbox|code_interpreter).*"
)
"""What is billed where neither LiteLLM's functions nor the hooks of the transport see it, by the kinds of routes."""

_MET_BELOW = (
    *("anthropic_messages", "aanthropic_messages"),
    *("generate_content", "agenerate_content", "generate_content_stream", "agenerate_content_stream"),
)
"""What LiteLLM may send by its own HTTP handler, in formats that the hooks of the transport read."""


class _Held:
    """What is held for a call of the proxy.

    Args:
        call: which holds.
        offer: by which it is taken over where it is sent; None for a call that nothing beneath meters.
        owner: who ends it.
    """

    def __init__(self, call: Call, offer: Offer | None, owner: Owner) -> None:
        self.call, self.offer, self.owner = call, offer, owner

    @property
    def open(self) -> bool:
        """Whether the hold is still to be ended here."""
        return not self.call.ended and (self.offer is None or not self.offer.takers)


class Handler(CustomLogger):
    """What ``litellm_settings: {callbacks: budgeted.integrations.litellm_proxy.handler}`` names."""

    def __init__(self) -> None:
        super().__init__()
        self._limits = LimitsOfLiteLLM()
        self._by_id: weakref.WeakValueDictionary[str, _Held] = weakref.WeakValueDictionary()

    async def async_pre_call_hook(
        self,
        user_api_key_dict: object,
        cache: object,
        data: dict[str, Any],
        call_type: str,
    ) -> dict[str, Any] | None:
        """Hold what a call may cost, for everybody who pays for it.

        Args:
            user_api_key_dict: LiteLLM's ``UserAPIKeyAuth``: who asks.
            cache: LiteLLM's own.
            data: what is asked; with the model that was granted, if that is another one.
            call_type: the kind of route.

        Returns:
            The data, if it was changed.

        Raises:
            ProxyException: there is no room; nothing was sent.
        """
        if call_type in _FREE:
            return None
        try:
            return await self._admit(user_api_key_dict, cache, data, call_type)
        except BudgetError as error:
            raise refusals.as_proxy_error(error) from error

    async def _admit(self, auth: object, cache: object, data: dict[str, Any], call_type: str) -> dict[str, Any] | None:
        payer = api.get_manager().payer
        if _UNSEEN.fullmatch(call_type) and payer.unmetered == "deny":
            raise refusals.unseen(call_type)
        route = text(getattr(auth, "request_route", None)) or ""
        told = payers.told_by(auth)
        own = payers.tags_of_all_calls(payer)
        try:
            who = payers.payers(told, _tags(auth, data), own)
        except ValueError as error:
            raise refusals.bad_request(str(error)) from error
        await self._limits.take_over(payer, auth, told, who, cache)
        scope = refusals.MarkingBlock(payer, None).scope(payers.scope_of(payer, who))
        scope.paid_hosts = self._paid_hosts(call_type, route)
        request = fixed = None
        if call_type == passed_through.CALL_TYPE:
            fixed = passed_through.price_per_request(route)
            request = _fixed(fixed) if fixed is not None else passed_through.request(route, data)
        elif not made_up(data):
            request = routed_requests.request(call_type, data, _router(), told.team)
        call = await self._hold(request, scope, data, by_hand=fixed is not None)
        if call is None or request is None or call.request.model == request.model:
            return None
        data["model"] = call.request.model  # a manager's fallback
        return data

    def _paid_hosts(self, call_type: str, route: str) -> frozenset[str] | None:
        if call_type == passed_through.CALL_TYPE:
            return passed_through.paid_hosts(route)
        return frozenset() if call_type in _MET_BELOW else None

    async def _hold(
        self, request: Request | None, scope: Scope, data: Mapping[str, Any], *, by_hand: bool
    ) -> Call | None:
        """Have all that is sent from here on be paid for, and hold what is known of it."""
        owner = Owner()
        try:
            call = None if request is None else await runner.begin_async(request, owner, scope)
            held = None
            if call is not None and by_hand:
                scope = call.inside()
                held = _Held(call, None, owner)
            elif call is not None:
                scope.offer = owner.offer = Offer(call)
                held = _Held(call, scope.offer, owner)
            enter(scope)
            # Of the request's own task: it ends with it. A failed or forgotten request gives back what it holds.
            attach(set_value(_KEY, held))
            if held is not None:
                self._by_id[_call_id(data)] = held
        except BaseException as error:
            owner.give_up(error)
            raise
        return call

    async def async_post_call_failure_hook(
        self,
        request_data: dict[str, Any],
        original_exception: Exception,
        user_api_key_dict: object,  # noqa: ARG002 - LiteLLM calls by name
        traceback_str: str | None = None,  # noqa: ARG002
    ) -> Any:
        """Give back what a call holds that was not sent, and have a refusal be answered as one.

        Args:
            request_data: what was asked.
            original_exception: how it failed.
            user_api_key_dict: who asked.
            traceback_str: where it failed.

        Returns:
            What is answered instead, if a budget refused what LiteLLM wanted to send; else None.
        """
        held = self._held(_call_id(request_data))
        if held is not None and held.open:
            call = held.call
            end = functools.partial(call.fail, origin(original_exception)) if held.offer is None else call.release
            await runner.settled(call, end)
        refusal = refusal_behind(original_exception)
        if refusal is None:
            return None
        refusals.mark(refusal)
        return refusals.as_http_error(refusal)

    async def async_log_success_event(
        self,
        kwargs: object,
        response_obj: object,
        start_time: object,  # noqa: ARG002 - LiteLLM hands them over in this order
        end_time: object,  # noqa: ARG002
    ) -> None:
        """End a call's hold that nothing beneath has taken over.

        Args:
            kwargs: what LiteLLM knows of the call.
            response_obj: what it answered.
            start_time: when it began.
            end_time: when it ended.
        """
        told = mapping(kwargs)
        held = self._held(_call_id(told))
        if held is not None and held.open:
            await runner.settled(held.call, self._end(held.call, told, response_obj))

    def _end(self, call: Call, told: Mapping[str, Any], response: object) -> End:
        """How a call ends that was answered without anything having been sent that the hooks beneath saw."""
        if told.get("cache_hit"):
            return call.release
        if call.request.fixed is not None:
            return functools.partial(call.charge, None, call.request.fixed)
        whole = told.get("async_complete_streaming_response") or told.get("complete_streaming_response") or response
        answer = as_billed(read_usage(whole), whole)
        if answer.id is not None and all(
            charged_responses.charged(answer.id, group.payer, account)
            for group in call.groups
            for account in group.accounts
        ):
            return call.release
        return functools.partial(call.settle, answer)

    def _held(self, call_id: str) -> _Held | None:
        """What the running code's request holds; by its id where LiteLLM tells of it in another context."""
        found = get_value(_KEY)
        return found if isinstance(found, _Held) else self._by_id.get(call_id)


def _fixed(nano: int) -> Request:
    return Request(provider="", model="", body={}, operation="pass_through", fixed=nano, output=False)


def _call_id(data: Mapping[str, Any]) -> str:
    found = data.get("litellm_call_id") or getattr(data.get("litellm_logging_obj"), "litellm_call_id", None)
    return found if isinstance(found, str) else ""


def _router() -> object:
    """LiteLLM's router: the proxy's, where one runs."""
    import sys

    return getattr(sys.modules.get("litellm.proxy.proxy_server"), "llm_router", None)


def _tags(auth: object, data: Mapping[str, Any]) -> list[str]:
    """LiteLLM's tags of a call: those of the key and the team first, as whoever asks may have written the others."""
    places = (
        getattr(auth, "metadata", None),
        getattr(auth, "team_metadata", None),
        data.get("litellm_metadata"),
        data.get("metadata"),
    )
    found = [tag for place in places for tag in items(mapping(place).get("tags")) if isinstance(tag, str) and tag]
    return list(dict.fromkeys(found))
