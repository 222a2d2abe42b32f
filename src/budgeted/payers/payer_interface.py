"""What a call needs of the manager that pays for it, and the accounts of it that it is charged to."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import msgspec
from opentelemetry.trace import Span

from budgeted.ledger.accounts import Account, Slot, user_account
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Route
from budgeted.ledger.interface import Ledger
from budgeted.ledger.spill_file import Unposted
from budgeted.limits.limit import Limit
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.purpose_tags import MOST_TAGS, Accounts, same_tag
from budgeted.pricing.usage import Counts
from budgeted.wire.normalized_request import Request

MOST_GROUPS = 10_000
"""Accounts that join a group and are kept in mind with the plans of their calls: users may be invented."""

FORGOTTEN_AT_A_TIME = 50
"""Of them that are forgotten when there are so many: no call waits for thousands to go."""


Tagged: TypeAlias = "tuple[Group, Accounts] | tuple[Group, Accounts, Policy]"
"""A group and the tags that it gets, with their policy if that is not the payer's own."""


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Where the calls of a group with one model go, until ``expires`` (unix seconds), when a period ends."""

    route: Route
    expires: int
    priced: bool


_NOBODY: Final[Mapping[str, Policy]] = {}
"""The accounts that most belong to: one for all, as there are thousands of groups."""


class Group:
    """The accounts of one payer that a call is charged to, each with the policy of the block that brought it in."""

    __slots__ = (
        "accounts",
        "attributed",
        "inherited",
        "joined",
        "keyed",
        "noted",
        "payer",
        "plans",
        "policies",
        "soft",
        "tagged",
        "untouched",
        "users",
        "watches",
        "with_tags",
    )

    def __init__(
        self,
        payer: Payer,
        accounts: tuple[str, ...],
        policies: tuple[Policy, ...],
        with_tags: dict[Tagged, Group] | None = None,
    ) -> None:
        self.payer = payer
        self.accounts = accounts
        self.policies = policies
        kinds = [account[0] for account in accounts]
        self.attributed, self.tagged, self.keyed = "u" in kinds, "t" in kinds, "b" in kinds
        exceeding = [policy.on_exceed for policy in policies]
        self.soft, self.untouched = "warn" in exceeding, "raise" in exceeding
        self.inherited: Mapping[str, Policy] = _NOBODY
        """The accounts that these belong to, as far as they are known, with the policy that they have for that."""
        self.plans: dict[tuple[str, str], Plan] = {}
        self.joined: dict[str | tuple[str, Policy], Group] = {}
        self.users: dict[str, tuple[Group, ...]] = {}
        # One for all that come of one group: were there one for each, users times sessions would be kept in mind.
        self.with_tags: dict[Tagged, Group] = {} if with_tags is None else with_tags
        self.watches: Sequence[Watch] = ()  # this and the next for budgeted.telemetry.alerts
        self.noted = False

    def everybody(self) -> tuple[str, ...]:
        """These accounts and those that they belong to, as far as these are known."""
        return (*self.accounts, *self.inherited) if self.inherited else self.accounts

    def policy_of(self, account: str) -> Policy:
        """What happens to a call that does not fit in one of these accounts, or in one that they belong to."""
        if account in self.accounts:
            return self.policies[self.accounts.index(account)]
        return self.inherited.get(account, self.payer.policy)

    def with_user(self, user: str) -> tuple[Group, ...]:
        """This group and the account of a user with the payer's own policy, in a tuple, as a scope has its groups.

        Raises:
            ValueError: it is that of one tag too many.
        """
        groups = self.users.get(user)  # by the name: no account's name is to be put together each time
        if groups is None:
            policy = self.payer.policy
            groups = (self._joined(user_account(user), policy),)
            _keep(self.users, user, groups)
        return groups

    def join(self, account: str, policy: Policy) -> Group:
        """This group and one more account; the account keeps its first policy if it is here already.

        Raises:
            ValueError: it is that of one tag too many.
        """
        # Nearly always the payer's own policy, whose hash is not worth computing each time.
        key = account if policy is self.payer.policy else (account, policy)
        group = self.joined.get(key)
        if group is None:
            group = self._joined(account, policy)
            if account[0] != "t":
                _keep(self.joined, key, group)
        return group

    def _joined(self, account: str, policy: Policy) -> Group:
        if account in self.accounts:
            return self
        if account[0] == "t":
            return self.tag((account,), policy)
        return Group(self.payer, (*self.accounts, account), (*self.policies, policy), self.with_tags)

    def tag(self, tags: Accounts, policy: Policy) -> Group:
        """This group and the accounts of some tags, each in place of another value of the same one.

        Raises:
            ValueError: there are too many tags.
        """
        key = (self, tags) if policy is self.payer.policy else (self, tags, policy)
        group = self.with_tags.get(key)
        if group is None:
            group = self._tagged(tags, policy)
            _keep(self.with_tags, key, group)
        return group

    def _tagged(self, tags: Accounts, policy: Policy) -> Group:
        held = dict(zip(self.accounts, self.policies, strict=True))
        for account in tags:
            if account not in held:
                other = same_tag(account)
                held = {name: one for name, one in held.items() if not name.startswith(other)}
                held[account] = policy
        if sum(name[0] == "t" for name in held) > MOST_TAGS:
            msg = f"a call in these blocks would have more than {MOST_TAGS} tags; leave some out"
            raise ValueError(msg)
        return Group(self.payer, tuple(held), tuple(held.values()), self.with_tags)


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def _keep(groups: dict[K, V], key: K, group: V) -> None:
    """Keep a group in mind, and forget the oldest where there are too many."""
    if len(groups) >= MOST_GROUPS:
        # Listing them is one step of the interpreter: other threads add some meanwhile.
        for old in list(itertools.islice(groups, FORGOTTEN_AT_A_TIME)):
            groups.pop(old, None)
    groups[key] = group


class Watch(Protocol):
    """What is left of an account until somebody is to be alerted, in nano-USD."""

    left: int


class Alerts(Protocol):
    """Who looks whether a share of a limit is reached."""

    def charged(self, group: Group, cost: int, span: Span | None = None, timeout: float | None = 0) -> None:
        """The accounts of a group were charged (nano-USD)."""

    def learn(self, account: Account) -> None:
        """See what is left of an account that was just read, if it is a new one."""


class Listener(Protocol):
    """Who is told of events."""

    callback: Callable[..., object]

    def tell(self, event: Any) -> None:
        """Have the callback called with an event soon."""


class Webhooks(Protocol):
    """Who sends events out of the process."""

    def tell(self, event: Any, told: set[str]) -> None:
        """Have an event sent to each destination that wants it and is not among those told, to which it is added."""

    def send(self, id: str, event: Any) -> None:
        """Have an event sent to one destination, by its id."""

    @property
    def for_alerts(self) -> list[str]:
        """The ids of those destinations that want to know of shares of limits that are reached."""


class Activity(Protocol):
    """Who tells other processes which calls were refused, and which wait."""

    def note(self, event: Any) -> None:
        """Note an event, if it is a refusal."""

    def refused(self, at: float, told: Callable[[], Any]) -> None:
        """Note that a call was refused (unix seconds), and what tells others of it."""

    def waits(self, call: int, waiting: Any) -> None:
        """Note that a call waits, under a number of its own."""

    def goes_on(self, call: int) -> None:
        """Note that it waits no more."""


class Repeats(Protocol):
    """Who writes log records that may come over and over."""

    def log(
        self, key: Hashable, at: float, level: int, text: str, args: tuple[object, ...], fields: Mapping[str, object]
    ) -> None:
        """Write a record, or count it for the next one."""


class KeyedBlock(Protocol):
    """A block whose cap is kept in the ledger."""

    def learn(self, slots: Sequence[Slot]) -> None:
        """Learn what the ledger has taken of the cap's limits, as they are in their present periods."""


class KeptCharges(Protocol):
    """What a ledger could not take."""

    def keep(self, charge: Unposted, error: Exception) -> None:
        """Have a charge wait for its ledger, which has not taken it for this reason."""

    def waits(self) -> bool:
        """Whether any charges wait."""


class CarriedPayer(Protocol):
    """A payer as other processes are told of it; it pickles."""

    def arrive(self) -> Payer:
        """The payer here: the one that is open already, else a new one. It may be one that refuses all calls."""


class Front(Protocol):
    """What is asked of the manager that a payer is a part of."""

    def carried(self) -> CarriedPayer:
        """The payer, as other processes are to be told of it."""

    def ledger_address(self) -> str | None:
        """What other processes can open the ledger by, with its password if it has one; None if nothing."""


class Payer(Protocol):
    """What a scope and a call need of a :class:`~budgeted.BudgetManager`.

    Attributes:
        ledger: where the balances are.
        clock: returns unix seconds.
        timezone: whose calendar counts.
        policy: what happens to a call that does not fit, unless its block says otherwise.
        group: the global account, and those of the tags that all calls have.
        min_output_tokens: the fewest output tokens worth having.
        uncertain_output: output tokens charged to a call that nobody confirms, at most; -1 charges nothing.
        on_uncertain: ``"estimate"``, ``"hold"`` or ``"release"``: how such a call is charged.
        unpriced: ``"deny"`` or ``"free"``: what is done with models that nobody priced.
        unmetered: ``"deny"``, ``"warn"`` or ``"allow"``: what is done with paid requests that nobody can read.
        unmetered_hosts: further hosts that serve models.
        user_limits: whether users have limits.
        project_name: the namespace in the ledger.
        metric_tags: the names of tags that metrics and logs may tell.
        user_names: by which names telemetry may know users; None where it names none.
        alerts, listener, webhooks, activity, repeats: who is told what.
        semconv: whether the conventions' own metrics are wanted.
        front: the manager that this is a part of, for whoever asks which one pays.
    """

    ledger: Ledger
    clock: Callable[[], float]
    timezone: dt.tzinfo
    policy: Policy
    group: Group
    min_output_tokens: int
    uncertain_output: int
    on_uncertain: str
    unpriced: str
    unmetered: str
    unmetered_hosts: tuple[str, ...]
    user_limits: bool
    project_name: str
    semconv: bool
    metric_tags: tuple[str, ...]

    @property
    def user_names(self) -> Callable[[str], str] | None: ...  # noqa: D102 - see the class

    @property
    def alerts(self) -> Alerts | None: ...  # noqa: D102

    @property
    def listener(self) -> Listener | None: ...  # noqa: D102

    @property
    def webhooks(self) -> Webhooks | None: ...  # noqa: D102

    @property
    def activity(self) -> Activity: ...  # noqa: D102

    @property
    def repeats(self) -> Repeats: ...  # noqa: D102

    @property
    def front(self) -> Front: ...  # noqa: D102

    def limit_block(self, account: str, cap: Sequence[Limit], block: KeyedBlock, *, lasting: bool = False) -> None:
        """Note that a keyed block has this cap; it reaches the ledger with the block's first call.

        ``lasting``: a cap that the ledger has already stays as it is.
        """

    def plan(
        self, group: Group, provider: str, model: str, at: int, *, fresh: bool = False, refuse: bool = True
    ) -> Plan:
        """Where the calls of a group with one model go, at this time; what was paid for is refused nowhere."""

    def left(self, group: Group, at: int) -> list[tuple[str, int]]:
        """Nano-USD that limits in USD for all models have left at a time (unix seconds), each with its account."""

    def allows_without(self, error: Exception) -> bool:
        """Whether calls go on while the ledger is away."""

    def note_soft(self, group: Group) -> None:
        """A call went through accounts that only warn."""

    def note_unattributed(self, request: Request) -> None:
        """A call has no user to pay for it, while users have limits."""

    def correct(self, charge_id: str, usage: Counts | None, cost: int | None) -> None:
        """Replace the figure of a charge: by what it used, or by its cost in nano-USD."""

    def kept(self, ledger: Ledger) -> KeptCharges:
        """Where charges wait that one of the payer's ledgers, present or former, could not take."""

    def charged(self, group: Group, cost: int) -> None:
        """Accounts were charged (nano-USD) without a call of this process: their alerts may be due."""

    def limit_text(self, refused: Refused) -> str:
        """The refusing limit as it would be written."""
