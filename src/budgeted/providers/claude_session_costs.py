"""What each turn of a session of Claude Code has cost, by the running totals that its results tell.

A result's ``total_cost_usd`` and ``model_usage`` run on over all turns of a session, and over its resumption and forks,
in which they begin where the resumed one has ended; ``usage`` is that of the turn
(https://docs.claude.com/en/api/agent-sdk/cost-tracking, and measured with Claude Code 2.1.332).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from budgeted.ledger.spending_records import Used
from budgeted.money import nano_usd

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ResultMessage

NOT_TOLD: Final = "the result does not say what it cost"
RESUMED: Final = "a resumed session tells what it has cost since it began, and this process has not seen all of that"
ABORTED: Final = "it was interrupted, and nobody tells what the interrupted request cost"

MOST_SESSIONS = 10_000
"""Sessions whose totals are kept in mind, for when they are resumed."""

_totals: dict[str, Used] = {}

_INPUT: Final = ("inputTokens", "cacheReadInputTokens", "cacheCreationInputTokens")
_INPUT_OF_TURN: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class Turn(msgspec.Struct, frozen=True):
    """What one turn has cost.

    Args:
        used: that, as far as it is known.
        reason: why it is not known for sure, or "".
        at_most: whether it is ``used`` at most, where it is not known for sure; else it is that at least.
        failed: whether the result tells of an error.
    """

    used: Used
    reason: str = ""
    at_most: bool = False
    failed: bool = False


def together(turns: Sequence[Turn]) -> Turn:
    """Several turns as one."""
    return Turn(
        Used(
            sum(turn.used.usd for turn in turns),
            sum(turn.used.input_tokens for turn in turns),
            sum(turn.used.output_tokens for turn in turns),
        ),
        next((turn.reason for turn in turns if turn.reason), ""),
        at_most=any(turn.at_most for turn in turns),
        failed=all(turn.failed for turn in turns),
    )


class Session:
    """One run of the program: what it has told so far.

    Args:
        options: with which it is started.

    Attributes:
        before: its running total where the turn to come begins; None if nobody here knows that.
    """

    def __init__(self, options: ClaudeAgentOptions) -> None:
        self._resumed = bool(options.resume or options.continue_conversation)
        self.before = _totals.get(options.resume or "") if self._resumed else Used()

    @property
    def spent(self) -> int:
        """Nano-USD that the program counts as spent already, as far as that is known."""
        return self.before.usd if self.before is not None else 0

    def begin_anew(self) -> None:
        """Its conversation was cleared, and its totals with it."""
        self._resumed, self.before = False, Used()

    def turn(self, result: ResultMessage) -> Turn:
        """What the turn has cost that ends with a result.

        Args:
            result: which becomes the one where the next turn begins.
        """
        total = _total(result)
        if total is None:
            return Turn(Used(), NOT_TOLD, failed=result.is_error)
        before, reason = self._before(result, total)
        self._resumed, self.before = False, total
        _remember(result.session_id, total)
        used = Used(
            total.usd - before.usd,
            max(total.input_tokens - before.input_tokens, 0),
            max(total.output_tokens - before.output_tokens, 0),
        )
        if reason:
            return Turn(used, reason, at_most=True, failed=result.is_error)
        aborted = (getattr(result, "terminal_reason", None) or "").startswith("aborted")  # not in every version
        return Turn(used, ABORTED if aborted else "", failed=result.is_error)

    def _before(self, result: ResultMessage, total: Used) -> tuple[Used, str]:
        """Where this turn's total began, and why that is not known for sure, or ""."""
        before = self.before if self.before is not None else _totals.get(result.session_id)
        if not self._resumed:
            return (before if before is not None and before.usd <= total.usd else Used()), ""
        own = _of_turn(result)
        if before is not None and before.usd <= total.usd and _tokens(total) - _tokens(before) >= own:
            return before, ""
        # Else it has not begun where the earlier one has ended, as with an older program, or without its files.
        anew = _tokens(total) == own or (before is not None and _tokens(total) > 0)
        return Used(), "" if anew else RESUMED


def is_reset(message: object) -> bool:
    """Whether a message tells that the conversation was cleared. Not every version of the SDK has its class."""
    return type(message).__name__ == "ConversationResetMessage"


def _total(result: ResultMessage) -> Used | None:
    """The running totals that a result tells; None if it tells none."""
    usd = result.total_cost_usd
    try:
        # A sum of floats: what adding them up has left behind the picodollar would be rounded up to a nanodollar.
        nano = nano_usd(round(usd, 12) if isinstance(usd, float) else usd, "total_cost_usd")
    except (TypeError, ValueError):
        return None
    models = (getattr(result, "model_usage", None) or {}).values()  # not in every version
    return Used(nano, sum(_sum(one, _INPUT) for one in models), sum(_sum(one, ("outputTokens",)) for one in models))


def _of_turn(result: ResultMessage) -> int:
    """The tokens of a turn by itself, without those of helping models."""
    return _sum(result.usage or {}, (*_INPUT_OF_TURN, "output_tokens"))


def _tokens(used: Used) -> int:
    return used.input_tokens + used.output_tokens


def _sum(counts: Mapping[str, object], names: tuple[str, ...]) -> int:
    found = (counts.get(name) for name in names)
    return sum(count for count in found if isinstance(count, int) and count > 0)


def _remember(session: str, total: Used) -> None:
    if len(_totals) >= MOST_SESSIONS and session not in _totals:
        _totals.pop(next(iter(_totals)), None)
    _totals[session] = total
