"""What a call asks of a model: the form into which every SDK's own is brought."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from budgeted.errors import UnpricedModelError
from budgeted.pricing.usage import Usage
from budgeted.validation import shown

CONTENT = ("messages", "input", "prompt", "contents")
"""What a model is given to read is called, by functions and in requests."""

CAPS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
"""What an output cap is called, by functions and in requests."""

ANY = -1
"""Any kind of tokens, until somebody has looked."""


class Spending(msgspec.Struct, frozen=True):
    """What a program may be told to spend at most, which then makes its requests itself; in micro-USD.

    Args:
        least: the least that is worth having.
        most: the most that a call is granted.
        floor: the least that is worth anything: no account, however small, grants less.
        named: whether the caller names the amount, as ``least``: it is granted whole or not at all, and what is held
            above it, up to ``most``, only covers what the program may spend beyond.
    """

    least: int
    most: int
    floor: int
    named: bool = False


class Request(msgspec.Struct):
    """What a provider module reads of an SDK's call.

    Args:
        provider: as genai-prices names it; "" if only the model's name tells.
        operation: as the OpenTelemetry conventions name it: ``chat``, ``text_completion``, ``embeddings``.
        model: the model asked for.
        body: the payload, from which the input is bounded.
        cap: the request's own output cap in tokens, or None.
        n: how many answers are asked for.
        units: how many units the price of a call is for, such as pictures.
        searches: how many searches the provider may make and bill each.
        fees: how many of what else it may bill each, by the names that :class:`budgeted.pricing.usage.Usage` has.
        audio_ms: at most how much sound it is sent, in milliseconds, where that may be billed by time.
        region: where it is to be served, if the request says so, as the provider names it.
        others: models that may answer instead, at prices of their own.
        known: what the call uses, where the request alone decides that and no answer says it.
        likely: what it probably uses, where no answer says it: charged as an estimate.
        thinking: thinking budget in tokens, part of the output.
        output: False if the call has no output tokens (embeddings).
        structured: True if a cut answer is worth nothing.
        cappable: False where no cap can be written into the request.
        tier: the service tier that the request names.
        base_url: where it goes, by which gateways are priced.
        kinds: which dearer tokens the call may use, bits of :mod:`budgeted.pricing.token_types`; ANY to have that seen
            in its body where the price depends on it.
        exact_bytes: False for tokenizers that normalise the text first.
        elsewhere: what of the input is not in the request (file ids, a previous response), or "".
        renamed: True if the host answers under another name for the same model.
        fixed: what the call costs at most, in nano-USD, where that is known without a model.
        unpriced: True for a tool's call, which has no model, where nobody has told what it costs.
        unseen: what is billed where no answer tells it, in the words of an error, or "": none of it can be metered.
        spending: what it may be told to spend, in place of an output cap: what is granted is of this then.
        instead: requests of which a router sends one in this one's place, or one after another; none if it goes as it
            is. What holds for it is enough for the dearest of them.
    """

    provider: str
    model: str
    body: Mapping[str, object]
    cap: int | None = None
    n: int = 1
    cappable: bool = True
    exact_bytes: bool = True
    operation: str = "chat"
    thinking: int = 0
    output: bool = True
    structured: bool = False
    tier: str | None = None
    base_url: str | None = None
    kinds: int = 0
    elsewhere: str = ""
    renamed: bool = False
    units: int = 1
    searches: int = 0
    fees: tuple[tuple[str, int], ...] = ()
    audio_ms: int = 0
    region: str = ""
    others: tuple[str, ...] = ()
    known: Usage | None = None
    likely: Usage | None = None
    fixed: int | None = None
    unpriced: bool = False
    unseen: str = ""
    spending: Spending | None = None
    instead: tuple[Request, ...] = ()

    @property
    def priced(self) -> bool:
        """Whether its bound is known without the price of its model."""
        return (self.fixed is not None or self.spending is not None) and not self.unpriced


def unpriced(request: Request, other: str = "") -> UnpricedModelError:
    """The refusal of a model, or a tool, that nobody priced.

    Args:
        request: what was asked.
        other: which of its other models it is; "" for the one that it is for.
    """
    if request.unpriced:
        tool = shown(request.model)
        return UnpricedModelError(
            f"no price is known for the tool {tool}, and a USD limit applies; it was not called. Tell its "
            f"price with budgeted.register_tool({tool}, per_call=...) in USD, 0 for a tool that is only "
            f'counted, or let what has no price pass with unpriced="free"'
        )
    where = f" of {request.provider}" if request.provider else ""
    model = shown(other or request.model)
    return UnpricedModelError(
        f"no price is known for model {model}{where}, and a USD limit applies; nothing was sent. Tell its "
        f"price with budgeted.register_price({model}, input=..., output=...) in USD per million tokens, "
        f'or let unpriced models pass with unpriced="free"'
    )
