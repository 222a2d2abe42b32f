"""Who pays for a web request, and what its answer's headers tell of it: what all middleware shares.

``user`` is the name of a header, or a callable of the request. A header is anybody's to write: what is no name is the
sender's mistake. A callable is the application's: whatever it does wrong is told in the log, and nothing is served.
"""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeAlias, TypeVar

from budgeted import api
from budgeted.errors import BudgetError
from budgeted.integrations.problem_answers import PayerError
from budgeted.manager.budget_manager import BudgetManager
from budgeted.manager.open_managers import check_stated
from budgeted.money import plain_usd
from budgeted.payers.block import Budget
from budgeted.payers.cap_text import CapLike, read_cap
from budgeted.payers.purpose_tags import Accounts, AskedTags, TagsOf
from budgeted.payers.scope import Scope, enter, leave
from budgeted.validation import check_user, refuse_amount, shown

T = TypeVar("T")

UserOf: TypeAlias = str | Callable[..., object]
"""The name of a header, or a callable that is given the request and returns a user's name, or something to await."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110's grammar of a header's name."""

_SECRETS = ("authorization", "cookie", "proxy-authorization")

_ABOUT_TRUST = "set by a proxy that you trust"


class RequestBlock(Budget):
    """The block of one request, which remembers the last refusal until the request is answered.

    Attributes:
        refusal: the last call's that was refused inside; None if none was.
    """

    __slots__ = ("refusal",)

    refusal: BudgetError | None

    def note_refusal(self, error: BudgetError) -> None:
        """A call inside was refused."""
        self.refusal = error


class RequestPayer:
    """Who pays for requests: the arguments of a middleware, checked.

    Args:
        user: the name of a header, or a callable.
        cap: what each request may spend, in USD or any unit; None for no cap.
        manager: whose accounts; None for the default one's, asked at each request.
        tags: what requests are for, as :class:`AskedTags` takes it: its callables are given the request, as that of
            ``user`` is.

    Raises:
        ValueError, TypeError: an argument makes no sense; the text quotes it and says what to write. Or what a file or
            variables state does, of which the default manager is to be made.
    """

    def __init__(
        self, user: UserOf, cap: CapLike | None, manager: BudgetManager | None, tags: TagsOf | None = None
    ) -> None:
        self.user = user if callable(user) else None
        self.header = "" if callable(user) else _header_name(user)
        read = None if cap is None else read_cap(cap)
        given: object = manager
        if given is not None and not isinstance(given, BudgetManager):
            msg = f"manager must be a BudgetManager, or left out for the default one; got {shown(manager)}"
            raise TypeError(msg)
        if manager is None:
            check_stated()
        self._cap, self._manager = read, manager
        self._tags = AskedTags(tags)

    @property
    def tags(self) -> Sequence[Callable[..., object]]:
        """The callables that are asked for the tags of a request; none where those of all requests are the same."""
        return self._tags.callables

    def block(self, user: str, tags: Accounts | None = None) -> RequestBlock:
        """A block for one request of a user.

        Args:
            user: the user.
            tags: the accounts of the request's tags; None where no request is looked at for them.

        Raises:
            PayerError: the default manager cannot be made as it is stated, or it has too many tags with these.
            BudgetError: its ledger cannot be opened.
        """
        payer, own = (self._manager or _default_manager()).payer, self._tags.accounts if tags is None else tags
        if own:
            with failing(self.tags or own, "tags"):
                payer.group.tag(own, payer.policy)
        block = RequestBlock(payer, user, self._cap, own)
        block.refusal = None
        return block

    def of_header(self, values: Sequence[bytes | str]) -> str:
        """The user that a header names, in UTF-8.

        Args:
            values: of all headers of that name, as bytes or, as WSGI has it, in Latin-1.

        Raises:
            PayerError: there is none, or more than one, or it holds no name.
        """
        if len(values) != 1:
            problem = "is missing" if not values else f"is there {len(values)} times"
            raise PayerError(400, f"the header {self.header!r}, which says who pays, {problem}; send one")
        try:
            value = values[0].encode("latin-1") if isinstance(values[0], str) else values[0]
            return _checked(value.decode().strip(" \t"))
        except ValueError as error:
            why = "it is not UTF-8" if isinstance(error, UnicodeError) else str(error).partition(";")[0]
            raise PayerError(400, f"the header {self.header!r}, which says who pays, holds no name: {why}") from None

    def asked(self, request: object) -> object:
        """What the callable says of a request: a name, or something to await.

        Raises:
            PayerError: it raised.
            BudgetError: it raised that.
        """
        assert self.user is not None  # noqa: S101 - or else there is a header
        with failing(self.user):
            return self.user(request)

    def asked_tags(self, request: object) -> object:
        """What the callables say of a request's tags: values, and things to await, for :meth:`tags_of`.

        Raises:
            PayerError: one raised.
            BudgetError: one raised that.
        """
        with failing(self.tags, "tags"):
            return self._tags.ask(request)

    def tags_of(self, told: object) -> Accounts:
        """The accounts of a request's tags.

        Raises:
            PayerError: a callable returned what is no value of a tag.
        """
        with failing(self.tags, "tags"):
            return self._tags.read(told)

    def of_callable(self, found: object) -> str:
        """The user that the callable named.

        Raises:
            PayerError: it named nobody, or returned something else.
        """
        if found is None:
            raise PayerError(400, "nothing in this request says who pays")
        try:
            return _checked(found)
        except (ValueError, TypeError) as error:
            told = f"user={shown(self.user)} returned no name: {error}"
            raise PayerError(500, "this application could not tell who pays; its log says why", told) from None


def _default_manager() -> BudgetManager:
    try:
        return api.get_manager()
    except BudgetError:
        raise
    except Exception as error:
        told = f"the default manager could not be made: {type(error).__name__}: {error}"
        raise PayerError(500, "this application could not tell who pays; its log says why", told) from error


def figures(block: RequestBlock) -> list[tuple[str, str]]:
    """The headers that tell what a request has spent so far, and what its user or cap has left, in USD.

    The ledger is asked for it, which may take a while.
    """
    found = [("budgeted-spent", plain_usd(block.spent))]
    left = [] if block.remaining is None else [block.remaining]
    # Whatever is wrong with the ledger: what was paid for is answered.
    with contextlib.suppress(Exception):
        front: object = block.payer.front
        if isinstance(front, BudgetManager):
            balance = front.balance(block.user)
            left += [] if balance.remaining is None else [balance.remaining]
    return found if not left else [*found, ("budgeted-remaining", plain_usd(min(left)))]


@contextlib.contextmanager
def failing(asked: object, name: str = "user") -> Iterator[None]:
    """Tell of a callable that raises, unless it refuses.

    Args:
        asked: the callable, or several.
        name: the argument of the middleware that it was given as.
    """
    try:
        yield
    except BudgetError:
        raise
    except Exception as error:
        told = f"{name}={shown(asked)} raised {type(error).__name__}: {shown(str(error))}"
        raise PayerError(500, "this application could not tell who pays; its log says why", told) from error


def run_inside(scope: Scope, step: Callable[[], T]) -> T:
    """Run a step inside a scope, which is current nowhere else: the next one may run in another thread."""
    try:
        enter(scope)
        return step()
    finally:
        leave(scope)


def check_status(status: object) -> int:
    """The status of an answer to what will pass after a while.

    Raises:
        ValueError, TypeError: it is none that tells of an error.
    """
    if isinstance(status, bool) or not isinstance(status, int):
        msg = f"status must be a number such as 429 or 503, got {shown(status)}"
        raise TypeError(msg)
    if not 400 <= status <= 599:
        msg = f"status must be from 400 to 599, such as 429 or 503, got {status}"
        raise ValueError(msg)
    return status


def check_headers(headers: object) -> bool:
    """Whether answers tell what was spent.

    Raises:
        TypeError: it is neither True nor False.
    """
    if not isinstance(headers, bool):
        msg = f"headers must be True or False, got {shown(headers)}"
        raise TypeError(msg)
    return headers


def check_application(app: object, kind: Literal["ASGI", "WSGI"]) -> None:
    """What a middleware goes around.

    Raises:
        TypeError: it is no application of that kind.
    """
    wanted, other = (3, 2) if kind == "ASGI" else (2, 3)
    if not callable(app):
        msg = f"BudgetMiddleware goes around a {kind} application, got {shown(app)}"
        raise TypeError(msg)
    if not _takes(app, wanted) and _takes(app, other):
        module = "wsgi" if kind == "ASGI" else "asgi"
        msg = f"{shown(app)} is no {kind} application; for it use budgeted.integrations.{module}.BudgetMiddleware"
        raise TypeError(msg)


def _takes(fn: Callable[..., object], count: int) -> bool:
    """Whether a function takes so many arguments, as far as can be told."""
    try:
        inspect.signature(fn).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # it has no signature
        return True
    return True


def _header_name(name: object) -> str:
    if not isinstance(name, str):
        msg = f"user must be a header's name, such as 'x-user', or a callable of the request; got {shown(name)}"
        raise TypeError(msg)
    if not _TOKEN.fullmatch(name) or name[0] == "$":
        msg = f"user={shown(name)} is no header's name; write one such as 'x-user', {_ABOUT_TRUST}, or a callable"
        raise ValueError(msg)
    if name.lower() in _SECRETS:
        msg = f"user={name!r} would keep secrets as users' names; write a callable that reads it and returns a name"
        raise ValueError(msg)
    return name.lower()


def _checked(found: object) -> str:
    refuse_amount(found, "BudgetMiddleware(cap={})")
    return check_user(found)
