"""The upper bound of one request's input, in tokens: of what it holds, and of what it only refers to."""

from __future__ import annotations

from budgeted.errors import UnpricedModelError
from budgeted.pricing import input_token_bound
from budgeted.pricing.model_price import Price
from budgeted.validation import shown
from budgeted.wire.normalized_request import Request


def input_tokens(request: Request, price: Price | None) -> int:
    """The most tokens that a request's input can have.

    Args:
        request: what is asked.
        price: its model's, if it is known.

    Raises:
        UnpricedModelError: it refers to what is not in it, and its model's context window is not known.
    """
    size = input_token_bound.input_bound(request.body, request.model, exact_bytes=request.exact_bytes)
    if size == input_token_bound.UNKNOWN or request.elsewhere:
        return _window(request, price)
    return size


def _window(request: Request, price: Price | None) -> int:
    """The bound of an input that is not all in the request."""
    if price is not None and (price.flat or (price.by_time and request.audio_ms)):
        return 0
    window = price.context_window if price is not None else None
    if window is not None:
        return window
    what = request.elsewhere or "files or media that are not in it"
    msg = (
        f"the request to {shown(request.model)} refers to {what}, and its context window is not known, so its cost has "
        f"no bound; send the content itself, or meter the call with budgeted.hold(cost=...)"
    )
    raise UnpricedModelError(msg)
