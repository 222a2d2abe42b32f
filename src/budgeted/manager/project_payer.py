"""What a call needs of the manager that pays for it: its accounts, its limits, and what is let through.

It is what :class:`budgeted.payers.payer_interface.Payer` describes. A call asks for a *plan*, the route that its hold
takes through the ledger: which limits of which accounts count for its model, in which periods.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import logging
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence

from opentelemetry import trace

from budgeted.errors import BudgetStoppedError, LedgerError, UnattributedCallError, UnknownUserError, UnpricedModelError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL, USD, Account, Slot, account_kind, account_name
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Leg, Route
from budgeted.ledger.interface import Ledger, all_accounts
from budgeted.ledger.limit_conversion import day_number, limit_of, present, spec, text_of_id
from budgeted.ledger.spending_records import Used
from budgeted.limits.limit import Limit
from budgeted.limits.periods import Period, window
from budgeted.limits.trusted_clock import TOLERANCE, is_system_clock
from budgeted.manager import limits_of_operator
from budgeted.manager.balances import in_the_future
from budgeted.manager.counting_limits import CountingLimits
from budgeted.manager.declared_limits import declare
from budgeted.manager.settings import Settings
from budgeted.metering.kept_charges import KeptCharges
from budgeted.payers.block_figures import caps_lock
from budgeted.payers.calling_code import calling_code, place
from budgeted.payers.lost_blocks import usual_reason
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import Front, Group, KeyedBlock, Plan
from budgeted.payers.purpose_tags import accounts_of
from budgeted.pricing import price_registry
from budgeted.pricing.usage import Counts
from budgeted.telemetry import call_reporting, counters, events
from budgeted.telemetry.activity import Activity
from budgeted.telemetry.alerts import Alerts
from budgeted.telemetry.events import Listener
from budgeted.telemetry.log_throttling import Repeats, say
from budgeted.telemetry.series_labels import Wanted
from budgeted.telemetry.user_names import UserNames
from budgeted.telemetry.webhooks.couriers import Outlet, Webhooks
from budgeted.telemetry.webhooks.destinations import Destination
from budgeted.telemetry.webhooks.signatures import Secret, secret_of_environment
from budgeted.validation import shown
from budgeted.wire import provider_hosts
from budgeted.wire.normalized_request import Request

logger = logging.getLogger("budgeted")

MOST_PLANS = 1_000
"""Models of one group whose plans are kept: names may be invented."""

MOST_LOOKED_AT = 10_000
"""Users among whom a manager looks for one who has limits, as it begins."""

MOST_KEYED = 1_000
"""Keyed blocks that are kept in mind, at least, after they have ended."""

MOST_STATED = 10_000
"""Limits with more than an amount whose text is kept in mind."""

MOST_WARNED = 100_000
"""Warnings that are kept in mind so as not to be repeated: each user may have one a day."""

MOST_LEVELS = 8
"""How many accounts pay what one pays, each as the one before belongs to it."""

DAY = Period(1, "day")


class ProjectPayer:
    """The accounts of one project, as calls see them: planned, limited, and with the settings that apply.

    Args:
        project_name: the namespace in the ledger.
        ledger: where the balances are.
        settings: every setting but the name, the ledger and the global limit.
        limits: the global account's; None leaves those it has.
        front: the manager that this is a part of.

    Attributes:
        token: tells this payer from all others, here and in processes that go on with it.
        process: the process that it was made in, by its pid.
        lock: guards what several steps change together.
    """

    def __init__(
        self,
        project_name: str,
        ledger: Ledger,
        settings: Settings,
        limits: tuple[Limit, ...] | None,
        front: Front,
    ) -> None:
        self.project_name = project_name
        self.front = front
        self.token = secrets.token_hex(8)
        self.process = os.getpid()
        self.listener: Listener | None = None
        self.webhooks: Webhooks | None = None
        self.repeats = Repeats()
        self.activity = Activity(self)
        self.unlock()
        self._keyed: dict[str, _Keyed] = {}
        self._stated: dict[tuple[str, str], Limit] = {}
        self._warned: set[str] = set()
        self._kept: list[KeptCharges] = []
        self.adopt(ledger, settings, limits)

    def unlock(self) -> None:
        """Have a lock that nobody has, at first and in a forked child, where whoever had it may not be."""
        self.lock = threading.RLock()

    def adopt(
        self, ledger: Ledger, settings: Settings, limits: tuple[Limit, ...] | None, project_name: str | None = None
    ) -> None:
        """Take everything over, also where calls are under way. What can fail comes first, and then changes nothing.

        Charges that wait for the ledger since another process, or this one, could not hand them over are posted.
        """
        user_limits = settings.default_user_limits.of_users or _users_have_limits(ledger)
        secret = settings.alerts_secret or (secret_of_environment(os.environ) if settings.alerts_to else None)
        if limits is None or limits_of_operator.overrule(limits, project_name or self.project_name, ledger):
            ledger.set_limits(GLOBAL, (), explicit=False, create=True)
        else:
            now = settings.clock()
            specs = [spec(limit, now, settings.timezone) for limit in limits]
            declare(ledger, GLOBAL, specs, now, project_name or self.project_name)
        self.ledger: Ledger = ledger
        self._global: Account | None = None
        self.settings = settings
        self.clock: Callable[[], float] = settings.clock
        self.timezone: dt.tzinfo = settings.timezone
        self.counting_limits = CountingLimits(settings.timezone)
        self.min_output_tokens = settings.min_output_tokens
        self.uncertain_output = settings.uncertain_output
        self.on_uncertain = settings.on_uncertain
        self.unpriced = settings.unpriced
        self.unmetered, self.unmetered_hosts = settings.unmetered, settings.unmetered_hosts
        provider_hosts.named.update(settings.unmetered_hosts)
        self.user_limits = user_limits
        self.policy = Policy(settings.on_exceed, settings.wait, settings.fallback)
        self.semconv = settings.semconv
        self.user_names: UserNames | None = settings.metric_users
        self.metric_tags = settings.metric_tags
        Wanted.any = Wanted.any or bool(settings.metric_tags)
        self.alerts = Alerts(self, settings.alerts) if settings.alerts else None
        if settings.on_event is None:
            self.listener = None
        elif self.listener is None or self.listener.callback is not settings.on_event:
            self.listener = Listener(settings.on_event)
        tags = accounts_of(settings.tags)
        self.group = Group(self, (GLOBAL, *tags), (self.policy,) * (1 + len(tags)))
        ledger.clock = settings.clock
        ledger.hold_timeout = settings.hold_timeout
        self.project_name = project_name or self.project_name
        self._send_to(settings.alerts_to, secret)
        self._take_up(ledger)

    def _send_to(self, destinations: tuple[Destination, ...], secret: Secret | None) -> None:
        """Have events sent out of the process; what waits for the same destinations goes on as it is."""
        wanted = Outlet(destinations, secret, self.clock, self.project_name, self.ledger.place)
        if not destinations:
            self.webhooks = None
        elif self.webhooks is None or self.webhooks.outlet != wanted:
            self.webhooks = Webhooks(wanted)

    def _take_up(self, ledger: Ledger) -> None:
        """Have what waits for a ledger posted, before the first hold is made there."""
        kept = self._kept[0] if self._kept else None
        if kept is None or kept.ledger is not ledger or kept.project != self.project_name:
            kept = KeptCharges(self, ledger, self.project_name)
            self._kept.insert(0, kept)
        if kept.waits() and not kept.again():
            background_worker.try_again(kept)

    def kept(self, ledger: Ledger) -> KeptCharges:
        """Where charges wait that one of the payer's ledgers, present or former, could not take."""
        return next(one for one in self._kept if one.ledger is ledger)

    def kept_charges(self) -> list[KeptCharges]:
        """The same of all of them, the present one first."""
        return list(self._kept)

    # -- where calls go

    def plan(
        self, group: Group, provider: str, model: str, at: int, *, fresh: bool = False, refuse: bool = True
    ) -> Plan:
        """Where the calls of a group with one model go, at this time; what was paid for is refused nowhere."""
        plan = group.plans.get((provider, model))
        if plan is not None and at < plan.expires and not fresh:
            return plan
        if fresh:
            self._global = None
        plan = self._planned(group, provider, model, at, refuse=refuse)
        if len(group.plans) >= MOST_PLANS:
            group.plans.clear()
        # Each call in a keyed block is planned anew: so the block learns what others have spent of its cap.
        if refuse and not group.keyed:
            group.plans[provider, model] = plan
        return plan

    def plan_anew(self, group: Group, provider: str, model: str, at: int, *, refuse: bool = True) -> Plan:
        """The same, from what the ledger says now, and kept nowhere."""
        self._global = None
        return self._planned(group, provider, model, at, refuse=refuse)

    def _planned(self, group: Group, provider: str, model: str, at: int, *, refuse: bool) -> Plan:
        legs: list[Leg] = []
        versions: list[int] = []
        soft: list[bool] = []
        around: list[tuple[int, int]] = []
        day_start, expires = window(DAY, None, at, self.timezone)
        priced = False
        for account, policy in self._paying(group, refuse=refuse):
            for slot in account.slots:
                if slot.terms is not None or self._stated:
                    self._note_stated(account.id, slot)
            counting = self.counting_limits.of(account.slots, provider, model, at)
            if counting.ahead:
                self._note_future(account, at)
            legs.append(Leg(account.id, counting.windows))
            versions.append(account.version)
            soft += [policy.on_exceed == "warn"] * len(counting.windows)
            around += counting.around
            expires = min(expires, counting.ends)
            priced = priced or counting.priced
        if not (self.ledger.remote and is_system_clock(self.clock)):  # else the server's clock is asked
            around = []
        route = Route.make(legs, versions, _day_of(day_start, self.timezone), provider, model, soft, around)
        return Plan(route, expires, priced)

    def _paying(self, group: Group, *, refuse: bool) -> Iterator[tuple[Account, Policy]]:
        """The accounts of a group, and those that they belong to, each once, with the policy that counts for it."""
        inherited: dict[str, Policy] = {}
        for name, policy in zip(group.accounts, group.policies, strict=True):
            account = self._account(name, refuse=refuse)
            yield self._going(account, refuse=refuse), policy
            for _ in range(MOST_LEVELS):
                name = account.belongs_to  # noqa: PLW2901 - a level higher
                if not name or name in group.accounts or name in inherited:
                    break
                inherited[name] = policy
                account = self._account(name, refuse=refuse)
                yield self._going(account, refuse=refuse), policy
        if inherited or group.inherited:
            group.inherited = inherited

    def _going(self, account: Account, *, refuse: bool) -> Account:
        """An account that is not stopped."""
        if account.stopped and refuse:
            kind, name = account_kind(account.id), account_name(account.id)
            raise BudgetStoppedError(
                account=name,
                account_kind=kind,
                why=account.stopped,
                known_as=events.known_as(self, name, kind),
            )
        return account

    def left(self, group: Group, at: int) -> list[tuple[str, int]]:
        """Nano-USD that limits in USD for all models have left at a time (unix seconds), each with its account."""
        lefts = []
        for leg in self.plan(group, "", "", at, fresh=True).route.legs:  # no model's: what counts for all of them
            account = self.ledger.read_limits(leg.account)
            counted = {limit for limit, _, _ in leg.limits}
            for slot in () if account is None else account.slots:
                if slot.unit == USD and slot.limit in counted:
                    now = present(slot, at, self.timezone)
                    lefts.append((leg.account, max(0, now.amount - now.spent - now.held)))
        return lefts

    def limit_block(self, account: str, cap: Sequence[Limit], block: KeyedBlock, *, lasting: bool = False) -> None:
        """Note a keyed block and its cap, which reaches the ledger with the block's next call.

        Args:
            account: the ledger's name of the block's.
            cap: its limits.
            block: which is told what others spend of it.
            lasting: whether a cap that the ledger has already stays as it is.
        """
        with self.lock:
            keyed = self._keyed.get(account)
            if keyed is None:
                if len(self._keyed) >= MOST_KEYED:
                    self._keyed = {name: one for name, one in self._keyed.items() if one.blocks}
                keyed = self._keyed[account] = _Keyed()
            if keyed.cap is not cap:
                keyed.cap, keyed.stated = cap, set(cap)
            keyed.lasting = lasting
            keyed.add(block)

    def _account(self, name: str, *, refuse: bool) -> Account:
        """An account as the ledger has it; with its default limits if it is not there, or nobody gave it any."""
        if name == GLOBAL:
            return self._global_account()
        account = self.ledger.read_limits(name)
        kind = account_kind(name)
        if kind == "block":
            return self._block_account(name, account)
        if kind == "user" and refuse and self.settings.unknown_users == "deny":
            self._require_budget(account_name(name), account)
        limits = self.default_limits(name)
        if limits and account is not None and not account.slots and not account.explicit:
            self.limit(name, limits, explicit=False)  # who has spent before there were any
            account = self.ledger.read_limits(name)
        while account is None:  # again if it was deleted meanwhile
            self.limit(name, limits, explicit=False, create=True)
            account = self.ledger.read_limits(name)
        if self.alerts is not None:
            self.alerts.learn(account)
        return account

    def _global_account(self) -> Account:
        """The global account as a call has seen it, whose limits are still its own: else the ledger says so."""
        account = self._global
        if account is not None and account.stopped:  # of which no hold finds out that it goes on
            account = None
        while account is None:  # again if it was deleted meanwhile
            account = self._global = self.ledger.read_limits(GLOBAL)
            if account is None:
                self.limit(GLOBAL, (), explicit=False, create=True)
        return account

    def default_limits(self, account: str) -> Sequence[Limit]:
        """The limits of an account, by the ledger's name, that nobody has given any."""
        if account_kind(account) not in ("user", "tag"):
            return ()
        return self.settings.default_user_limits.of(account_name(account))

    def _block_account(self, name: str, account: Account | None) -> Account:
        """A keyed block's account with the cap it has now; the open blocks are told what is spent of it."""
        keyed = self._keyed.get(name)
        if keyed is None:  # of another process, which could not hand its charge over
            while account is None:  # again if it was deleted meanwhile
                self.limit(name, (), explicit=False, create=True)
                account = self.ledger.read_limits(name)
            return account
        stated = set[Limit]() if account is None else set(map(limit_of, account.slots))
        if stated != keyed.stated and not (keyed.lasting and stated):
            account = None
        while account is None:  # again if it was deleted meanwhile
            self.limit(name, keyed.cap, explicit=False)
            account = self.ledger.read_limits(name)
        now = self.clock()
        slots = [present(slot, now, self.timezone) for slot in account.slots]
        with caps_lock:
            for one in list(keyed.blocks):
                block = one()
                if block is not None:
                    block.learn(slots)
        return account

    def _require_budget(self, user: str, account: Account | None) -> None:
        if account is None or not account.explicit:
            msg = (
                f"user {user!r} has no budget; give it one with create_budget(10, {user!r}) or "
                f'set_limits({user!r}, "$10/month"), or allow any with unknown_users="allow"'
            )
            raise UnknownUserError(msg)

    def limit(self, account: str, limits: Iterable[Limit], *, explicit: bool, create: bool = False) -> None:
        """Give an account limits; ``create`` leaves one that is there alone."""
        now = self.clock()
        specs = [spec(limit, now, self.timezone) for limit in limits]
        self.ledger.set_limits(account, specs, explicit=explicit, create=create)

    def correct(self, charge_id: str, usage: Counts | None, cost: int | None) -> None:
        """Replace the figure of a charge.

        Args:
            charge_id: of a hold that has ended.
            usage: what it used, priced as the call was; None where the cost is known.
            cost: nano-USD.

        Raises:
            LedgerError: no such charge is known (any more).
            UnpricedModelError: usage of a model without a price.
        """
        charge = self.ledger.ended(charge_id) if _may_be_id(charge_id) else None
        if charge is None:
            raise _no_charge(charge_id)
        if usage is None:
            used = Used(cost or 0, charge.used.input_tokens, charge.used.output_tokens)
        else:
            price = price_registry.find(charge.model, charge.provider or None)
            if price is None and self.unpriced == "deny":
                raise no_price(charge.model, "; or give cost=USD instead")
            usd = 0 if price is None else price.cost(usage, charge.opened)
            used = Used(usd, usage.input_tokens, usage.output_tokens)
        before = self.ledger.correct(charge_id, used, int(self.clock()))
        if before is None:  # forgotten since it was looked up
            raise _no_charge(charge_id)
        counters.correct(used.usd - before.used.usd)
        self.charged(Group(self, before.accounts, ()), used.usd - before.used.usd)

    def charged(self, group: Group, cost: int) -> None:
        """Accounts were charged (nano-USD) without a call of this process: their alerts may be due."""
        if self.alerts is not None:
            self.alerts.charged(group, cost, trace.get_current_span(), None)

    def limit_text(self, refused: Refused) -> str:
        """The refusing limit as it would be written."""
        stated = self._stated and self._stated.get((refused.account, refused.limit))
        text = str(stated) if stated else text_of_id(refused.limit, refused.amount)
        return f"a cap of {text}" if account_kind(refused.account) == "block" else text

    def _note_stated(self, account: str, slot: Slot) -> None:
        """Keep in mind how a limit was stated whose amount, as refusals have it, is another one in its period."""
        if slot.terms is None:
            self._stated.pop((account, slot.limit), None)
            return
        if len(self._stated) >= MOST_STATED:
            self._stated.clear()
        self._stated[account, slot.limit] = limit_of(slot)

    # -- what goes through all the same

    def allows_without(self, error: Exception) -> bool:
        """Whether calls go on while the ledger is away; says so loudly."""
        if self.settings.on_ledger_error != "allow":
            return False
        call_reporting.note_trouble((self.group,), "the ledger is away and a call goes through unchecked", error)
        return True

    def note_unattributed(self, request: Request) -> None:
        """A call has no user to pay for it, while users have limits."""
        if self.settings.unattributed == "deny":
            msg = f"a call was made that no user pays for; put it into `with budget(user):`{self._because()}"
            error = UnattributedCallError(msg)
            call_reporting.note_turned_away(request, (self.group,), error, trace.get_current_span())
            raise error
        found = calling_code()
        where = "where nobody's code is seen" if found is None else f"at {place(*found)}"
        if self._is_news(f"unattributed {where}"):
            text = (
                "budgeted: a call was charged to nobody but the global account of %r, %s; put it into "
                "`with budget(user):`, or refuse such calls with unattributed='deny' (said once per place)%s"
            )
            say(logging.WARNING, text, (self.project_name, where, self._because()), {})

    def _because(self) -> str:
        """Why a call of the running code may have no user, as the end of a sentence."""
        reason = usual_reason(self)
        return f". Perhaps: {reason}" if reason else ""

    def _is_news(self, once: str) -> bool:
        """Whether a warning has not been said yet, which it is then."""
        if once in self._warned:
            return False
        if len(self._warned) >= MOST_WARNED:
            self._warned.clear()
        self._warned.add(once)
        return True

    def _note_future(self, account: Account, at: int) -> None:
        """A limit is in a period that has not come yet: another process has begun it, by a clock that was wrong."""
        for slot in account.slots:
            if slot.start > at + TOLERANCE and self._is_news(f"{account.id} {slot.limit} {slot.start} later"):
                say(logging.ERROR, "budgeted: %s", (in_the_future(slot, self.timezone),), {})

    def note_soft(self, group: Group) -> None:
        """A call went through an account that only warns: say so once per limit and period if it is over."""
        for name, policy in zip(group.accounts, group.policies, strict=True):
            account = self.ledger.read(name) if policy.on_exceed == "warn" else None
            for slot in account.slots if account else ():
                now = present(slot, self.clock(), self.timezone) if slot.terms is not None else slot
                over = now.spent + now.held > now.amount
                if over and self._is_news(f"{name} {slot.limit} {slot.start}"):
                    kind = account_kind(name)
                    who = f"a {kind}" if kind in ("user", "tag") else account_name(name)
                    text = "budgeted: %s is over %s and goes on, as on_exceed='warn'"
                    say(logging.WARNING, text, (who, limit_of(slot)), {})


class _Keyed:
    """A cap that is kept in the ledger, and the blocks of this process that spend it."""

    def __init__(self) -> None:
        self.cap: Sequence[Limit] = ()
        self.stated: set[Limit] = set()
        self.lasting = False
        # A dict, since its keys can be listed while other threads add to it; a WeakSet's cannot.
        self.blocks: dict[weakref.ref[KeyedBlock], None] = {}

    def add(self, block: KeyedBlock) -> None:
        """A block spends the cap, until it is gone."""
        self.blocks[weakref.ref(block, self.blocks.pop)] = None


@functools.lru_cache(maxsize=64)
def _day_of(start: int, tz: dt.tzinfo) -> int:
    """The number of a day that starts at a time, which is the same for all who pay on it."""
    return day_number(start, tz)


def _users_have_limits(ledger: Ledger) -> bool:
    return any(account.slots for account in itertools.islice(all_accounts(ledger, "u:"), MOST_LOOKED_AT))


def _may_be_id(charge_id: object) -> bool:
    """Whether a ledger can be asked for it: ids are plain text, and databases choke on what is not."""
    return isinstance(charge_id, str) and charge_id.isascii() and charge_id.isprintable()


def _no_charge(charge_id: object) -> LedgerError:
    return LedgerError(f"no charge {shown(charge_id)} is known; uncertain() lists those that can be reconciled")


def no_price(model: str, more: str = "") -> UnpricedModelError:
    """What is wrong where a call that was made already has no price."""
    return UnpricedModelError(
        f"no price is known for model {shown(model)}; tell it with budgeted.register_price({shown(model)}, input=..., "
        f"output=...) in USD per million tokens{more}"
    )
