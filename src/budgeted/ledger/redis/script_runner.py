"""Running a Redis ledger's scripts, and telling a server what it lacks of what it has acknowledged.

A ledger bears a mark, made when it was begun, and counts for each process the verbs that it has done for it, in the
step that does them. Every script is told both, and does nothing where the mark is another, or the count lower: the
server was emptied, or is back with older data, as after a failover.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from budgeted.errors import LedgerError, LedgerLockedError
from budgeted.ledger.acknowledged_verbs import WentBackError, amended_back, limits_of
from budgeted.ledger.combined_calls import Combiner, NotSentError
from budgeted.ledger.interface import is_closed
from budgeted.ledger.memory import ended_holds
from budgeted.ledger.memory.change_records import (
    Amended,
    Change,
    Deleted,
    Held,
    LimitsSet,
    Posted,
    Released,
    Settled,
)
from budgeted.ledger.network_ledger import RemoteLedger, Standing
from budgeted.ledger.redis.connection import (
    Commands,
    address,
    database,
    is_cluster,
    keeps_snapshots,
    new_client,
    warn_of_policy,
    warn_of_restarts,
)
from budgeted.ledger.redis.keys import redis_key
from budgeted.ledger.redis.lua_scripts import COMBINED, TOGETHER, script
from budgeted.ledger.redis.stored_records import (
    account_of,
    decode,
    encode,
    packed_amendment,
    stored_hold,
    stored_posting,
)
from budgeted.ledger.redis.turn_messages import TurnMessages

if TYPE_CHECKING:
    from budgeted.ledger.redis.connection import Client

FORMAT = "1 "
"""How the mark of a ledger begins that this version can read."""

MOST_TOGETHER = 64
"""Calls' verbs that go with one round trip: the server answers nobody else while it does them."""

EMPTIED = "the server was emptied, or started again without its data"
ANOTHER = "the server was emptied, and another ledger was begun there since"


class ScriptRunner(RemoteLedger):
    """What of a Redis ledger sends scripts. Arguments and exceptions are those of the ledger itself."""

    def __init__(self, server: str | Client, project: str) -> None:
        import redis

        self._server = server
        self._no_script = redis.exceptions.NoScriptError
        self._key = redis_key(project).encode()
        client = new_client(server)
        where, secret = address(client)
        super().__init__(where, (redis.RedisError, OSError), secret)
        self.place = f"{where} {database(client)} {project}"
        try:
            self._open()
        except TypeError as error:  # of what the URL's query says, only now
            msg = f"redis-py does not take what the query of the ledger's URL says: {error}"
            raise LedgerError(msg) from None

    def _begin(self) -> None:
        super()._begin()
        # Also in a forked child: a pool's locks may be held by threads that only the parent has.
        client = new_client(self._server)
        self._client: Commands = client
        channel = b"%b:turn:%b" % (self._key, self.owner.encode())
        self._turn_messages = TurnMessages(None if is_cluster(client) else client, channel, self._errors, self)
        self._together = Combiner(self._combined, MOST_TOGETHER, errors=(*self._errors, WentBackError))

    def _open(self) -> None:
        self._mark = FORMAT + secrets.token_hex(8)
        self._mark, policy, appends = self._opened()
        if not self._mark.startswith(FORMAT):
            msg = f"the ledger at {self.where} was written by a newer version of budgeted; upgrade this one"
            raise LedgerError(msg)
        if policy and policy != "noeviction":
            msg = (
                f"the Redis at {self.where} may evict keys, and budgets with them (maxmemory-policy "
                f"{policy}); set maxmemory-policy to noeviction there, or use another server"
            )
            raise LedgerError(msg)
        if not policy:
            warn_of_policy(self.where)
        try:
            snapshots = appends or keeps_snapshots(self._client)
        except self._errors as error:
            raise self._unavailable(error, self.deadline) from error
        if not snapshots:
            warn_of_restarts(self.where, known=snapshots is not None)

    def _opened(self) -> tuple[str, str, bool]:
        """Mark the ledger if nobody has.

        Returns:
            The mark that it bears, the server's policy of eviction or "", and whether it writes an append-only file.
        """
        mark, policy, appends = self._evaluate("open_ledger", 0, ())
        return mark.decode(), policy.decode(), bool(appends)

    # -- scripts

    def _run(self, verb: str, *args: object, timeout: float | None = None) -> Any:
        """Run a verb's script; its reply. What the server lacks of what it has acknowledged, it is told before."""
        # Nearly every verb needs nothing of this, and entering a generator each time takes its time.
        if self.closed or timeout == 0 or not self._watched:
            with self._verb(timeout):  # raises, or looks after the lease from now on
                pass
        try:
            if verb in COMBINED:
                return self._among_others(verb, args, timeout)
            return self._send(verb, args)
        except WentBackError:
            return self._in_step(lambda: self._send(verb, args), time.monotonic() + self.deadline)

    def _send(self, verb: str, args: tuple[object, ...]) -> Any:
        # In this order: once something is to be done again, the server counts from fewer verbs on.
        done = self._told.sent()
        self._told.seen(done, done)
        return self._evaluate(verb, done, args)

    def _among_others(self, verb: str, args: tuple[object, ...], timeout: float | None) -> Any:
        """Run a verb's script, in one round trip with those of other threads that come while one is under way."""
        allowed = self.deadline if timeout is None else timeout
        try:
            return self._together.call((verb, args), time.monotonic() + allowed)
        except NotSentError:
            msg = f"the ledger at {self.where} was busy with other calls of this process for {allowed:g} seconds"
            raise LedgerLockedError(msg) from None
        except self._errors as error:
            raise self._failed(error) from error
        except ValueError:
            self._check_open()
            raise

    def _combined(self, verbs: Sequence[tuple[str, tuple[object, ...]]]) -> Sequence[Any]:
        """Run the scripts of several calls' verbs, and return their replies."""
        done = self._told.sent()
        self._told.seen(done, done)
        if len(verbs) == 1:
            return [self._execute(verbs[0][0], done, verbs[0][1])]
        together = [(verb, False, False, *args) for verb, args in verbs]
        replies: Sequence[Any] = self._execute(TOGETHER, done, (ended_holds.REMEMBERED, together))
        return replies

    def _evaluate(self, verb: str, done: int, args: tuple[object, ...], *, counted: bool = True) -> Any:
        """Send a script.

        Args:
            verb: its name.
            done: how many verbs of this process the server must have done; fewer make its state an older one.
            args: its arguments.
            counted: False for what is done before older verbs are done again, and has no number of its own.

        Raises:
            WentBackError: the server's state is an older one. Nothing was done.
            LedgerCorruptError: it is that of another ledger, or of none. Nothing was done.
            LedgerUnavailableError: the server did not answer.
        """
        try:
            return self._execute(verb, done, args, counted=counted)
        except self._errors as error:
            raise self._failed(error) from error
        except ValueError:
            self._check_open()
            raise

    def _execute(self, verb: str, done: int, args: tuple[object, ...], *, counted: bool = True) -> Any:
        """Send a script; what goes wrong is raised as the client has it."""
        text, sha = script(verb)
        rest = 1, self._key, encode((self._mark, counted and self.owner, done, *args))
        run = self._client.execute_command
        try:
            return run("EVALSHA", sha, *rest, NEVER_DECODE=True)
        except self._no_script:
            return run("EVAL", text, *rest, NEVER_DECODE=True)

    def _failed(self, error: Exception) -> Exception:
        """What is raised instead of what the client has raised."""
        reply = str(error)
        if reply.startswith("BACK "):
            return WentBackError()
        if reply.startswith("GONE "):
            return self._lost(EMPTIED, str(self._told.missing(0)))
        return self._unavailable(error, self.deadline)

    def _check_open(self) -> None:
        """Say so where another thread has closed the client under this one's hands."""
        if self.closed:
            raise is_closed(f"at {self.where}") from None

    def _answered(self, count: int, change: Change | None = None) -> None:
        """Keep in mind what was done, as that many verbs of this process were."""
        self._told.answered(count - 1, count, change)

    def _ask(self, verb: str, *args: object, timeout: float | None = None) -> Any:
        """Run a verb's script that answers in MessagePack."""
        return decode(self._run(verb, *args, timeout=timeout))

    # -- a server that lacks what it has acknowledged

    def _standing(self, deadline: float) -> Standing:  # noqa: ARG002 - it is the client's
        mark, count = self._evaluate("find_standing", 0, ())
        if mark is None:
            return Standing(count, EMPTIED)
        return Standing(count, "" if mark.decode() == self._mark else ANOTHER)

    def _write_limits_back(self, deadline: float, *, gone: bool) -> int:  # noqa: ARG002 - it is the client's
        mark = self._mark
        if gone:  # under the name that it had, so that other processes know it, too
            self._mark, _, _ = self._opened()
        known = {account.id: account for account in self._told.limits()}
        versions = [one for account in known.values() for one in (account.id, account.version)]
        older = decode(self._evaluate("find_older_accounts", 0, (mark != self._mark, versions), counted=False))
        for name in older:
            one = known[name]
            args = self.new_id(), name, limits_of(one), one.explicit, False
            self._evaluate("set_limits", 0, args, counted=False)
            there = account_of(*self._evaluate("read_account", 0, (name,), counted=False))
            for again in amended_back(one, there):
                rest = self.new_id(), name, *packed_amendment(again.change)
                self._evaluate("amend", 0, rest, counted=False)
        return len(older)

    def _do_again(self, change: Change, deadline: float) -> int:  # noqa: ARG002 - it is the client's
        if isinstance(change, LimitsSet):
            args = self.new_id(), change.account, change.limits, change.explicit, False
            count, _ = decode(self._evaluate("set_limits", 0, args))
        elif isinstance(change, Amended):
            amended = self.new_id(), change.account, *packed_amendment(change.change)
            count, _ = decode(self._evaluate("amend", 0, amended))
        elif isinstance(change, Deleted):
            count, _ = decode(self._evaluate("delete", 0, (self.new_id(), change.account)))
        else:
            charge = stored_posting(change) if isinstance(change, Posted | Settled) else False
            hold = stored_hold(change, change.id.partition(".")[0]) if isinstance(change, Held) else False
            released = change.id if isinstance(change, Released) else False
            found = ended_holds.REMEMBERED, charge, hold, released
            count = decode(self._evaluate("do_again", 0, found))
        return int(count)

    # -- calls that wait

    def _freed(self, accounts: Collection[str]) -> None:
        """Room came back there, by what this process did."""
        if accounts and self.turns.queues:
            self.turns.freed(accounts)

    def turn_came(self, account: str) -> None:
        """Have the first that waits for an account try; where nobody waits, it is the turn of others."""
        if account not in self.turns.queues:
            self._ask("leave_waiting_line", account)
        self.turns.freed([account])  # asked afterwards, too: who has come meanwhile is in line no more, and tries again

    def stopped_listening(self) -> None:
        """Have calls that wait look by themselves, and those of others have their turn: the last word was not heard."""
        # Whatever is in the way of that, others look now and then.
        with contextlib.suppress(*self._errors, WentBackError, ValueError, RuntimeError):
            self._execute("leave_waiting_line", 0, (False,))
        self.turns.wake_all()

    def waits(self) -> bool:
        """Whether any call of this process waits."""
        return bool(self.turns.queues)

    def _disconnect(self) -> None:
        self._turn_messages.stop()
        if isinstance(self._server, str):
            self._client.close()
