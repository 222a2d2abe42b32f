"""What can go wrong, as exceptions.

```
BudgetError
 ├─ BudgetExceededError     a limit has no room for this call; nothing was sent
 │   └─ BudgetStoppedError   somebody has stopped all spending of an account
 ├─ UnattributedCallError   a call outside every block, refused by ``unattributed="deny"``
 ├─ UnpricedModelError      no price is known for the model, and a USD limit applies
 ├─ UnknownUserError        (also a KeyError) a user without a budget, under ``unknown_users="deny"``
 ├─ CarrierError            (also a ValueError) what was to say who pays is forged, stale, damaged or of another project
 └─ LedgerError             the ledger cannot be used as asked
     ├─ LedgerUnavailableError   it cannot be reached or written; the call is refused
     ├─ LedgerLockedError        another process keeps its lock too long
     └─ LedgerCorruptError       its files are damaged, gone or older than they were; repair is explicit
```
"""

from __future__ import annotations

import datetime as dt
import math
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, TypedDict

from budgeted.money import NANO, to_usd
from budgeted.units import amount_text
from budgeted.validation import TAG

_DEEPEST = 100
"""Exceptions that are looked at for the refusal behind one of them."""


class BudgetError(Exception):
    """Everything this package raises on purpose, except plain ``ValueError`` and ``TypeError`` for bad arguments.

    OpenTelemetry writes the text of an exception that leaves a span on that span. What it gets to see names no user,
    unless ``metric_users`` says so.
    """

    _told: str | None = None
    """The text for telemetry, where that is another one."""

    def __str__(self) -> str:
        if self._told is not None and _asked_by_telemetry():
            return self._told
        return str(self.args[0]) if self.args else ""

    def _render_traceback_(self) -> list[str]:
        """How IPython shows it: with the user's line last, and nothing of what lies behind."""
        from budgeted import short_tracebacks

        return short_tracebacks.rendered(self)


def _asked_by_telemetry() -> bool:
    """Whether an exception's text is being asked for by OpenTelemetry, directly or to format a traceback."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - there is no other way to know who asks
    while frame is not None:
        asking: str = frame.f_globals.get("__name__", "")
        if asking not in (__name__, "traceback"):
            return asking.startswith("opentelemetry.")
        frame = frame.f_back
    return False


class Parts(TypedDict):
    """What a :class:`BudgetExceededError` is made of, as its constructor takes it."""

    account: str
    account_kind: str
    limit: str
    unit: str
    amount: int
    spent: int
    held: int
    requested: int
    reason: str
    retry_after: float | None
    resets_at: dt.datetime | None
    model: str | None
    max_output_tokens: int | None
    known_as: str | None
    asked: str


class BudgetExceededError(BudgetError):
    """A limit has no room for the call. It was raised before anything was sent; nothing was spent.

    It pickles, and what rebuilds an exception of its ``args``, such as Celery of a result in JSON, gets the same one.
    Rebuilt of its text alone it has that text, and for all else what says that nobody knows: "", None, and NaN.

    Attributes:
        account: the user's name, the block's key, ``"tag:NAME=VALUE"`` or ``"global"``.
        account_kind: ``"global"``, ``"user"``, ``"tag"`` or ``"block"``.
        limit: the limit in its own text, such as ``"$10/day"``.
        unit: ``"usd"``, ``"tokens"``, ``"calls"``, ``"input tokens"``, ``"output tokens"`` or ``"tool calls"``.
        spent, held, requested, remaining: in USD for a USD limit, else in tokens or calls.
        reason: ``"spent"`` (the money is gone), ``"held"`` (calls in flight hold the rest) or ``"repeated"`` (the
            same request was made in the block as often as its ``repeat_limit`` allows).
        retry_after: seconds until a retry can succeed, or None if only a higher limit helps.
        resets_at: when the limit's period ends (aware ``datetime``), or a rolling one has room for this call if nothing
            else is spent; or None.
        model: the model asked for.
        max_output_tokens: what would have fitted: the largest output cap this request could have had, or None.
        current_cost, max_budget: ``spent`` and the limit's amount, under the names LiteLLM gives them.
    """

    _known_as: str | None = None
    _asked = "this call"

    __slots__ = ("_unmade", "_unwritten")  # in no process but this one, and so not among what pickles

    def __init__(
        self,
        text: str | None = None,
        parts: object = None,
        /,
        *,
        account: str = "",
        account_kind: str = "",
        limit: str = "",
        unit: str = "usd",
        amount: int = 0,
        spent: int = 0,
        held: int = 0,
        requested: int = 0,
        reason: str = "",
        retry_after: float | None = None,
        resets_at: dt.datetime | None = None,
        model: str | None = None,
        max_output_tokens: int | None = None,
        known_as: str | None = None,
        asked: str = "",
    ) -> None:
        """Make one of its parts, which the class describes.

        Args:
            text: of one that is made anew, as ``args`` has it; else it is made of the parts.
            parts: likewise; anything else than ``args`` has there counts as nothing.
            account: the user's name, the block's key, ``"tag:NAME=VALUE"`` or ``"global"``.
            account_kind: ``"global"``, ``"user"``, ``"tag"`` or ``"block"``.
            limit: the limit in its own text.
            unit: what its amounts are in.
            amount: the limit's, in nano-USD, tokens or calls, as all that follow.
            spent: what was charged before.
            held: what calls in flight may still cost.
            requested: what this call may cost.
            reason: ``"spent"``, ``"held"`` or ``"repeated"``.
            retry_after: seconds until a retry can succeed.
            resets_at: when the limit's period ends.
            model: the model asked for.
            max_output_tokens: the largest output cap that would have fitted.
            known_as: the account's name in telemetry; "" for one that is not to be named there.
            asked: what does not fit, for the text, if it is no call.
        """
        if text is not None:
            self._made_anew(text, parts)
            return
        if asked:
            self._asked = asked
        self.account = account
        self.account_kind = account_kind
        self.limit = limit
        self.unit = unit
        self.spent = _public(spent, unit)
        self.held = _public(held, unit)
        self.requested = _public(requested, unit)
        self.remaining = _public(max(0, amount - spent - held), unit)
        self.reason = reason
        self.retry_after = retry_after
        self.resets_at = resets_at
        self.model = model
        self.max_output_tokens = max_output_tokens
        self.current_cost = self.spent
        self.max_budget = _public(amount, unit)
        if known_as is not None:
            self._known_as = known_as
        self._unwritten: tuple[int, int, int, int] | None = (amount, spent, held, requested)
        self._unmade: Callable[[], Parts] | None  # set by made_later() alone

    def _make(self) -> None:
        parts = getattr(self, "_unmade", None)
        if parts is not None:
            found = _found(self)
            given = dict(found)  # by whoever caught it, such as notes
            BudgetExceededError.__init__(self, **parts())
            found.update(given)
            self._unmade = None  # at last, as below

    if not TYPE_CHECKING:  # to type checkers, it has the attributes that its constructor sets, and no others

        def __getattr__(self, name: str) -> Any:
            if name in _PARTS and getattr(self, "_unmade", None) is not None:
                self._make()
                return _found(self)[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        self._make()
        return _found(self)

    def _write(self) -> None:
        """Write down what most who catch a refusal never ask for: its texts, and what it is made anew of elsewhere."""
        self._make()
        figures: tuple[int, int, int, int] | None = getattr(self, "_unwritten", None)
        if figures is None:
            return
        if self._known_as is not None:
            self._told = self._text(self._known_as, *figures)
        plain = {name: vars(self)[name] for name in (*_PARTS, *_FOR_STRANGERS) if name in vars(self)}
        plain["resets_at"] = None if self.resets_at is None else self.resets_at.isoformat()
        # JSON can tell all of it: where results travel so, an exception is made anew of what JSON has of its args.
        super().__init__(self._text(self.account, *figures), plain)
        self._unwritten = None  # at last: another thread may have come to it meanwhile

    @property
    def args(self) -> tuple[Any, ...]:
        """Its text, and its parts as JSON can tell them."""
        self._write()
        return BaseException.args.__get__(self)  # type: ignore[attr-defined,no-any-return]

    @args.setter
    def args(self, args: tuple[Any, ...]) -> None:
        self._make()
        self._unwritten = None
        BaseException.args.__set__(self, args)  # type: ignore[attr-defined]

    def __str__(self) -> str:
        self._write()
        return super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:
        self._write()
        return super().__reduce__()  # type: ignore[return-value]

    def _made_anew(self, text: str, parts: object) -> None:
        """Be another one again, of its text and parts."""
        found: dict[str, Any] = dict.fromkeys(_TEXTS, "") | dict.fromkeys(_FIGURES, math.nan) | dict.fromkeys(_PERHAPS)
        try:
            if isinstance(parts, Mapping):
                resets_at = parts["resets_at"] and dt.datetime.fromisoformat(parts["resets_at"])
                found = {**{name: parts[name] for name in found}, "resets_at": resets_at}
                found |= {name: parts[name] for name in _FOR_STRANGERS if name in parts}
        except (KeyError, TypeError, ValueError):  # of another version, or cut off: its text is what there is
            pass
        vars(self).update(found)
        super().__init__(*((text,) if parts is None else (text, parts)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def _who(self, account: str) -> str:
        """Which account it is, by the name that is given for it."""
        if self.account_kind == "global":
            return "the global budget"
        if not account:
            return f"a {self.account_kind}"
        if self.account_kind == "tag":
            return f"the tag {account.removeprefix(TAG)!r}"
        return f"{self.account_kind} {account!r}"

    def _text(self, account: str, amount: int, spent: int, held: int, requested: int) -> str:
        who = self._who(account)
        for_model = f" for {self.model}" if self.model else ""
        if self.reason == "repeated":
            return (
                f"{who} has had this very request{for_model} {spent} times, and {self.limit}; it was not sent again. "
                f"If it is no loop, raise repeat_limit to go on"
            )
        text = (
            f"{who} has {_show(max(0, amount - spent - held), self.unit, up=False)} left of {self.limit}, and "
            f"{self._asked}{for_model} may need {_show(requested, self.unit)} "
            f"(spent {_show(spent, self.unit)}, held by calls in flight {_show(held, self.unit)})"
        )
        if self.max_output_tokens:
            text += f"; it would fit with an output cap of {self.max_output_tokens} tokens"
        if self.reason == "held":
            return text + "; it may fit when calls in flight have ended"
        if self.resets_at is not None:
            what = "it would fit" if self.rolls else "the limit resets"
            return text + f"; {what} at {self.resets_at.isoformat()}"
        return text + "; raise the limit to go on"

    def without_figures(self, who: str) -> str:
        """That there is no room, and until when, for those who are not to know what others have spent.

        Args:
            who: whose limit it is, in words.
        """
        text = f"there is no room for this request in {self.limit} of {who}"
        if self.requested > self.max_budget:
            return text + ", which it needs more than all of"
        if self.reason == "held":
            return text + "; there may be when others that are being served have ended"
        if self.resets_at is not None:
            return text + f"; {'there is room at' if self.rolls else 'it resets at'} {self.resets_at.isoformat()}"
        return text

    @property
    def rolls(self) -> bool:
        """Whether the limit is a rolling one: by ``resets_at`` some of it is free again, and the rest later."""
        return "/rolling " in self.limit  # which no model's name can be the cause of: there is no blank in any

    @property
    def known_as(self) -> str:
        """The account's name where strangers read it: a user's only where ``metric_users`` tells it, else ""."""
        return self.account if self.account_kind == "global" else self._known_as or ""


def made_later(parts: Callable[[], Parts]) -> BudgetExceededError:
    """An error whose parts are worked out when somebody looks at it: most who catch a refusal do not.

    Args:
        parts: returns what the constructor takes, the same each time.
    """
    error = BudgetExceededError.__new__(BudgetExceededError)
    error._unmade = parts  # noqa: SLF001 - its own
    return error


def _found(error: BudgetExceededError) -> dict[str, Any]:
    """The attributes that an error has by now."""
    found: dict[str, Any] = BaseException.__dict__["__dict__"].__get__(error)
    return found


_TEXTS = ("account", "account_kind", "limit", "unit", "reason")
_FIGURES = ("spent", "held", "requested", "remaining", "current_cost", "max_budget")
_PERHAPS = ("retry_after", "resets_at", "model", "max_output_tokens")
_PARTS = (*_TEXTS, *_FIGURES, *_PERHAPS)
_FOR_STRANGERS = ("_known_as", "_told", "why")


class BudgetStoppedError(BudgetExceededError):
    """Somebody has stopped all spending of an account, with :meth:`BudgetManager.stop`; nothing was sent.

    Its figures are nothing, its ``limit`` is "", and its ``reason`` is ``"stopped"``.

    Attributes:
        why: what whoever stopped it gave as the reason.
    """

    why = ""

    def __init__(
        self,
        text: str | None = None,
        parts: object = None,
        /,
        *,
        why: str = "",
        account: str = "",
        account_kind: str = "",
        known_as: str | None = None,
    ) -> None:
        """Make one.

        Args:
            text: as :class:`BudgetExceededError` takes it.
            parts: likewise.
            why: what whoever stopped it gave as the reason.
            account: what is stopped.
            account_kind: of what kind that is.
            known_as: its name in telemetry; "" for one that is not to be named there.
        """
        if text is None:
            self.why = why
        super().__init__(text, parts, account=account, account_kind=account_kind, reason="stopped", known_as=known_as)

    def _text(self, account: str, amount: int, spent: int, held: int, requested: int) -> str:  # noqa: ARG002 - as there
        again = "resume()"
        if self.account_kind != "global":
            name = f"key:{account}" if self.account_kind == "block" else account
            again = f"resume({name!r})" if account else "resume(...)"
        why = f": {self.why}" if self.why else ""
        who = self._who(account)
        return f"{who} is stopped, and nothing is sent{why}; manager.{again} or `budgeted resume` lets it go on"


def _public(amount: int, unit: str) -> float:
    return to_usd(amount) if unit == "usd" else amount


def _show(amount: int, unit: str, *, up: bool = True) -> str:
    # To a hundredth of a cent, what is left rounded down; exact figures are in the attributes.
    step = NANO // 10_000
    if unit == "usd" and amount >= step:
        amount = (-(-amount // step) if up else amount // step) * step
    return amount_text(amount, unit)


class UnattributedCallError(BudgetError):
    """A call was made outside every block while ``unattributed="deny"``; nothing was sent."""


class UnpricedModelError(BudgetError):
    """No price is known for the model, and a USD limit applies; nothing was sent. See :func:`register_price`."""


class UnknownUserError(BudgetError, KeyError):
    """The user has no budget, or none is allowed without one (``unknown_users="deny"``)."""

    _told = "the user has no budget"


class CarrierError(BudgetError, ValueError):
    """What came along to say who pays cannot be trusted or used: forged, stale, damaged or of another project.

    The text quotes its beginning and says what to do. Nobody pays by it, and nothing was entered. See :func:`extract`.
    """


class LedgerError(BudgetError):
    """The ledger cannot be used as asked: a directory that is a file, another format, a conflicting id.

    Attributes:
        closed: whether that is because this process has closed it.
    """

    closed = False


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be reached, read or written. Calls are refused unless ``on_ledger_error="allow"``."""


class LedgerLockedError(LedgerUnavailableError):
    """Another process has kept the ledger's lock too long; the text names its pid."""


class LedgerCorruptError(LedgerError):
    """The ledger is damaged, gone or less than what was acknowledged; the text says where, and what is missing.

    Nothing is changed until it is repaired: see :meth:`BudgetManager.repair`.
    """


def refusal_behind(error: BaseException | None) -> BudgetError | None:
    """The refusal that an exception is, comes of or holds; None if it has nothing to do with any."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _DEEPEST:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        if isinstance(one, BudgetError):
            return one
        seen.add(id(one))
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
        # Libraries wrap what they did not expect, with `from` and without.
        waiting.append(one.__cause__ if one.__suppress_context__ else one.__cause__ or one.__context__)
    return None
