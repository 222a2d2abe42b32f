"""What a run of Claude Code may spend: what is held for it, and what the program is told of that.

The program looks at ``max_budget_usd`` after each answer, and stops when it is passed: by one request, for which a part
of what is held is not told. In a resumed session it counts from where that began.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from budgeted.errors import UnpricedModelError
from budgeted.metering.call import Call
from budgeted.money import nano_usd, to_usd
from budgeted.payers import swallowed_refusals
from budgeted.payers.payer_interface import Group
from budgeted.telemetry import call_reporting
from budgeted.wire.normalized_request import Request, Spending

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions

MICRO: Final = 1000
"""Nano-USD in a micro-USD, of which grants are made."""

USUAL: Final = Spending(least=200_000, most=10_000_000, floor=50_000)
"""What a program may spend that names no limit itself. 20 cents are worth having; for less than 5, not even the system
prompt and the tools of one request may fit; whoever wants more than 10 dollars says so in the options."""

_ONE_REQUEST: Final = 2_000_000
"""Micro-USD that the request which passes the limit may cost: 200,000 tokens into the cache and 32,000 of output, at
what Opus costs since 4.5."""

_ALIASES: Final = frozenset({"haiku", "opus", "sonnet"})

BY_TRANSPORT: Final = "goes by a transport of your own, which the limit in its options does not reach"
UNTOUCHED: Final = 'names no limit, and on_exceed="raise" changes no request'
CONNECTED_BEFORE: Final = "was connected without a limit, where no budget applied"


def request(options: ClaudeAgentOptions, spending: Spending) -> Request:
    """What a run asks for, as far as anybody knows before it."""
    model = options.model or "claude"
    return Request(
        provider="anthropic",
        operation="invoke_agent",
        model=f"claude-{model}" if model in _ALIASES else model,
        body={},
        output=False,
        elsewhere="what the program reads",
        spending=spending,
    )


def named_limit(options: ClaudeAgentOptions) -> int | None:
    """The limit that the options name, in nano-USD; None if they name none.

    Raises:
        TypeError, ValueError: it is no amount; the text quotes it.
    """
    given = options.extra_args.get("max-budget-usd")
    value = given if given is not None else options.max_budget_usd
    return None if value is None else nano_usd(value, "max_budget_usd")


def spending(limit: int | None, spent: int) -> Spending:
    """What is held for a run.

    Args:
        limit: what the program is told, in nano-USD; None if that is still to be granted.
        spent: what it counts as spent already.

    Returns:
        What may still be spent, whole, and as much as there is room for, for the request that passes the limit.
    """
    if limit is None:
        return USUAL
    micro = -(-(limit - spent) // MICRO) if limit > spent else USUAL.floor
    return Spending(micro, micro + min(_ONE_REQUEST, micro), micro, named=True)


ONE_MORE: Final = spending(0, 0)
"""What is held for a turn where the limit has been reached, or is held already: what passes it."""


def granted_limit(call: Call, spent: int) -> int:
    """What a program is told that it may spend, in nano-USD: what is held, less what one request may cost beyond."""
    return spent + (call.granted - min(_ONE_REQUEST, call.granted // 4)) * MICRO


def with_grant(options: ClaudeAgentOptions, call: Call, spent: int, *, reached: bool) -> ClaudeAgentOptions:
    """The options as the program gets them.

    Args:
        options: the caller's.
        call: which holds.
        spent: nano-USD that the program counts as spent already.
        reached: whether options reach the program, as they do by the SDK's own transport.

    Returns:
        A copy with what was granted, and the model if it is another; the caller's own where nothing is to be changed.

    Raises:
        UnpricedModelError: the program cannot be told what it may spend, and a limit in USD applies.
    """
    asked = call.request.spending
    if call.request.model != request(options, USUAL).model:
        options = replace(options, model=call.request.model)
    if not is_limited(call) or (reached and asked is not None and asked.named):
        return options
    if not reached:
        raise unbounded(call, BY_TRANSPORT)
    if call.whole:
        raise unbounded(call, UNTOUCHED)
    return replace(options, max_budget_usd=to_usd(granted_limit(call, spent)))


def is_limited(call: Call) -> bool:
    """Whether a limit in USD applies to a call, and is kept."""
    if any(block.limits_usd(call.request) and not block.soft for block in call.blocks):
        return True
    return any(_is_kept(group, call.request) for group in call.groups)


def _is_kept(group: Group, asked: Request) -> bool:
    plan = group.plans.get((asked.provider, asked.model))
    return (plan is None or plan.priced) and any(policy.on_exceed != "warn" for policy in group.policies)


def unbounded(call: Call, why: str) -> UnpricedModelError:
    """The refusal of a program that nothing keeps to what is held; it is counted and told here.

    Args:
        call: which holds, and is not sent.
        why: what the sentence about the agent goes on with.
    """
    error = UnpricedModelError(
        f"this agent {why}: nothing bounds what it may spend, and a USD limit applies; nothing was sent. Give it "
        f"ClaudeAgentOptions(max_budget_usd=USD) inside the budget, or hold for it by hand: `with "
        f"budgeted.hold(cost=USD) as held: ...; held.settle(result)`"
    )
    call_reporting.note_turned_away(call.request, call.groups, error, call.span)
    swallowed_refusals.note(call.blocks, error)
    return error
