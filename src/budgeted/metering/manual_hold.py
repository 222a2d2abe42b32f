"""``hold()``: a call that no SDK's hook sees, held and settled by hand."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, attach, detach, get_value, set_value

from budgeted.errors import LedgerLockedError
from budgeted.metering import late_answers, runner
from budgeted.metering.call import Call
from budgeted.metering.cost_bound import OUTPUT_UNKNOWN
from budgeted.metering.http_streams import LEFT_EARLY
from budgeted.metering.owner import Owner, end_anywhere
from budgeted.money import nano_usd
from budgeted.payers.block import Budget
from budgeted.payers.scope import BY_HAND, Scope, current, enter, leave
from budgeted.pricing import price_registry
from budgeted.pricing.tool_prices import TOOL
from budgeted.pricing.usage import Counts, Usage
from budgeted.validation import check_count, check_text, shown
from budgeted.wire import usage_report_formats
from budgeted.wire.content_type_and_encoding import read_whole
from budgeted.wire.normalized_request import ANY, CAPS, CONTENT, Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.sdk_object_fields import fields_of
from budgeted.wire.stream_usage import estimated

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType
    from typing import Self

NOT_SETTLED = "left without saying what it cost"


class Hold:
    """Money set aside for one call. Made by :func:`budgeted.hold`; works with ``with`` and ``async with``.

    The hold begins on entering, where it may wait its turn or be refused. Left without a ``settle``, it is charged
    as uncertain; left by an exception that shows that nothing was spent, it is released.

    Attributes:
        max_output_tokens: the output tokens that may be asked for; send this as the request's cap.
        model: the model to ask, which is one of the block's fallbacks where the one named does not fit.
        id: the charge's id, for ``reconcile``.

    Example:
        >>> with hold("gpt-5-mini", prompt, max_output_tokens=500) as held:
        ...     response = requests.post(url, json={..., "max_completion_tokens": held.max_output_tokens})
        ...     held.settle(response)
    """

    def __init__(self, request: Request, block: Budget) -> None:
        self._request = request
        self._block = block
        self._owner = Owner()
        self._call: Call | None = None
        self._entered = False
        self._async = False
        self._by_hand: Token[Context] | None = None
        self._pending: Callable[[float | None], None] | None = None
        self._text_bytes = 0
        self._pieces = 0

    @property
    def max_output_tokens(self) -> int:
        """The output tokens that may be asked for. Until the hold began, those of the request itself."""
        if self._call is not None:
            return self._call.granted
        request = self._request
        if request.cap is not None or not request.output:
            return request.cap or 0
        price = price_registry.find(request.model, request.provider or None, request.base_url)
        return (price.max_output_tokens if price is not None else None) or OUTPUT_UNKNOWN

    @property
    def model(self) -> str:
        """The model to ask: the one that was named, or the fallback that fits; empty for a hold by its cost."""
        return (self._request if self._call is None else self._call.request).model

    @property
    def id(self) -> str:
        """The charge's id; empty before the hold began, or where nothing is metered."""
        return self._call.id if self._call is not None else ""

    def covers(self, scope: Scope) -> bool:
        """Whether it is charged to every block of a scope: those entered since it began pay for themselves."""
        call = self._call
        return call is None or all(block in call.blocks for block in scope.blocks)

    def __enter__(self) -> Self:
        scope = self._scope()
        try:
            try:
                enter(scope)
                self._call = runner.begin(self._request, self._owner)
            finally:
                leave(scope)
            self._begin()
            return self
        except BaseException as error:  # Ctrl-C, too: nobody leaves what was not entered
            self._give_back(error)
            raise

    async def __aenter__(self) -> Self:
        scope = self._scope()
        try:
            try:
                enter(scope)
                self._call = await runner.begin_async(self._request, self._owner)
            finally:
                leave(scope)
            self._async = True
            self._begin()
            return self
        except BaseException as error:
            self._give_back(error)
            raise

    def _scope(self) -> Scope:
        """The block's payers, for whom it holds."""
        if self._entered:
            msg = "a hold is entered once; make another for the next call"
            raise RuntimeError(msg)
        scope = self._owner.scope = self._block.scope(current())
        return scope

    def _begin(self) -> None:
        """The hold is open: what no hook can see may be sent."""
        self._entered = True
        if self._call is not None:
            self._call.begun = True
        # Weakly: a hold that nobody leaves, since Ctrl-C came in between, ends when its user has forgotten it.
        self._by_hand = attach(set_value(BY_HAND, weakref.ref(self)))

    def _finish(self) -> None:
        opened, held = self._by_hand, get_value(BY_HAND)
        if opened is not None and isinstance(held, weakref.ref) and held() is self:
            detach(opened)
        self._by_hand = None

    def _give_back(self, error: BaseException) -> None:
        """The hold was not entered."""
        self._finish()
        if self._owner.scope is not None:
            leave(self._owner.scope)
        self._owner.give_back(error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish()
            call = self._call
            if call is not None and not call.ended:
                if isinstance(error, GeneratorExit):  # of a finaliser, perhaps, which may take no lock
                    end_anywhere(call, functools.partial(self._leave, call, error))
                else:
                    self._leave(call, error)
        except BaseException as interrupt:
            self._owner.give_up(error or interrupt)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish()
            call = self._call
            if call is not None and not call.ended:
                self._owner.end = self._pending or functools.partial(self._leave, call, error)
                await runner.settled(call, self._owner.end)
        except BaseException as interrupt:
            self._owner.give_up(error or interrupt)
            raise

    def _leave(self, call: Call, error: BaseException | None, timeout: float | None = None) -> None:
        if error is not None and not self._pieces:
            call.fail(error, timeout)
        else:
            received = Usage(0, estimated(self._text_bytes, self._pieces)) if self._pieces else None
            call.estimate(LEFT_EARLY if received else NOT_SETTLED, received, None, timeout)

    def settle(
        self, response: object = None, *, usage: Usage | Mapping[str, int] | None = None, cost: object = None
    ) -> None:
        """Charge what the call really cost. Repeating it does nothing; after an estimate it replaces that.

        Args:
            response: what came back: an SDK's object, a mapping, or an HTTP response with a JSON body. One with the
                status of an error, and without a usage, cost nothing. An agent's result that states its cost in USD
                (``total_cost_usd``, ``cost``) is believed.
            usage: tokens, instead of a response.
            cost: USD, instead of either.

        Raises:
            TypeError: not exactly one of the three was given.
            ValueError: the cost or the usage makes no sense.
            RuntimeError: the hold has not begun: there was no ``with``.
        """
        if (response is not None) + (usage is not None) + (cost is not None) != 1:
            msg = "settle takes one of: a response, usage=Usage(...), cost=USD"
            raise TypeError(msg)
        nano = None if cost is None else nano_usd(cost, "cost")
        spent = None if usage is None else counted(usage)
        call = self._begun()
        if call is None:
            return
        if response is None:
            if call.ended:
                late_answers.settle(call, spent, nano)
            else:
                self._end(call, lambda timeout: call.charge(spent, nano, timeout))
            return
        answer = read_whole(response)
        stated = _stated(response)
        if call.ended:
            late_answers.settle(call, None if stated is not None else answer.usage, stated)
        elif stated is not None:
            self._end(call, lambda timeout: call.charge(answer.usage, stated, timeout))
        elif answer.usage is None and refused(response):
            self._end(call, call.release)
        else:
            self._end(call, lambda timeout: call.settle(answer, timeout))

    def add(self, text: str) -> None:
        """Count text that arrived on a stream, for the estimate should nobody say what it cost.

        Args:
            text: as it came; what it costs is estimated by its length.
        """
        self._text_bytes += _size(text)
        self._pieces += 1

    def release(self) -> None:
        """Nothing was spent.

        Raises:
            RuntimeError: the hold has not begun: there was no ``with``.
        """
        call = self._begun()
        if call is not None:
            self._end(call, call.release)

    def _begun(self) -> Call | None:
        if not self._entered:
            msg = "this hold has not begun; write `with hold(...) as held:` and settle inside"
            raise RuntimeError(msg)
        return self._call

    def _end(self, call: Call, end: Callable[[float | None], None]) -> None:
        """End the call here; in a coroutine what could block its loop is left to ``async with``'s end."""
        if not self._async:
            end(None)
        elif self._pending is None and not call.ended:
            try:
                if not call.remote:
                    end(0)
                    return
            except LedgerLockedError:
                pass
            self._pending = end


def _stated(response: object) -> int | None:
    """What an agent's result states that it cost, in nano-USD; None if it states nothing, or nothing sensible.

    The Claude Agent SDK's result has ``total_cost_usd``
    (https://docs.claude.com/en/api/agent-sdk/cost-tracking); others call it ``cost``.
    """
    fields = fields_of(response)
    for name in ("total_cost_usd", "cost"):
        value = fields.get(name)
        if value is not None:
            try:
                return nano_usd(value, name)
            except (TypeError, ValueError):
                return None
    return None


def _size(text: object) -> int:
    if not isinstance(text, str):
        msg = f"add takes the text that arrived, got {shown(text)}"
        raise TypeError(msg)
    return len(text.encode("utf-8", "surrogatepass"))


def counted(usage: object) -> Counts:
    """The tokens that a caller names, as :class:`Usage`, a provider's report or a mapping of its fields.

    Raises:
        TypeError, ValueError: it is none of these, or makes no sense.
    """
    if isinstance(usage, Mapping) and usage and usage.keys() <= _FIELDS:
        return Usage(**usage)
    found = usage_report_formats.read_usage(usage)
    if found is not None:
        return found
    if not isinstance(usage, Mapping) or not usage:
        msg = f"usage must be a Usage or a mapping, such as Usage(1200, 300), got {shown(usage)}"
        raise TypeError(msg)
    msg = f"usage must have the fields of Usage, such as input_tokens and output_tokens, got {shown(dict(usage))}"
    raise TypeError(msg)


def refused(response: object) -> bool:
    """Whether an HTTP response has the status of an error."""
    status = getattr(response, "status_code", None) or getattr(response, "status", None)
    return isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599


def make_hold(
    model: str | None,
    input: object,
    max_output_tokens: int | None,
    cost: object,
    block: Budget,
    *,
    provider: str | None,
    base_url: str | None,
    n: int | None,
    tier: str | None,
) -> Hold:
    """Check the arguments of ``hold()``, and make it.

    Raises:
        TypeError: neither a model nor a cost, or values of other types.
        ValueError: amounts that make no sense.
    """
    if (model is None) == (cost is None):
        msg = "hold takes a model with its input, or cost=USD; one of the two, or else tool=NAME"
        raise TypeError(msg)
    if cost is not None:
        nano = nano_usd(cost, "cost")
        return Hold(Request(provider="", model="", body={}, operation="hold", fixed=nano, output=False), block)
    if provider == TOOL:
        msg = f"provider={TOOL!r} is that of tools, which hold(tool=...) names, and {shown(model)} is a model's name"
        raise ValueError(msg)
    for name, value in (("model", model), ("provider", provider), ("base_url", base_url), ("tier", tier)):
        if value is not None:
            check_text(value, name)
    body: Mapping[str, Any] = {"input": "" if input is None else input}
    if isinstance(input, Mapping) and not _CONTENT.isdisjoint(input):
        body = input
        max_output_tokens = _given(max_output_tokens, body, *CAPS)
        n = _given(n, body, "n")
        tier = body["service_tier"] if tier is None and isinstance(body.get("service_tier"), str) else tier
    if max_output_tokens is not None:
        check_count(max_output_tokens, "max_output_tokens")
    if n is not None:
        check_count(n, "n", 1)
    request = Request(
        provider=provider or "",
        model=str(model),
        body=body,
        cap=max_output_tokens,
        n=n or 1,
        tier=tier,
        base_url=base_url,
        kinds=ANY,
        exact_bytes=False,
        elsewhere=referenced(body) if body is input else "",
    )
    return Hold(request, block)


def _given(value: int | None, body: Mapping[str, Any], *names: str) -> Any:
    """An argument, else what the request's body says."""
    return value if value is not None else next((body[name] for name in names if body.get(name) is not None), None)


_CONTENT = frozenset(CONTENT)
_FIELDS = frozenset(Usage.__struct_fields__)
