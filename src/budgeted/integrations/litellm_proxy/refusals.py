"""A refusal as the proxy's clients get it: LiteLLM's own error of a budget, with which one and until when."""

from __future__ import annotations

import math
from typing import Any, Final

from budgeted.errors import BudgetError, BudgetExceededError, LedgerError, UnknownUserError, UnpricedModelError
from budgeted.integrations.problem_answers import LEDGER_SECONDS
from budgeted.payers.block import Budget
from budgeted.validation import shown

BUDGET_EXCEEDED: Final = "budget_exceeded"
"""The type of the error, as LiteLLM's own budgets have it."""

UNPROCESSABLE: Final = 422
"""LiteLLM's status for a budget that is exceeded: no client tries that again by itself."""


def as_proxy_error(error: BudgetError) -> Exception:
    """What the proxy's hook raises of a refusal: it is answered as it is.

    Args:
        error: why a call is refused.

    Returns:
        LiteLLM's ``ProxyException``. Its status is LiteLLM's own for a budget that is exceeded where trying again
        changes nothing, else 429, with ``retry-after``. Clients are told by ``x-should-retry`` as well.
    """
    from litellm.proxy._types import ProxyException

    status, headers = _answered(error)
    return ProxyException(
        message=str(error), type=_type(error), param=None, code=status, headers=headers, openai_code=_type(error)
    )


def as_http_error(error: BudgetError) -> Exception:
    """The same for the hook that may say what a failed call is answered: FastAPI's ``HTTPException``.

    Args:
        error: why a call, or one that LiteLLM made for it, was refused.
    """
    from fastapi import HTTPException

    status, headers = _answered(error)
    made: Any = HTTPException(status_code=status, detail=str(error), headers=headers)
    made.type = _type(error)
    return made  # type: ignore[no-any-return]


class MarkingBlock(Budget):
    """A block around all that is sent for one call of the proxy: refusals inside are not tried again by its router."""

    __slots__ = ()

    def note_refusal(self, error: BudgetError) -> None:
        """A request inside was refused."""
        mark(error)


def mark(error: BudgetError) -> None:
    """Give a refusal a status where LiteLLM looks for one: by it, it tells what to answer, and whether to try again.

    Args:
        error: it is raised as it is.
    """
    told: Any = error
    told.status_code, told.type = _answered(error)[0], _type(error)


def _type(error: BudgetError) -> str:
    return BUDGET_EXCEEDED if isinstance(error, BudgetExceededError) else "budget_refused"


def _answered(error: BudgetError) -> tuple[int, dict[str, str]]:
    """The status, and the headers that say whether it is any use to try again, and after how many seconds."""
    import litellm

    again, seconds = False, None
    status: int = UNPROCESSABLE
    if isinstance(error, BudgetExceededError):
        again, seconds = error.reason == "held", error.retry_after
        status = 429 if again else getattr(litellm, "budget_exceeded_status_code", UNPROCESSABLE)
    elif isinstance(error, LedgerError):
        again, seconds, status = True, LEDGER_SECONDS, 503
    elif isinstance(error, UnknownUserError):
        status = 403
    headers = {"x-should-retry": "true" if again else "false"}
    if seconds is not None:
        headers["retry-after"] = str(max(1, math.ceil(seconds)))
    return status, headers


def unseen(call_type: str) -> UnpricedModelError:
    """The refusal of what nobody here could see the cost of.

    Args:
        call_type: the proxy's name for the kind of route.
    """
    return UnpricedModelError(
        f"what is asked by {shown(call_type)} is billed where no hook can see it, so no budget can bound it; nothing "
        f'was sent. Let such calls pass, and be charged nothing, with unmetered="warn" in the proxy\'s settings'
    )


def bad_request(text: str) -> Exception:
    """What is answered to a request that no account could pay for as it is.

    Args:
        text: what is wrong with it.
    """
    from litellm.proxy._types import ProxyException

    return ProxyException(message=text, type="invalid_request_error", param=None, code=400)
