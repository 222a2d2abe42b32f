"""The protocol of LiteLLM's hosted budgets, as its ``BudgetManager`` speaks it."""

from __future__ import annotations

from budgeted.server.endpoint import Endpoint, EndpointOf
from budgeted.server.ledger_per_project import Project
from budgeted.server.request_types import ProjectName, Status, UserDict


def _get_budget(project: Project, body: ProjectName) -> Status:
    found = project.books.user_dict
    if not found:
        return Status("error", message=f"nothing is known of the project {body.project_name!r} yet")
    return Status("success", found)


def _set_budget(project: Project, body: UserDict) -> Status:
    project.books.take_over(body.user_dict)
    return Status("success")


LITELLM: tuple[Endpoint, ...] = (
    EndpointOf(
        method="POST",
        path="/get_budget",
        title="Every user's record",
        about="As LiteLLM's hosted client asks for them.",
        example=ProjectName("default"),
        answer=Status,
        run=_get_budget,
        project=lambda body: body.project_name,
    ),
    EndpointOf(
        method="POST",
        path="/set_budget",
        title="Have users agree with their records",
        about="As LiteLLM's hosted client sends them; users without one are left alone.",
        example=UserDict("default", {"alice": {"total_budget": 10.0, "duration": 1, "current_cost": 1.25}}),
        answer=Status,
        run=_set_budget,
        changes=True,
        project=lambda body: body.project_name,
    ),
)
