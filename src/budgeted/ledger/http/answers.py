"""What the answer to a verb means: what it asked for, a refusal, or an error."""

from __future__ import annotations

from typing import Any

import msgspec

from budgeted import errors
from budgeted.errors import LedgerError
from budgeted.ledger.acknowledged_verbs import WentBackError
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import STALE, Stale
from budgeted.ledger.http import verbs_as_json
from budgeted.ledger.http.batches import BatchedAnswer

_decoders = {name: msgspec.json.Decoder(verb.answer) for name, verb in verbs_as_json.VERBS.items()}
_problem = msgspec.json.Decoder(verbs_as_json.ProblemBody)
_ERRORS = {
    one.__name__: one
    for one in (LedgerError, errors.LedgerUnavailableError, errors.LedgerLockedError, errors.LedgerCorruptError)
}


def meaning(verb: str, status: int, content: bytes, where: str) -> Any:
    """What a verb was answered.

    Args:
        verb: that was asked for.
        status: HTTP's, of the answer.
        content: the body of the answer.
        where: the server's name, for errors.

    Raises:
        WentBackError: the ledger was opened again since. Nothing was done.
        LedgerError: the server's own, or no server of this package answers.
    """
    try:
        return (
            _decoders[verb].decode(content) if status == 200 else _meant(status, _problem.decode(content).error, where)
        )
    except msgspec.DecodeError:
        msg = (
            f"{where} answered {verb!r} with status {status} and something that no `budgeted serve` sends; is it one, "
            f"and of this version?"
        )
        raise LedgerError(msg) from None


def meaning_of_batched(answer: BatchedAnswer, where: str) -> Any:
    """What a verb was answered that was asked for together with others.

    Args:
        answer: its own.
        where: as :func:`meaning`.

    Raises:
        WentBackError, LedgerError: as :func:`meaning`.
    """
    if answer.error is not None:
        return _meant(answer.status, answer.error, where)
    return answer.done if answer.held is None else answer.held


def _meant(status: int, problem: verbs_as_json.Problem, where: str) -> Refused | Stale:
    """The answer that a status from 400 on means, or the error."""
    if problem.refused is not None:
        return problem.refused
    if problem.type == Stale.__name__:
        return STALE
    if problem.type == verbs_as_json.OTHER_OPENING:
        raise WentBackError
    message = problem.message
    if status in (401, 403):
        message = f"the ledger at {where} refuses: {message}"
    raise _ERRORS.get(problem.type, LedgerError)(message)
