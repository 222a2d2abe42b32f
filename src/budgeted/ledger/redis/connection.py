"""Connecting to Redis or Valkey: a client for a URL, what its server is called, and what of it is secret."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from budgeted.errors import LedgerError
from budgeted.ledger.network_ledger import DEADLINE

if TYPE_CHECKING:
    import redis
    from redis.cluster import ClusterNode

    Client: TypeAlias = redis.Redis | redis.RedisCluster


class Commands(Protocol):
    """What a ledger does with a client of redis-py."""

    def execute_command(self, *args: object, **options: object) -> Any:
        """Send a command; its reply, of whatever type the command has."""

    def close(self) -> None:
        """Close the connections."""


logger = logging.getLogger("budgeted")


def new_client(server: str | Client) -> Client:
    """A new client for a URL; else the client that was given."""
    import redis
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry

    if inspect.iscoroutinefunction(getattr(server, "execute_command", None)):
        msg = (
            "ledger= takes a redis.Redis, not one of redis.asyncio: its verbs are called by threads and coroutines "
            "alike, and block no event loop"
        )
        raise LedgerError(msg)
    if not isinstance(server, str):
        return server
    try:
        # One repetition, both tries within the deadline. What the URL says goes before.
        return redis.Redis.from_url(
            server,
            socket_timeout=DEADLINE / 2,
            socket_connect_timeout=DEADLINE / 2,
            retry=Retry(ConstantBackoff(0.05), 1),
        )
    except (ValueError, TypeError):
        # Not even as a cause: it may quote the password.
        msg = "the ledger's URL cannot be read; write redis://user:password@host:6379/0, or rediss:// for TLS"
        raise LedgerError(msg) from None


def address(client: Client) -> tuple[str, list[str]]:
    """Where a client connects to, as errors name it, and the words that they must not."""
    import redis

    if isinstance(client, redis.RedisCluster):
        default_node: Callable[[], ClusterNode] = client.get_default_node  # which has no type of its own
        node = default_node()
        return f"{node.host}:{node.port}", []
    known = client.connection_pool.connection_kwargs
    where = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"
    return str(where), [known.get("password") or ""]


def is_cluster(client: Client) -> bool:
    """Whether a client speaks to a cluster, whose nodes know of what is published who listens to themselves alone."""
    import redis

    return isinstance(client, redis.RedisCluster)


def database(client: Client) -> int:
    """The number of the database that a client uses there; a cluster has one."""
    import redis

    return 0 if isinstance(client, redis.RedisCluster) else int(client.connection_pool.connection_kwargs.get("db") or 0)


@functools.cache
def warn_of_policy(where: str) -> None:
    """Tell, once for each server, that nobody knows whether it evicts keys."""
    logger.warning(
        "budgeted: the Redis at %s does not tell its maxmemory-policy; see to it that it is noeviction, or budgets may "
        "be evicted",
        where,
    )


def keeps_snapshots(client: Commands) -> bool | None:
    """Whether a server without an append-only file saves snapshots; None if it does not tell."""
    import redis

    try:
        found = client.execute_command("CONFIG GET", "save")
    except redis.ResponseError:  # forbidden, or renamed, as where others run the server
        return None
    values = list(found.values() if isinstance(found, dict) else found[1::2])
    return bool(values and values[0])


@functools.cache
def warn_of_restarts(where: str, *, known: bool) -> None:
    """Tell, once for each server, what its next start loses.

    Args:
        where: the server.
        known: whether it has told that it keeps nothing, or does not tell.
    """
    what = (
        "keeps nothing on disk (appendonly and save are both off)"
        if known
        else "does not tell whether it keeps its data on disk (CONFIG GET is refused, and appendonly is off)"
    )
    logger.warning(
        "budgeted: the Redis at %s %s; a restart without its data loses all limits and what was spent of them; set "
        "appendonly to yes there",
        where,
        what,
    )
