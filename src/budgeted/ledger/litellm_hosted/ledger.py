"""Budgets kept by LiteLLM's hosted protocol: one dictionary, read at the start and written whole."""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import account_name
from budgeted.ledger.http.connections import Channel
from budgeted.ledger.http.server_address import Address
from budgeted.ledger.interface import is_closed
from budgeted.ledger.litellm_hosted import user_dict
from budgeted.ledger.memory.change_records import Held, Record, Released
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.weak_registry import WeakRegistry
from budgeted.money import format_usd

logger = logging.getLogger("budgeted")

DEADLINE = 5.0
"""Seconds within which the server must have answered."""


class _Answer(msgspec.Struct):
    status: str
    data: dict[str, Any] | None = None


class HostedLedger(MemoryLedger):
    """Balances in memory, which every change sends to a server that speaks LiteLLM's protocol.

    The protocol has one verb to read everything, and one to replace everything: two writers would undo each other's
    charges. So there must be one process that writes, and a forked child may not. What is sent twice a second, on
    :meth:`flush` and on :meth:`close`, can be lost by ``kill -9``. Users alone are kept, each with its first budget in
    USD, which neither rolls nor keeps anything there: not reports, other limits, uncertain charges, or the global
    account, which begins with what its users have spent. ``ledger="https://..."`` has none of these restrictions.

    Args:
        api_base: where ``/get_budget`` and ``/set_budget`` are.
        headers: sent with every request, such as ``{"Authorization": "Bearer ..."}``.
        project: the project's name there.
        tz: the time zone whose calendar counts.
        clock: unix seconds.

    Raises:
        LedgerError: the URL cannot be read, or what the server sent.
        LedgerUnavailableError: it did not answer.
    """

    def __init__(
        self, api_base: str, headers: Mapping[str, str], project: str, tz: dt.tzinfo, clock: Callable[[], float]
    ) -> None:
        address = Address(api_base)
        if address.token:
            headers = {"authorization": f"Bearer {address.token}", **headers}
        self._channel = Channel(address.base, {"content-type": "application/json", **headers})
        self._where = address.where
        self.place = f"{address.base} {project}"
        self._project = project
        self._tz = tz
        self._changed = self._forked = False
        self._sent: dict[str, int] = {}
        self._saving = threading.Lock()
        super().__init__(kept=True)
        self.clock = clock
        self._load()
        _ledgers.add(self)

    def __repr__(self) -> str:
        return f"HostedLedger({self._where!r})"

    def _begin(self) -> None:
        self._forked = hasattr(self, "turns")  # there was a beginning before, in the parent
        self._changed = False
        # A new lock: the old one may be held by a thread that only the parent has.
        self._saving = threading.Lock()
        self._channel.forget()
        super()._begin()

    # -- the protocol

    def _load(self) -> None:
        answer = self._ask("/get_budget", {"project_name": self._project})
        if answer.status == "success" and answer.data:
            try:
                records = user_dict.read(answer.data)
            except (TypeError, ValueError) as error:
                msg = f"what {self._where} keeps for {self._project!r} cannot be read: {error}"
                raise LedgerError(msg) from error
            user_dict.take_over(self, records, self.clock(), self._tz, past=True)
        self._sent = self._spent()
        self._changed = False

    def _save(self) -> None:
        """Send everything. One thread at a time, so that an older state does not come last."""
        with self._saving:
            if not self._changed:
                return
            # Before the balances are read: what changes meanwhile is sent the next time.
            self._changed = False
            try:
                self._send()
            except BaseException:
                self._changed = True
                raise

    def _send(self) -> None:
        now = self.clock()
        found = self.accounts("u:", count=2**62)
        sent = {one.id: one.usd for one in found}
        users = {account_name(one.id): user_dict.record_of(one, now, self._tz) for one in found}
        answer = self._ask("/set_budget", {"project_name": self._project, "user_dict": users})
        if answer.status != "success":
            msg = f"{self._where} did not take the budgets of {self._project!r} over: {answer.status!r}"
            raise LedgerUnavailableError(msg)
        self._sent = sent

    def _spent(self) -> dict[str, int]:
        return {one.id: one.usd for one in self.accounts("u:", count=2**62)}

    def _unsent(self) -> str:
        """What users were charged since the server was told, in words; "" for nothing."""
        more = {name: usd - self._sent.get(name, 0) for name, usd in self._spent().items()}
        return ", ".join(f"{format_usd(usd)} of {account_name(name)!r}" for name, usd in more.items() if usd > 0)

    def _ask(self, path: str, body: dict[str, object]) -> _Answer:
        try:
            status, content = self._channel.post(path, msgspec.json.encode(body), time.monotonic() + DEADLINE)
        except TimeoutError:
            msg = f"{self._where} did not answer within {DEADLINE:g} seconds"
            raise LedgerUnavailableError(msg) from None
        except self._channel.errors as error:
            msg = f"{self._where} is not available: {' '.join(str(error).split()) or type(error).__name__}"
            raise LedgerUnavailableError(msg) from error
        if status != 200:
            msg = f"{self._where}{path} answered with status {status}"
            raise (LedgerUnavailableError if status >= 500 else LedgerError)(msg)
        try:
            return msgspec.json.decode(content, type=_Answer)
        except msgspec.DecodeError as error:
            msg = f"{self._where}{path} does not speak LiteLLM's protocol: {error}"
            raise LedgerError(msg) from None

    # -- what a ledger in memory does besides

    def _append(self, record: Record) -> None:
        if self._forked:
            msg = f"the budgets at {self._where} have one writer, the process that opened them; make a new manager here"
            raise LedgerError(msg)
        if self.closed and not isinstance(record, Released):
            raise is_closed(f"at {self._where}")
        # Only noted: this is called under the lock, and the network is for the background thread.
        if not isinstance(record, Held | Released):
            self._changed = True
            background_worker.wanted(self)

    def upkeep(self) -> float | None:
        """As in memory, and send what has changed."""
        wish = super().upkeep()
        if not self._changed or self.closed:
            return wish
        self._save()
        return background_worker.PERIOD if wish is None else wish

    def flush(self) -> None:
        """Send what has changed.

        Raises:
            LedgerUnavailableError: the server does not take it.
        """
        background_worker.drain()
        if not self._forked:
            self._save()

    def close(self) -> None:
        """Send what has changed, and give the connection up.

        Raises:
            LedgerUnavailableError: the server does not take it; the text says what users were charged that it lacks.
        """
        if not self.closed:
            try:
                self.flush()
            except LedgerError as error:
                unsent = self._unsent()
                if not unsent:
                    raise
                msg = f"{error}. It lacks what was charged since it was told last: {unsent}"
                raise LedgerUnavailableError(msg) from error
            finally:
                self.closed = True
                self._channel.close()


_ledgers: WeakRegistry[HostedLedger] = WeakRegistry()


def _at_exit() -> None:
    for ledger in _ledgers.alive():
        if not ledger._forked:  # noqa: SLF001
            try:
                ledger.close()
            except LedgerError as error:
                logger.error("budgeted: %s", error)  # noqa: TRY400 - the text says it all


background_worker.close_at_exit(_at_exit)
