"""The ledger behind ``budgeted serve``: each verb one request, repeated until it is answered or out of time."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.accounts import Account, Amendment, LimitSpec
from budgeted.ledger.acknowledged_verbs import WentBackError
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Route, Stale
from budgeted.ledger.http import answers, batches, request_bodies, restarted_server, verbs_as_json
from budgeted.ledger.http.connections import Channel, new_key
from budgeted.ledger.http.server_address import Address, token_from_environment
from budgeted.ledger.memory.change_records import Amended, Change, Deleted, Held, LimitsSet, Released, Settled
from budgeted.ledger.network_ledger import READING_SECONDS, REPAIR_SECONDS, RemoteLedger, Standing
from budgeted.ledger.spending_records import Charge, RollupRow, UncertainPage, Used
from budgeted.ledger.whole_content import Content

_encode = msgspec.json.Encoder().encode

_NOT_FOUND = 404

MOST_OPENINGS = 16
"""Openings of the ledger that are known at a time: of the servers behind one address, each has its own."""


_NEWER = frozenset(("spent_most", "uncertain_page"))
"""Verbs that older servers do not know, and that others stand in for."""


class _UnknownVerbError(Exception):
    """The server is older than the verb. It is nobody's to see."""


class HTTPLedger(RemoteLedger):
    """The ledger of one project on a server of this package.

    TLS certificates are verified. The token is taken from the URL (``https://TOKEN@host``), else from
    ``BUDGETED_TOKEN``; no error shows it. A request without an answer is repeated within the deadline; that does no
    harm, as a hold's id tells the server what it has done already.

    Args:
        url: ``https://host[:port][/path]``; ``http://`` for this machine itself, or with ``?allow_http=1``.
        project: the namespace on the server.

    Raises:
        LedgerError: the URL cannot be read, or the HTTP library is missing.
    """

    def __init__(self, url: str, project: str) -> None:
        address = Address(url)
        token = address.token or token_from_environment()
        headers = {"content-type": "application/json"}
        if token:
            if not (token.isascii() and token.isprintable()) or " " in token:
                msg = "the token holds characters that no token has; copy it again into BUDGETED_TOKEN"
                raise LedgerError(msg)
            headers["authorization"] = f"Bearer {token}"
        self._channel = Channel(f"{address.base}/v1/ledger/", headers)
        self._batches = batches.Batches(self._post)
        self._query = f"?project={quote(project, safe='')}"
        super().__init__(address.where, self._channel.errors, [token or ""])
        self.place = address.base + self._query

    def _begin(self) -> None:
        super()._begin()
        self._openings: tuple[str, ...] = ()
        self._found: tuple[str, int | None] = "", None
        self._earlier: tuple[str, ...] = ()
        self._overtaken = False
        self._done = itertools.count(1)

    def _forked(self) -> None:
        self._channel.forget()
        super()._forked()

    def _disconnect(self) -> None:
        self._channel.close()

    # -- the life of a hold

    def hold(self, id: str, route: Route, ask: Ask, at: int, timeout: float | None = None) -> Held | Refused | Stale:
        """Set the call's upper bound aside on every account of its route, or on none."""
        body = request_bodies.HoldBody(id, request_bodies.RouteBody.of(route), ask, at)
        lost: list[str] = []  # its id, for each attempt without an answer

        def ask_for(deadline: float) -> Held | Refused | Stale:
            answer: Held | Refused | Stale = self._request("hold", body, deadline, lambda: lost.append(id))
            return answer

        with self._given_back(id, at), self._verb(timeout) as deadline:
            self._check_in(deadline)
            answer = self._in_step(lambda: ask_for(deadline), deadline)
        if isinstance(answer, Held):
            self._keep(answer, body)
        elif lost and isinstance(answer, Refused):  # the server may come to an earlier attempt when there is room again
            self._doubt(id, at)
        return answer

    def settle(self, id: str, used: Used, at: int, reason: str = "", timeout: float | None = None) -> bool:
        """Replace a hold by what the call cost. With a ``reason`` the charge is uncertain and stays listed."""
        body = request_bodies.SettleBody(id, used, at, reason)
        known: bool = self._ask("settle", body, timeout)
        if known:
            now = next(self._done)
            self._told.charged(now - 1, now, id, used, at, reason, None)
            self._look_again_if_overtaken(body)
        self.turns.wake_all()
        return known

    def release(self, id: str, at: int, timeout: float | None = None) -> bool:
        """Drop a hold: nothing was spent."""
        body = request_bodies.ReleaseBody(id, at)
        known: bool = self._ask("release", body, timeout)
        self._keep(Released(id), body)
        self.turns.wake_all()
        return known

    def post(
        self, id: str, route: Route, used: Used, at: int, reason: str = "", timeout: float | None = None
    ) -> bool | Stale:
        """Record a charge that no hold came before. Never refused."""
        body = request_bodies.PostBody(id, request_bodies.RouteBody.of(route), used, at, reason)
        answer: bool | Stale = self._ask("post", body, timeout)
        if answer is True:
            now = next(self._done)
            self._told.charged(now - 1, now, id, used, at, reason, route.raw)
            self._look_again_if_overtaken(body)
        return answer

    def ended(self, id: str) -> Charge | None:
        """What became of a hold, if it has ended lately or is uncertain."""
        answer: Charge | None = self._ask("ended", request_bodies.ChargeBody(id))
        return answer

    def correct(self, id: str, used: Used, at: int) -> Charge | None:
        """Replace the figure of a charge. Returns what it was before, or None if it is not known (any more)."""
        body = request_bodies.CorrectBody(id, used, at)
        answer: Charge | None = self._ask("correct", body)
        self._keep(Settled(id, at, used) if answer else None, body)
        return answer

    # -- accounts

    def read(self, account: str) -> Account | None:
        """A copy of an account, or None."""
        body = request_bodies.AccountBody(account)
        answer: Account | None = self._ask("read", body)
        if answer is not None:
            self._keep(None, body)  # who has seen limits has them to lose
            self._told.read(answer)
        return answer

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Give an account these limits; a limit it has keeps its spend. ``create`` leaves an existing account alone."""
        body = request_bodies.LimitsBody(account, tuple(limits), explicit, create)
        self._ask("set_limits", body)
        if not create:
            self._keep(LimitsSet(account, explicit, tuple(limits)), body)
        self.read(account)  # in which version it has them now
        self.turns.wake_all()

    def reset(self, account: str, at: int) -> None:
        """Forget what an account has spent; open holds stay."""
        self._ask("reset", request_bodies.ResetBody(account, at))
        self.turns.wake_all()

    def set_periods(self, account: str, limits: Sequence[LimitSpec]) -> int:
        """Put limits of an account that have begun a later period back into these. Returns how many there were."""
        later: int = self._ask("set_periods", request_bodies.PeriodsBody(account, tuple(limits)))
        self.turns.wake_all()
        return later

    def amend(self, account: str, change: Amendment) -> bool:
        """Change something of an account besides its limits. Returns False where nothing was changed."""
        body = request_bodies.AmendBody(account, change)
        done: bool = self._ask("amend", body)
        if done:
            self._keep(Amended(account, change), body)
            self.read(account)  # in which version it is that now
        self.turns.wake_all()
        return done

    def delete(self, account: str) -> None:
        """Forget an account and its limits. What it was charged stays in the reports."""
        body = request_bodies.AccountBody(account)
        self._ask("delete", body)
        self._keep(Deleted(account), body)
        self.turns.wake_all()

    def restore(
        self, accounts: Sequence[Account], rows: Sequence[RollupRow], charges: Sequence[tuple[Charge, Route]]
    ) -> None:
        """Take over accounts, report rows and uncertain charges of another ledger, as they are; nothing is counted."""
        sent = tuple((charge, request_bodies.RouteBody.of(route)) for charge, route in charges)
        self._ask("restore", request_bodies.RestoreBody(tuple(accounts), tuple(rows), sent))
        self.turns.wake_all()

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[Account]:
        """Accounts in order of their ids: those with a prefix, behind ``after``, at most ``count``."""
        answer: list[Account] = self._ask("accounts", request_bodies.PageBody(prefix, after, count))
        return answer

    def rollups(self, since: int = 0, account: str | None = None) -> list[RollupRow]:
        """The report's rows from a day on, of one account or of all."""
        answer: list[RollupRow] = self._ask("rollups", request_bodies.SinceBody(since, account))
        return answer

    def spent_most(self, day: int, count: int) -> list[str]:
        """The users that were charged most on a day, the dearest first."""
        body = request_bodies.SpentMostBody(day=day, count=count)
        try:
            answer: list[str] = self._ask("spent_most", body, READING_SECONDS)
        except _UnknownVerbError:
            return super().spent_most(day, count)
        return answer

    def uncertain(self) -> list[Charge]:
        """Charges that nobody confirmed, oldest first."""
        answer: list[Charge] = self._ask("uncertain", request_bodies.NothingBody())
        return answer

    def uncertain_page(self, account: str | None = None, first: int = 0, count: int = 50) -> UncertainPage:
        """Some of them, of an account or of all, from the one with a number on, and what all of these come to."""
        try:
            answer: UncertainPage = self._ask(
                "uncertain_page", request_bodies.UncertainBody(account=account, first=first, count=count)
            )
        except _UnknownVerbError:  # an older server, which lists them all
            return super().uncertain_page(account, first, count)
        return answer

    def open_holds(self) -> list[Held]:
        """The holds of calls in flight, of all processes."""
        answer: list[Held] = self._ask("open_holds", request_bodies.NothingBody())
        return answer

    def everything(self) -> Content:
        """All that it knows, as it is at one instant, though calls go on."""
        answer: Content = self._ask("everything", request_bodies.NothingBody(), READING_SECONDS)
        return answer

    # -- the lease

    def _renew_by(self, owner: str, seconds: float, deadline: float) -> None:
        body = request_bodies.RenewBody(owner, seconds)
        self._in_step(lambda: self._request("renew", body, deadline), deadline)

    def sweep(self) -> int:
        """Have the server charge the holds that nobody ends. Returns how many there were."""
        now, timeout = self._server_time(), min(self.hold_timeout, request_bodies.LONGEST)
        swept: int = self._ask("sweep", request_bodies.SweepBody(timeout, None if now is None else int(now)))
        if swept:
            self.turns.wake_all()
        return swept

    # -- a server that was started again

    def _keep(self, change: Change | None, body: request_bodies.VerbBody) -> None:
        """Keep in mind what was done."""
        # The server counts nothing: where its ledger goes back while it runs, that says so.
        now = next(self._done)
        self._told.answered(now - 1, now, change)
        self._look_again_if_overtaken(body)

    def _look_again_if_overtaken(self, body: request_bodies.VerbBody) -> None:
        """Have the next verb look at the server once more, if another thread has since this one was sent.

        The answer came of the server as it was before, and what it acknowledged was not known to the thread that looked
        at what the new one lacks.
        """
        if body.openings is not self._openings:
            self._overtaken = True

    def repair(self) -> int:
        """Have the server write back what it knows, then what this process knows: limits, charges and open holds.

        Returns:
            How much they had to write; 0 if nothing was lacking.
        """
        with self._verb(REPAIR_SECONDS) as deadline:
            done: int = self._exchange("repair", request_bodies.NothingBody(), deadline)
        return done + super().repair()

    def _standing(self, deadline: float) -> Standing:
        opening = self._opening(deadline)
        before, count = self._found
        if opening in self._openings and not self._overtaken:
            count = self._told.sent()
        elif self._overtaken or opening != before or count is None:
            # Both before it is looked: whatever is acknowledged from here on finds that it was overtaken.
            self._overtaken = False
            self._earlier, self._openings = self._openings or self._earlier, ()
            count = restarted_server.done_before(lambda verb, body: self._exchange(verb, body, deadline), self._told)
        self._found = opening, count
        return Standing(count)

    def _post_again(self, deadline: float, *, repair: bool = False) -> int:
        # However short a verb's own time is: until this is done, none is.
        deadline = max(deadline, time.monotonic() + REPAIR_SECONDS)
        if repair:
            self._earlier, self._openings, self._found = (), (), ("", None)
        try:
            done = super()._post_again(deadline, repair=repair)
        except LedgerCorruptError:
            raise  # what was found stays found, and is not looked for again
        except LedgerError:
            self._found = "", None
            raise
        opening, _ = self._found
        if opening not in self._openings:
            self._openings = (*(one for one in self._earlier[-MOST_OPENINGS + 1 :] if one != opening), opening)
        return done

    def _write_limits_back(self, deadline: float, *, gone: bool) -> int:  # noqa: ARG002 - a server knows no more
        return restarted_server.write_limits_back(lambda verb, body: self._exchange(verb, body, deadline), self._told)

    def _do_again(self, change: Change, deadline: float) -> int:
        restarted_server.do_again(lambda verb, body: self._exchange(verb, body, deadline), change)
        return next(self._done)

    def _opening(self, deadline: float) -> str:
        status, content = self._post("opening", b"{}", deadline)
        if status == _NOT_FOUND:  # an older server, which has none
            return "none"
        return str(answers.meaning("opening", status, content, self.where))

    # -- one request

    def _ask(self, verb: str, body: request_bodies.VerbBody, timeout: float | None = None) -> Any:
        with self._verb(timeout) as deadline:
            return self._in_step(lambda: self._request(verb, body, deadline), deadline)

    def _request(
        self, verb: str, body: request_bodies.VerbBody, deadline: float, lost: Callable[[], object] | None = None
    ) -> Any:
        """Ask for a verb, of the ledger as it was opened when it was last looked at.

        Raises:
            WentBackError: it was opened again since. Nothing was done.
        """
        done = self._told.sent()
        self._told.seen(done, done)
        if done and (self._overtaken or not self._openings):
            raise WentBackError
        body.openings = self._openings
        return self._exchange(verb, body, deadline, lost)

    def _exchange(
        self, verb: str, body: msgspec.Struct, deadline: float, lost: Callable[[], object] | None = None
    ) -> Any:
        if verb in batches.VERBS:
            answer = self._batches.ask(verb, _encode(body), deadline, lost)
            if isinstance(answer, batches.BatchedAnswer):
                return answers.meaning_of_batched(answer, self.where)
            return answers.meaning(verb, *answer, self.where)
        # A repeated hold or charge is known by its id; what has none gets a key.
        once = None if verbs_as_json.VERBS[verb].repeatable else new_key()
        status, content = self._post(verb, _encode(body), deadline, once=once)
        try:
            return answers.meaning(verb, status, content, self.where)
        except LedgerError as error:
            if status == _NOT_FOUND and verb in _NEWER:
                raise _UnknownVerbError from error
            raise

    def _post(
        self,
        verb: str,
        body: bytes,
        deadline: float,
        *,
        once: str | None = None,
        lost: Callable[[], object] | None = None,
    ) -> tuple[int, bytes]:
        return self._channel.post(verb + self._query, body, deadline, once=once, lost=lost)
