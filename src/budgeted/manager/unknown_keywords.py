"""Refusing keywords that a function does not have, such as users of other packages bring, by naming ours."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])

ELSEWHERE = {
    "max_usd": "max_budget cap cost",
    "max_cost": "max_budget cap cost",
    "budget": "max_budget cap",
    "limit": "max_budget cap",
    "total_budget": "max_budget cap",
    "max_budget": "cap cost",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "messages": "input",
    "prompt": "input",
    "service_tier": "tier",
    "user_id": "user",
    "budget_duration": "duration",
    "reset": "duration",
    "period": "duration",
    "soft_budget": "alerts",
    "uncertain_output_tokens": "on_uncertain",
    "warn_at": "alerts",
    "path": "ledger",
    "storage": "ledger",
    "backend": "ledger",
    "redis_url": "ledger",
    "db": "ledger",
    "fallback_model": "fallback",
    "fallbacks": "fallback",
    "timeout": "wait",
    "tz": "timezone",
    "on_limit": "on_exceed",
    "hard": "on_exceed",
    "user_limits": "default_user_limits",
    "callback": "on_event",
    "webhook": "alerts_to",
    "webhooks": "alerts_to",
    "webhook_url": "alerts_to",
    "slack_webhook": "alerts_to",
    "slack_webhook_url": "alerts_to",
    "webhook_secret": "alerts_secret",
    "namespace": "project_name",
    "project": "project_name",
    "metadata": "tags",
    "labels": "tags",
    "tool_name": "tool",
}
"""What other packages call things, and what they are called here: the first that the function at hand has."""


_ALIKE = 0.65
"""How much of a name a mistyped one has in common with it; of less, as `tags` and `status` have, none was meant."""


def refuse_unknown(names: Iterable[str], fn: Callable[..., object]) -> None:
    """Refuse keywords that a function does not have, naming the one of its own that was probably meant.

    Raises:
        TypeError: there is such a name.
    """
    for name in names:
        known = sorted(inspect.signature(fn).parameters)
        meant = [ours for ours in ELSEWHERE.get(name, "").split() if ours in known]
        meant += difflib.get_close_matches(name, known, 1, cutoff=_ALIKE)
        hint = f"here it is called {meant[0]!r}" if meant else f"there are {', '.join(known)}"
        msg = f"unknown keyword {name!r}; {hint}"
        raise TypeError(msg)


def documented(fn: F) -> F:
    """Show the parameters that callers are meant to give, without those that take a bare function, or refuse."""
    signature = inspect.signature(fn)
    mine = [one for one in signature.parameters.values() if one.name not in {"target", "unknown"}]
    if "target" in signature.parameters:
        mine = [one.replace(kind=one.POSITIONAL_OR_KEYWORD) if one.name == "user" else one for one in mine]
    fn.__signature__ = signature.replace(parameters=mine)  # type: ignore[attr-defined]
    return fn
