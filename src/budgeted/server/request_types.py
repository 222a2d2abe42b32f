"""What people and LiteLLM's client may ask, as JSON or as a query; each field is described once, here."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec

from budgeted.ledger.http import request_bodies
from budgeted.manager.reports import BY

PLAIN = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]"
"""What the names of users, keys and projects consist of: anything that is no control character."""

NAME = {"minLength": 1, "maxLength": 256, "pattern": f"^{PLAIN}+{request_bodies.END}"}
"""What a user and a project may be called, for the description. Where it is checked, errors have better words."""

Name: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema=NAME)]
Day: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]
Grouping: TypeAlias = Annotated[
    str,
    msgspec.Meta(extra_json_schema={"pattern": f"^({'|'.join(BY)}|tag:((?!=){PLAIN})+){request_bodies.END}"}),
]


class Nothing(msgspec.Struct):
    """Nothing needs to be said."""


class User(msgspec.Struct):
    """A user, or none for the global account.

    Args:
        user: the name; null, or left out, for the global account, which every call is charged to.
    """

    user: Name | None = None


class Page(msgspec.Struct):
    """A page of names.

    Args:
        prefix: what they begin with.
        after: the name that was last on the page before; null for the first page.
        count: how many there may be on a page.
    """

    prefix: str = ""
    after: str | None = None
    count: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000


class ReportQuery(msgspec.Struct):
    """What a report is of.

    Args:
        by: what is summed up, such as `user` or `tag:feature`.
        since: the first day, as in `2026-03-01`; null for all that is known.
        until: the last day; null for until now.
    """

    by: Grouping = "user"
    since: Day | None = None
    until: Day | None = None


class LimitsOf(msgspec.Struct):
    """The limits of a user, or of the global account.

    Args:
        limits: as text, such as `$10/day` or `60 calls/minute`; none to take all away.
        user: the name; null for the global account.
    """

    limits: list[str]
    user: Name | None = None


class Reconcile(msgspec.Struct):
    """What a charge really cost: one of both.

    Args:
        id: of the charge, as `/v1/uncertain` has it.
        cost: USD, as a number or as text.
        usage: tokens by kind, such as `{"input_tokens": 1200, "output_tokens": 350}`; they are priced here.
    """

    id: str
    cost: float | str | None = None
    usage: dict[str, int] | None = None


class TopUp(msgspec.Struct):
    """How much more may be spent until the limit's period ends.

    Args:
        amount: USD, or text such as `20 calls`.
        user: the name; null for the global account.
    """

    amount: float | str
    user: Name | None = None


class Stop(msgspec.Struct):
    """Whose calls are refused from now on, and why.

    Args:
        user: the name; null for all calls.
        reason: what refused callers are told.
    """

    user: Name | None = None
    reason: str = ""


class Assign(msgspec.Struct):
    """To which team a user belongs.

    Args:
        user: the name.
        team: the account that pays whatever the user pays, such as `team:search`; null for none any more.
    """

    user: Name
    team: Name | None = None


class ProjectName(msgspec.Struct):
    """A project, as LiteLLM names it.

    Args:
        project_name: the namespace in the ledger.
    """

    project_name: Name


class UserDict(msgspec.Struct):
    """Every user's record, as LiteLLM keeps them.

    Args:
        project_name: the namespace in the ledger.
        user_dict: records by user: `total_budget` and `current_cost` in USD, `duration` in days, `model_cost` in USD.
    """

    project_name: Name
    user_dict: dict[str, Any]


class Status(msgspec.Struct, omit_defaults=True):
    """LiteLLM's answer.

    Args:
        status: `success` or `error`.
        data: records by user, amounts in USD.
        message: what is wrong.
    """

    status: str
    data: dict[str, dict[str, Any]] | None = None
    message: str | None = None
