"""What the server offers to people and their scripts: limits, balances, reports and what goes on, in USD."""

from __future__ import annotations

import bisect

import msgspec

from budgeted.manager.activity import Activity
from budgeted.manager.balances import AccountInfo, Balance, UncertainCharge
from budgeted.manager.project_status import ProjectStatus, project_status
from budgeted.manager.spending_report import ReportRow
from budgeted.pricing.usage import Usage
from budgeted.server.endpoint import Endpoint, EndpointOf
from budgeted.server.ledger_per_project import Project, Projects
from budgeted.server.request_types import (
    Assign,
    LimitsOf,
    Nothing,
    Page,
    Reconcile,
    ReportQuery,
    Stop,
    TopUp,
    User,
)


def _projects(projects: Projects, page: Page) -> list[str]:
    names = [name for name in projects.all_names() if name.startswith(page.prefix)]
    first = 0 if page.after is None else bisect.bisect_right(names, page.after)
    return names[first : first + page.count]


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


LOOKING: tuple[Endpoint, ...] = (
    EndpointOf(
        method="GET",
        path="/v1/projects",
        title="List projects",
        about="In the order of their names, a page at a time. 409 where the ledger cannot tell which there are.",
        example=Page(),
        answer=list[str],
        of_server=_projects,
    ),
    EndpointOf(
        method="GET",
        path="/v1/status",
        title="How a project stands",
        about="What is left of each limit and when it ends, whose is nearly used up, what was spent today.",
        example=Nothing(),
        answer=ProjectStatus,
        run=lambda project, _: project_status(project.books),
    ),
    EndpointOf(
        method="GET",
        path="/v1/activity",
        title="What goes on",
        about="Calls in flight, calls that wait and who asks, and the last that were refused and why: of all processes "
        "that share the ledger. They tell of it every few seconds.",
        example=Nothing(),
        answer=Activity,
        run=lambda project, _: project.books.activity(),
    ),
    EndpointOf(
        method="GET",
        path="/v1/accounts",
        title="List users",
        about="In the order of their names, a page at a time, with the balance of each limit.",
        example=Page(prefix="al"),
        answer=list[AccountInfo],
        run=lambda project, query: project.books.accounts(query.prefix, query.after, query.count),
    ),
    EndpointOf(
        method="GET",
        path="/v1/balances",
        title="What is left of limits",
        about="The balance of every limit of a user, or of the global account.",
        example=User("alice"),
        answer=list[Balance],
        run=lambda project, query: project.books.balances(query.user),
    ),
    EndpointOf(
        method="GET",
        path="/v1/report",
        title="What was spent",
        about="By user, model, provider, day, tool, key, account, or the values of a tag.",
        example=ReportQuery(by="model", since="2026-03-01"),
        answer=dict[str, ReportRow],
        run=lambda project, query: project.books.report(query.by, query.since, query.until),
    ),
    EndpointOf(
        method="GET",
        path="/v1/uncertain",
        title="Charges that nobody confirmed",
        example=Nothing(),
        answer=list[UncertainCharge],
        run=lambda project, _: project.books.uncertain(),
    ),
)

CHANGING: tuple[Endpoint, ...] = (
    EndpointOf(
        method="PUT",
        path="/v1/limits",
        title="Set limits",
        about="A user, or the global account, has these limits instead of those it had; what was spent stays.",
        example=LimitsOf(["$8/day", "60 calls/minute"], "alice"),
        answer=list[Balance],
        run=_set_limits,
        changes=True,
    ),
    EndpointOf(
        method="POST",
        path="/v1/top-up",
        title="Top up",
        about="A user, or all together, may spend so much more until the limit's period ends.",
        example=TopUp("2.50", "alice"),
        answer=list[Balance],
        run=_top_up,
        changes=True,
        repeatable=False,
        unknown_user=True,
    ),
    EndpointOf(
        method="POST",
        path="/v1/stop",
        title="Stop calls",
        about="Every call of a user, or every call, is refused at once and in all processes; calls in flight end as "
        "they would.",
        example=Stop("alice", "her key has leaked"),
        answer=None,
        run=lambda project, body: project.books.stop(body.user, body.reason),
        changes=True,
    ),
    EndpointOf(
        method="POST",
        path="/v1/resume",
        title="Let calls go on that were stopped",
        example=User("alice"),
        answer=None,
        run=lambda project, body: project.books.resume(body.user),
        changes=True,
    ),
    EndpointOf(
        method="POST",
        path="/v1/assign",
        title="Assign a user to a team",
        about="The team then pays for the user's calls, too.",
        example=Assign("alice", "team:search"),
        answer=None,
        run=lambda project, body: project.books.assign(body.user, body.team),
        changes=True,
    ),
    EndpointOf(
        method="POST",
        path="/v1/reconcile",
        title="Replace the figure of a charge",
        example=Reconcile("worker1.3", "0.0182"),
        answer=None,
        run=_reconcile,
        changes=True,
        repeatable=False,
    ),
    EndpointOf(
        method="POST",
        path="/v1/reset",
        title="Set what was spent back to zero",
        about="Calls in flight keep what they hold.",
        example=User("alice"),
        answer=list[Balance],
        run=_reset,
        changes=True,
        repeatable=False,
        unknown_user=True,
    ),
    EndpointOf(
        method="DELETE",
        path="/v1/accounts",
        title="Forget a user",
        about="The limits and the balance; what was charged stays in the reports.",
        example=User("alice"),
        answer=None,
        run=_delete,
        changes=True,
        repeatable=False,
        unknown_user=True,
    ),
)
