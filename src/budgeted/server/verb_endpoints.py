"""The verbs of a ledger, as its clients ask for them over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from budgeted.errors import LedgerError
from budgeted.ledger.http import request_bodies, verbs_as_json
from budgeted.server.endpoint import Endpoint, EndpointOf
from budgeted.server.error_responses import Refusal
from budgeted.server.ledger_per_project import Project
from budgeted.server.verb_examples import EXAMPLES


def _hold(project: Project, body: request_bodies.HoldBody) -> object:
    project.clients.hold(body.id.partition(".")[0])
    answer = verbs_as_json.VERBS["hold"].run(project.ledger, body)
    if body.id in project.given_up:
        project.ledger.release(body.id, body.at)
        msg = f"hold {body.id!r} was given up by its client before the server came to it; nothing is held"
        raise LedgerError(msg)
    return answer


def _release(project: Project, body: request_bodies.ReleaseBody) -> bool:
    # Before the ledger is asked: a hold that comes at the same time is found by this release, or finds itself here.
    project.given_up.add(body.id)
    known = project.ledger.release(body.id, body.at)
    if known:
        project.given_up.discard(body.id)
    return known


def _renew(project: Project, body: request_bodies.RenewBody) -> None:
    project.clients.renew(body.owner, body.seconds)


_HERE: dict[str, Callable[[Project, Any], object]] = {"hold": _hold, "release": _release, "renew": _renew}
"""Verbs that tell which clients live, and which holds they have given up."""


_BRIEF = frozenset(("hold", "settle", "release", "post", "ended", "read", "renew"))
"""Verbs of calls, which look at a few accounts and at nothing besides."""


def _verb(name: str, verb: verbs_as_json.Verb) -> Endpoint:
    done: Callable[[Project, Any], object] = _HERE.get(name, lambda project, body: verb.run(project.ledger, body))

    def run(project: Project, body: request_bodies.VerbBody) -> object:
        if not verbs_as_json.knows_opening(project.ledger, body):
            msg = "the ledger was opened again since; see what of yours it knows, and name this opening then"
            raise Refusal(409, verbs_as_json.OTHER_OPENING, msg)
        return done(project, body)

    return EndpointOf(
        method="POST",
        path=f"/v1/ledger/{name}",
        title=verb.about,
        example=EXAMPLES[name],
        answer=verb.answer,
        run=run,
        changes=verb.changes,
        repeatable=verb.repeatable,
        brief=name in _BRIEF,
        makes=verb.changes and name != "sweep",
    )


VERBS: tuple[Endpoint, ...] = tuple(_verb(name, verb) for name, verb in verbs_as_json.VERBS.items())
