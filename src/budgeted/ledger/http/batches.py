"""Verbs of calls that are sent together: the JSON that asks, what answers, and how a client comes to have several."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Protocol

import msgspec

from budgeted.ledger.combined_calls import Combiner
from budgeted.ledger.http.request_bodies import HoldBody, PostBody, ReleaseBody, SettleBody
from budgeted.ledger.http.verbs_as_json import Problem
from budgeted.ledger.memory.change_records import Held, HeldInParts

BATCH: Final = "batch"
"""Where they are sent, beside the verbs."""

MOST: Final = 64
"""Verbs that go together."""

AT_ONCE = 4
"""Requests that are under way at a time before verbs go together. More cost the server more; fewer have others wait for
an answer that is late."""

SINGLY_SECONDS = 60.0
"""How long a server that knows no batches, as it is older, is asked for one verb at a time."""

_UNKNOWN_OR_TOO_MUCH = (404, 405, 413, 422)
"""Statuses of a batch whose verbs may be answered well one by one."""


class BatchedVerb(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One verb of several: one of these.

    Args:
        hold: set a call's bound aside.
        settle: replace a hold by what the call cost.
        release: drop a hold.
        post: record a charge that no hold came before.
    """

    hold: HoldBody | None = None
    settle: SettleBody | None = None
    release: ReleaseBody | None = None
    post: PostBody | None = None

    def asked(self) -> tuple[str, HoldBody | SettleBody | ReleaseBody | PostBody]:
        """Which verb it is, and what that says.

        Raises:
            ValueError: there is none, or more than one.
        """
        given = [(name, body) for name in VERBS if (body := getattr(self, name)) is not None]
        if len(given) != 1:
            msg = f"each request of a batch is one of {', '.join(VERBS)}, got {len(given)}"
            raise ValueError(msg)
        return given[0]


VERBS: Final = BatchedVerb.__struct_fields__
"""Verbs that may go together: each is known by its id, so that repeating it does nothing."""


class BatchBody(msgspec.Struct):
    """Do several verbs, each for itself, in this order or at the same time.

    Args:
        requests: what to do.
    """

    requests: Annotated[tuple[BatchedVerb, ...], msgspec.Meta(min_length=1, max_length=MOST)]

    def apart(self) -> list[BatchBody]:
        """Each verb in a batch of its own."""
        return [BatchBody((one,)) for one in self.requests]


class BatchedAnswer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What became of one verb of several.

    Args:
        status: as that verb alone would be answered with.
        held: the hold, of a hold that was made.
        done: of the others: whether the hold is known, or the charge taken.
        error: what is wrong, where the status is from 400 on.
    """

    status: int
    held: Held | HeldInParts | None = None
    done: bool | None = None
    error: Problem | None = None


_answers = msgspec.json.Decoder(list[BatchedAnswer])


class Post(Protocol):
    """Sends a request to the server, as :meth:`~budgeted.ledger.http.connections.Channel.post` does."""

    def __call__(
        self, verb: str, body: bytes, deadline: float, *, lost: Callable[[], object] | None = None
    ) -> tuple[int, bytes]:
        """The status and the body of its answer."""


class _Asked:
    """A verb on its way."""

    __slots__ = ("body", "deadline", "lost", "sent", "thread", "verb")

    def __init__(self, verb: str, body: bytes, deadline: float, lost: Callable[[], object] | None) -> None:
        self.verb, self.body, self.deadline, self.lost = verb, body, deadline, lost
        self.thread = threading.get_ident()
        self.sent = False


class Batches:
    """Sends the verbs of many threads: at once while few are under way, else together with others.

    Args:
        post: sends a request.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        # What one thread's time was not enough for is sent again by the next one's.
        self._combiner: Combiner[_Asked, tuple[int, bytes] | BatchedAnswer] = Combiner(
            self._send, MOST, at_once=AT_ONCE, errors=()
        )
        self._singly_until = 0.0

    def ask(
        self, verb: str, body: bytes, deadline: float, lost: Callable[[], object] | None
    ) -> tuple[int, bytes] | BatchedAnswer:
        """What a verb is answered: a status and a body, or its part of what several were.

        Args:
            verb: one of :data:`VERBS`.
            body: its JSON.
            deadline: ``time.monotonic()`` by which there must be an answer.
            lost: called for an attempt that had no answer, though the server may have it, or get it after the next.

        Raises:
            TimeoutError: nothing answered in time.
            OSError: what the last attempt failed with.
        """
        if time.monotonic() < self._singly_until:
            return self._post(verb, body, deadline, lost=lost)
        return self._combiner.call(_Asked(verb, body, deadline, lost), deadline)

    def _send(self, asked: Sequence[_Asked]) -> Sequence[tuple[int, bytes] | BatchedAnswer | Exception]:
        for one in asked:
            if one.sent and one.lost is not None:  # by a thread that was struck, or whose time was up
                one.lost()
            one.sent = True
        if len(asked) == 1:
            (only,) = asked
            return [self._post(only.verb, only.body, only.deadline, lost=only.lost)]
        here = threading.get_ident()
        deadline = next((one.deadline for one in asked if one.thread == here), max(one.deadline for one in asked))
        lost = [one.lost for one in asked if one.lost is not None]
        body = b",".join(b'{"%s":%s}' % (one.verb.encode(), one.body) for one in asked)
        status, content = self._post(
            BATCH, b'{"requests":[%s]}' % body, deadline, lost=lambda: [of_one() for of_one in lost]
        )
        if status in _UNKNOWN_OR_TOO_MUCH:
            return self._send_singly(asked, status)
        if status != 200:
            return [(status, content)] * len(asked)
        try:
            answers = _answers.decode(content)
        except msgspec.DecodeError:
            return [(status, content)] * len(asked)  # which is no answer of any
        return answers if len(answers) == len(asked) else [(status, b"")] * len(asked)

    def _send_singly(self, asked: Sequence[_Asked], status: int) -> Sequence[tuple[int, bytes] | Exception]:
        if status != 422:  # else one of them says something that makes no sense
            self._singly_until = time.monotonic() + SINGLY_SECONDS
        answers: list[tuple[int, bytes] | Exception] = []
        for one in asked:
            try:
                answers.append(self._post(one.verb, one.body, one.deadline, lost=one.lost))
            except OSError as error:
                answers.append(error)
        return answers
