"""The verbs of a ledger, as its clients ask for them over HTTP."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

from budgeted.errors import BudgetError, LedgerError
from budgeted.ledger.http import batches, request_bodies, verbs_as_json
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.sliced.slices import SlicedCall
from budgeted.server.endpoint import Endpoint, EndpointOf
from budgeted.server.error_responses import FAILED, Refusal, problem_of, problem_of_answer
from budgeted.server.ledger_per_project import Project
from budgeted.server.verb_examples import BATCH, EXAMPLES

logger = logging.getLogger("budgeted")


def _hold(project: Project, body: request_bodies.HoldBody) -> object:
    project.clients.hold(body.id.partition(".")[0])
    answer = verbs_as_json.VERBS["hold"].run(project.ledger, body)
    if body.id in project.given_up:
        project.ledger.release(body.id, body.at)
        msg = f"hold {body.id!r} was given up by its client before the server came to it; nothing is held"
        raise LedgerError(msg)
    return answer.record if isinstance(answer, SlicedCall) else answer


def _release(project: Project, body: request_bodies.ReleaseBody) -> bool:
    # Before the ledger is asked: a hold that comes at the same time is found by this release, or finds itself here.
    project.given_up.add(body.id)
    known = project.ledger.release(body.id, body.at)
    if known:
        project.given_up.discard(body.id)
    return known


def _batch(project: Project, body: batches.BatchBody) -> list[batches.BatchedAnswer]:
    return [_answered(project, one) for one in body.requests]


def _answered(project: Project, one: batches.BatchedVerb) -> batches.BatchedAnswer:
    """Do one verb of several. Whatever becomes of it is its own: others were done before it, or are still to be."""
    try:
        name, body = one.asked()
        found = _done(name, project, body)
        refused = problem_of_answer(found)
        if refused is not None:
            return batches.BatchedAnswer(status=refused[0], error=refused[1])
    except (Refusal, BudgetError, ValueError, TypeError, OverflowError) as error:
        status, problem = problem_of(error)
        return batches.BatchedAnswer(status=status, error=problem)
    except Exception as error:
        logger.exception("budgeted: a verb of a batch failed")
        return batches.BatchedAnswer(status=500, error=verbs_as_json.Problem(type(error).__name__, FAILED))
    if isinstance(found, bool):
        return batches.BatchedAnswer(status=200, done=found)
    assert isinstance(found, Held)  # noqa: S101 - no other verb answers anything else
    return batches.BatchedAnswer(status=200, held=found)


def _renew(project: Project, body: request_bodies.RenewBody) -> None:
    project.clients.renew(body.owner, body.seconds)


_HERE: dict[str, Callable[[Project, Any], object]] = {"hold": _hold, "release": _release, "renew": _renew}
"""Verbs that tell which clients live, and which holds they have given up."""


_BRIEF = frozenset(("hold", "settle", "release", "post", "ended", "read", "renew"))
"""Verbs of calls, which look at a few accounts and at nothing besides."""


def _done(name: str, project: Project, body: request_bodies.VerbBody) -> object:
    """Do a verb, if who asks knows how the ledger was opened."""
    if not verbs_as_json.knows_opening(project.ledger, body):
        msg = "the ledger was opened again since; see what of yours it knows, and name this opening then"
        raise Refusal(409, verbs_as_json.OTHER_OPENING, msg)
    here = _HERE.get(name)
    return here(project, body) if here is not None else verbs_as_json.VERBS[name].run(project.ledger, body)


def _verb(name: str, verb: verbs_as_json.Verb) -> Endpoint:
    return EndpointOf(
        method="POST",
        path=f"/v1/ledger/{name}",
        title=verb.about,
        example=EXAMPLES[name],
        answer=verb.answer,
        run=functools.partial(_done, name),
        changes=verb.changes,
        repeatable=verb.repeatable,
        brief=name in _BRIEF,
        makes=verb.changes and name != "sweep",
    )


_SEVERAL = EndpointOf(
    method="POST",
    path=f"/v1/ledger/{batches.BATCH}",
    title="Do several verbs of calls, each for itself",
    about="Each has the status and the answer that it would have alone, whatever becomes of the others.",
    example=BATCH,
    answer=list[batches.BatchedAnswer],
    run=_batch,
    changes=True,
    brief=True,
)

VERBS: tuple[Endpoint, ...] = (*(_verb(name, verb) for name, verb in verbs_as_json.VERBS.items()), _SEVERAL)
"""The verbs, and several of them at once."""
