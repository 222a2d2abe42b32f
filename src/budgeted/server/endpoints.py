"""What the server offers: each endpoint with its types, from which it is routed, checked and documented."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec

from budgeted.ledger.http import request_bodies, verbs_as_json
from budgeted.manager.balances import AccountInfo, Balance, UncertainCharge
from budgeted.manager.reports import BY
from budgeted.manager.spending_report import ReportRow
from budgeted.pricing.usage import Usage
from budgeted.server.error_responses import Refusal
from budgeted.server.ledger_per_project import Project

PLAIN = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"
"""What the names of users, keys and projects consist of: anything that is no control character."""

NAME = {"minLength": 1, "maxLength": 256, "pattern": f"^{PLAIN}+{request_bodies.END}"}
"""What a user and a project may be called, for the description. Where it is checked, errors have better words."""

Asked = TypeVar("Asked", bound=msgspec.Struct)
"""What an endpoint is asked."""

Name: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema=NAME)]
Day: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]
Grouping: TypeAlias = Annotated[
    str,
    msgspec.Meta(extra_json_schema={"pattern": f"^({'|'.join(BY)}|tag:((?!=){PLAIN})+){request_bodies.END}"}),
]


class User(msgspec.Struct):
    """A user, or none for the global account."""

    user: Name | None = None


class Page(msgspec.Struct):
    """Names that begin with ``prefix``, behind the one that was last on the page before."""

    prefix: str = ""
    after: str | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000


class ReportQuery(msgspec.Struct):
    """``by`` is what is summed up, such as ``user`` or ``tag:feature``; from ``since`` to ``until``, both ISO dates."""

    by: Grouping = "user"
    since: Day | None = None
    until: Day | None = None


class LimitsOf(msgspec.Struct):
    """The limits of a user, or of the global account, as text such as ``$10/day``."""

    limits: list[str]
    user: Name | None = None


class Reconcile(msgspec.Struct):
    """What a charge really cost: USD, as a number or as text, or the tokens used."""

    id: str
    cost: float | str | None = None
    usage: dict[str, int] | None = None


class TopUp(msgspec.Struct):
    """How much more may be spent until the limit's period ends: USD, or text such as ``20 calls``."""

    amount: float | str
    user: Name | None = None


class Stop(msgspec.Struct):
    """Whose calls are refused from now on, or all calls, and why."""

    user: Name | None = None
    reason: str = ""


class Assign(msgspec.Struct):
    """To which team a user belongs; none for to nobody any more."""

    user: Name
    team: Name | None = None


class ProjectName(msgspec.Struct):
    """A project, as LiteLLM names it."""

    project_name: Name


class UserDict(msgspec.Struct):
    """Every user's record, as LiteLLM keeps them."""

    project_name: Name
    user_dict: dict[str, Any]


class Status(msgspec.Struct, omit_defaults=True):
    """LiteLLM's answer: ``success`` or ``error``."""

    status: str
    data: dict[str, dict[str, Any]] | None = None
    message: str | None = None


class EndpointOf(NamedTuple, Generic[Asked]):
    """One endpoint.

    Args:
        method: HTTP's.
        path: where it is.
        about: what it does, for the description.
        asks: the type of its JSON body, or for GET and DELETE of its query.
        answer: the type of what it answers.
        changes: whether it takes a token that may write.
        run: does what is asked.
        repeatable: False if it must not be done twice, so that a request is known by its key.
    """

    method: str
    path: str
    about: str
    asks: type[Asked]
    answer: object
    changes: bool
    run: Callable[[Project, Asked], object]
    repeatable: bool = True
    makes: bool | None = None
    """Whether a project that is not there is made for it; None: if it changes anything."""
    project: Callable[[Asked], str] | None = None
    """Where the body names the project; None where the query does."""

    @property
    def makes_project(self) -> bool:
        """Whether a project that is not there is made for it."""
        return self.changes if self.makes is None else self.makes

    @property
    def has_body(self) -> bool:
        """Whether its argument is the request's body."""
        return self.method in ("POST", "PUT")


Endpoint: TypeAlias = EndpointOf[Any]
"""An endpoint, whatever it is asked: it is given what was read as its own type."""


def _set_limits(project: Project, body: LimitsOf) -> list[Balance]:
    project.books.set_limits(body.user, *body.limits)
    return project.books.balances(body.user)


def _reset(project: Project, body: User) -> list[Balance]:
    project.books.reset_cost(body.user)
    return project.books.balances(body.user)


def _delete(project: Project, query: User) -> None:
    if query.user is None:
        msg = "user is missing: the global account can be reset, not deleted"
        raise ValueError(msg)
    project.books.delete_user(query.user)


def _reconcile(project: Project, body: Reconcile) -> None:
    usage = None if body.usage is None else msgspec.convert(body.usage, Usage)
    project.books.reconcile(body.id, cost=body.cost, usage=usage)


def _top_up(project: Project, body: TopUp) -> list[Balance]:
    project.books.top_up(body.user, body.amount)
    return project.books.balances(body.user)


def _get_budget(project: Project, body: ProjectName) -> Status:
    found = project.books.user_dict
    if not found:
        return Status("error", message=f"nothing is known of the project {body.project_name!r} yet")
    return Status("success", found)


def _set_budget(project: Project, body: UserDict) -> Status:
    project.books.take_over(body.user_dict)
    return Status("success")


def _hold(project: Project, body: request_bodies.HoldBody) -> object:
    project.clients.hold(body.id.partition(".")[0])
    return verbs_as_json.VERBS["hold"].run(project.ledger, body)


def _renew(project: Project, body: request_bodies.RenewBody) -> None:
    project.clients.renew(body.owner, body.seconds)


_HERE: dict[str, Callable[[Project, Any], object]] = {"hold": _hold, "renew": _renew}
"""Verbs that tell which clients live."""


def _verb(name: str, verb: verbs_as_json.Verb) -> Endpoint:
    done: Callable[[Project, Any], object] = _HERE.get(name, lambda project, body: verb.run(project.ledger, body))

    def run(project: Project, body: request_bodies.VerbBody) -> object:
        if not verbs_as_json.knows_opening(project.ledger, body):
            msg = "the ledger was opened again since; see what of yours it knows, and name this opening then"
            raise Refusal(409, verbs_as_json.OTHER_OPENING, msg)
        return done(project, body)

    path, makes = f"/v1/ledger/{name}", verb.changes and name != "sweep"
    return Endpoint(
        "POST", path, verb.about, verb.body, verb.answer, verb.changes, run, repeatable=verb.repeatable, makes=makes
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        "GET",
        "/v1/accounts",
        "Users in the order of their names, a page at a time, with the balance of each limit",
        Page,
        list[AccountInfo],
        False,
        lambda project, query: project.books.accounts(query.prefix, query.after, query.count),
    ),
    Endpoint(
        "GET",
        "/v1/balances",
        "The balance of every limit of a user, or of the global account",
        User,
        list[Balance],
        False,
        lambda project, query: project.books.balances(query.user),
    ),
    Endpoint(
        "GET",
        "/v1/report",
        "What was spent, by user, model, provider, day, tool, key, account, or the values of a tag",
        ReportQuery,
        dict[str, ReportRow],
        False,
        lambda project, query: project.books.report(query.by, query.since, query.until),
    ),
    Endpoint(
        "GET",
        "/v1/uncertain",
        "Charges that nobody confirmed",
        msgspec.defstruct("NoQuery", []),
        list[UncertainCharge],
        False,
        lambda project, _: project.books.uncertain(),
    ),
    Endpoint(
        "PUT",
        "/v1/limits",
        "Give a user, or the global account, these limits instead of those it has; what was spent stays",
        LimitsOf,
        list[Balance],
        True,
        _set_limits,
    ),
    Endpoint("POST", "/v1/reset", "Set what was spent back to zero", User, list[Balance], True, _reset, False),
    Endpoint(
        "DELETE",
        "/v1/accounts",
        "Forget a user's limits and balance; what it was charged stays in the reports",
        User,
        None,
        True,
        _delete,
        False,
    ),
    Endpoint("POST", "/v1/reconcile", "Replace the figure of a charge", Reconcile, None, True, _reconcile, False),
    Endpoint(
        "POST",
        "/v1/top-up",
        "Let a user, or all together, spend so much more until the limit's period ends",
        TopUp,
        list[Balance],
        True,
        _top_up,
        False,
    ),
    Endpoint(
        "POST",
        "/v1/stop",
        "Refuse every call of a user, or all calls, at once and in all processes; calls in flight end as they would",
        Stop,
        None,
        True,
        lambda project, body: project.books.stop(body.user, body.reason),
    ),
    Endpoint(
        "POST",
        "/v1/resume",
        "Let calls go on that were stopped",
        User,
        None,
        True,
        lambda project, body: project.books.resume(body.user),
    ),
    Endpoint(
        "POST",
        "/v1/assign",
        "Have a user belong to a team, which then pays for the user's calls, too",
        Assign,
        None,
        True,
        lambda project, body: project.books.assign(body.user, body.team),
    ),
    Endpoint(
        "POST",
        "/get_budget",
        "Every user's record, as LiteLLM's hosted client asks for them",
        ProjectName,
        Status,
        False,
        _get_budget,
        project=lambda body: body.project_name,
    ),
    Endpoint(
        "POST",
        "/set_budget",
        "Have users agree with their records, as LiteLLM's hosted client sends them; absent ones are left alone",
        UserDict,
        Status,
        True,
        _set_budget,
        project=lambda body: body.project_name,
    ),
    *(_verb(name, verb) for name, verb in verbs_as_json.VERBS.items()),
)
