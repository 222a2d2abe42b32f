"""``configure()``, and the functions that work on the innermost open block's manager, else on the default one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableMapping
from decimal import Decimal
from typing import Any, Never, TypeVar, Unpack, overload

from budgeted import providers
from budgeted.functions import decorator_options
from budgeted.manager import open_managers, payers_as_text
from budgeted.manager.argument_types import Fallback, Keywords, LedgerLike, Limits, OnExceed
from budgeted.manager.budget_manager import BudgetManager
from budgeted.manager.extracted_payers import VARIABLE, Extracted, extracted, text_in
from budgeted.manager.payers_of_environment import go_on
from budgeted.manager.unknown_keywords import documented, refuse_unknown
from budgeted.metering.manual_hold import Hold
from budgeted.payers.block import Budget
from budgeted.payers.cap_text import CapLike
from budgeted.payers.payer_interface import Payer
from budgeted.payers.purpose_tags import Tags, TagsOf
from budgeted.payers.scope import current
from budgeted.payers.sealed_text import NAME
from budgeted.pricing.price_registry import Amount
from budgeted.providers.what_is_metered import Instrumented
from budgeted.validation import check_seconds, shown

F = TypeVar("F", bound=Callable[..., Any])


def configure(
    max_budget: Limits | None = None,
    duration: str | None = None,
    *,
    project_name: str | None = None,
    ledger: LedgerLike = None,
    **settings: Unpack[Keywords],
) -> BudgetManager:
    """Make the default manager, or change in place the one that was made so.

    What is not given is as a settings file and ``BUDGETED_*`` variables state it, else as it was or is by default. Its
    global limit covers every call of the process that an SDK makes, inside blocks and outside.

    Args:
        max_budget: USD, or limits as text, such as ``"$10/day"``. None leaves the global limits as they are.
        duration: the period of ``max_budget``, such as ``"daily"``.
        project_name: the namespace in the ledger.
        ledger: where balances are kept; see :class:`BudgetManager`. None leaves it where it is.
        settings: any other setting of :class:`BudgetManager`.

    Returns:
        The default manager.

    Raises:
        ValueError, TypeError: a setting makes no sense; the text quotes it. Then nothing was changed.
        LedgerError: the ledger cannot be opened. Nor then.

    Example:
        >>> configure(max_budget=10, duration="daily")
    """
    given = {"max_budget": max_budget, "duration": duration, "project_name": project_name, "ledger": ledger}
    given = {name: value for name, value in given.items() if value is not None}
    manager = open_managers.configure_default(BudgetManager, {**given, **settings})
    providers.instrument()
    return manager


def get_manager() -> BudgetManager:
    """The manager that module-level functions use here: the innermost open block's, else the default one."""
    scope = current()
    if scope is not None and scope.payer is not None and isinstance(scope.payer.front, BudgetManager):
        return scope.payer.front
    return open_managers.get_default(BudgetManager)


def _payer_here() -> Payer:
    """What of :func:`get_manager`'s pays; asked at each call of a decorated function, so by itself."""
    scope = current()
    if scope is not None and scope.payer is not None:
        return scope.payer
    return open_managers.get_default(BudgetManager).payer


def _given(manager: object) -> BudgetManager:
    """What was given as ``manager=``, or the one to use where nothing was."""
    if manager is None:
        return get_manager()
    if not isinstance(manager, BudgetManager):
        msg = f"manager must be a BudgetManager, or left out for the default one; got {shown(manager)}"
        raise TypeError(msg)
    return manager


@documented
def budget(
    user: str | None = None,
    *,
    cap: CapLike | None = None,
    key: str | None = None,
    tags: Tags | None = None,
    manager: BudgetManager | None = None,
    on_exceed: OnExceed | None = None,
    fallback: Fallback | None = None,
    wait: float | None = None,
    reraise: bool = False,
    repeat_limit: int | None = None,
    reserve: bool = False,
    share: float | Decimal | None = None,
    **unknown: Never,
) -> Budget:
    """A block whose calls are charged to a user, and to a cap of its own.

    Blocks nest: a call is charged to the user of each enclosing block, to each cap, and to the global account; all
    have room, or it is not sent.

    Args:
        user: who pays besides the global account; None for nobody in particular.
        cap: what this one block may spend: USD, or limits in any unit, such as ``"$0.50 + 20 calls"``. One with a
            period needs a key.
        key: keeps the cap in the ledger under this name: whoever opens it again goes on with what is left.
        tags: what the calls are for, such as ``{"feature": "search", "session": id}``: names with values, each an
            account that pays besides; None as a value for none. An inner block's value replaces an outer one's.
        manager: whose accounts; None for :func:`get_manager`'s.
        on_exceed: ``"clamp"``, ``"raise"``, ``"warn"`` or ``"ask"``; None for the manager's.
        fallback: models to try instead of refusing; or ``{0.8: "gpt-5-mini"}``, to ask it from 80% of a limit on.
        wait: seconds to wait while only calls in flight are in the way, or a tokenizer is being loaded.
        reraise: have the block raise, where it ends, the first refusal of a call inside it, in whatever thread or task
            of this process, that a framework or your own code has caught. Nothing is raised where another exception is
            on its way.
        repeat_limit: how often the same request, to the same model, may be made inside: once more is refused, with the
            ``reason`` ``"repeated"``, or only told of under ``on_exceed="warn"``. None for as often as anybody likes.
        reserve: take the cap, in USD or tokens, out of every budget around the block when it is entered: nobody else
            spends of it meanwhile. What is left goes back when the block is left, or its process dies. Entering and
            leaving ask the ledger then; in a coroutine, write ``async with``.
        share: make the cap a part, above 0 and up to 1, of what the tightest limit in USD around has left when the
            block is entered.
        unknown: any other keyword is refused, naming the one that was meant.

    Returns:
        A context manager, for ``with`` and ``async with``, with the block's own figures.

    Raises:
        ValueError, TypeError: an argument makes no sense; the text quotes it.

    Example:
        >>> with budget("alice", cap=0.50) as block:
        ...     client.chat.completions.create(...)
    """
    refuse_unknown(unknown, budget)
    return _given(manager).budget(
        user,
        cap=cap,
        key=key,
        tags=tags,
        on_exceed=on_exceed,
        fallback=fallback,
        wait=wait,
        reraise=reraise,
        repeat_limit=repeat_limit,
        reserve=reserve,
        share=share,
    )


@overload
def budgeted(fn: F, /) -> F: ...
@overload
def budgeted(
    user: str | Callable[..., str | None] | None = None,
    *,
    cap: CapLike | None = None,
    tags: TagsOf | None = None,
    tool: str | None = None,
    manager: BudgetManager | None = None,
    on_exceed: OnExceed | None = None,
    fallback: Fallback | None = None,
    wait: float | None = None,
    repeat_limit: int | None = None,
    reserve: bool = False,
    share: float | Decimal | None = None,
) -> Callable[[F], F]: ...
@documented
def budgeted(
    target: object = None,
    /,
    *,
    user: object = None,
    cap: CapLike | None = None,
    tags: TagsOf | None = None,
    tool: str | None = None,
    manager: BudgetManager | None = None,
    on_exceed: OnExceed | None = None,
    fallback: Fallback | None = None,
    wait: float | None = None,
    repeat_limit: int | None = None,
    reserve: bool = False,
    share: float | Decimal | None = None,
    **unknown: Never,
) -> object:
    """Have a function's calls paid for. Bare, or with arguments; on functions, coroutines, generators and async ones.

    A function that takes a ``model`` and its ``messages`` (or ``input``, ``prompt``, ``contents``) is a metered call
    itself: a hand-written HTTP request, ``litellm.completion``.

    Args:
        target: the function, where the decorator is bare; else the user's name.
        user: who pays: a name, or a callable that is given the function's own arguments and returns one.
        cap: what each call of the function may spend, as :func:`budget` has it.
        tags: what its calls are for: names with values, see :func:`budget`, or with callables that are given the
            function's own arguments; or one callable that returns such a mapping of values.
        tool: the name of the tool that the function is: each of its calls costs what :func:`budgeted.register_tool`
            says, besides what it calls in turn.
        manager: whose accounts; None for :func:`get_manager`'s, asked at each call.
        on_exceed: see :func:`budget`.
        fallback: see :func:`budget`.
        wait: see :func:`budget`.
        repeat_limit: see :func:`budget`; in each call of the function.
        reserve: see :func:`budget`; for each call of the function.
        share: see :func:`budget`; when the function is called.
        unknown: any other keyword is refused, naming the one that was meant.

    Returns:
        The function, with its signature and type.

    Raises:
        ValueError, TypeError: an argument makes no sense; the text says what to write.

    Example:
        >>> @budgeted(user=lambda request: request.user_id)
        ... def answer(request): ...
    """
    refuse_unknown(unknown, budgeted)
    if manager is None:
        paying: Callable[[], Payer] = _payer_here
    else:
        payer = _given(manager).payer
        paying = lambda: payer  # noqa: E731 - asked at each call, so as little as can be
    own = decorator_options.read_block(cap, repeat_limit, share, reserve)
    return decorator_options.decorate(paying, target, user, own, (on_exceed, fallback, wait), tags, tool)


@documented
def hold(
    model: str | None = None,
    input: object = None,
    max_output_tokens: int | None = None,
    *,
    cost: Amount | None = None,
    user: str | None = None,
    tags: Tags | None = None,
    tool: str | None = None,
    manager: BudgetManager | None = None,
    provider: str | None = None,
    base_url: str | None = None,
    n: int | None = None,
    tier: str | None = None,
    **unknown: Never,
) -> Hold:
    """Set money aside for a call that no SDK's hook sees: a raw HTTP request, a batch, a realtime session.

    Args:
        model: the model, from which the bound is made.
        input: what is sent: text, messages, or the request's whole body.
        max_output_tokens: the output cap of the request; None to be granted one.
        cost: USD, instead of a model, where the most it can cost is known; with a tool, instead of its price.
        user: who pays besides the blocks around.
        tags: what the call is for; see :func:`budget`.
        tool: the name of a tool, instead of a model: one call, which costs what :func:`budgeted.register_tool` says.
        manager: whose accounts; None for :func:`get_manager`'s.
        provider: whose model it is, as genai-prices names it, where the model's name does not tell.
        base_url: where the request goes, by which gateways are priced.
        n: how many answers are asked for.
        tier: the service tier that the request names.
        unknown: any other keyword is refused, naming the one that was meant.

    Returns:
        A :class:`~budgeted.metering.manual_hold.Hold`, for ``with`` and ``async with``.

    Raises:
        TypeError, ValueError: an argument makes no sense; the text quotes it.
    """
    refuse_unknown(unknown, hold)
    return _given(manager).hold(
        model,
        input,
        max_output_tokens,
        cost=cost,
        user=user,
        tags=tags,
        tool=tool,
        provider=provider,
        base_url=base_url,
        n=n,
        tier=tier,
    )


def inject(carrier: MutableMapping[str, str] | None = None) -> MutableMapping[str, str]:
    """Put who pays here into headers or an environment, for another program, process or host to go on with.

    What is put in names the project, the ledger's address (never one with a password), users, caps and policies; it is
    signed if the environment variable ``BUDGETED_SECRET`` is set. Nothing of it is baggage: it goes where you send it.
    A cap without a key is kept in the ledger from then on, so that both together never pass it.

    Args:
        carrier: headers, or an environment; None for new headers. It is changed, in the header ``budgeted-payers``, or
            in the variable ``BUDGETED_PAYERS`` of ``os.environ`` and of what has a ``PATH``.

    Returns:
        The carrier.

    Raises:
        TypeError: it is no mapping that can be changed.

    Example:
        >>> with budget("alice"):
        ...     httpx.post(url, headers=inject())
        ...     subprocess.run([sys.executable, "job.py"], env=inject({**os.environ}))
    """
    found: MutableMapping[str, str] = {} if carrier is None else carrier
    given: object = found
    if not isinstance(given, MutableMapping):
        msg = f"inject takes a mapping to put text into, such as a request's headers, got {shown(given)}"
        raise TypeError(msg)
    name = VARIABLE if found is os.environ or "PATH" in found else NAME
    found[name] = payers_as_text.written(current(), get_manager().payer, os.environ.get("BUDGETED_SECRET", ""))
    return found


def extract(carrier: Mapping[str, object], *, max_age: float = payers_as_text.MAX_AGE) -> Extracted:
    """A block whose calls are charged to whom :func:`inject` has put into a carrier, besides the blocks around.

    With ``BUDGETED_SECRET`` set, the carrier has to be signed with it: then its policies count, and a program that has
    no manager yet gets the carrier's project and ledger. Without, anybody may have written it: only users and caps of a
    project that has a manager here are taken, with this manager's policies.

    Args:
        carrier: headers in any case of letters, an environment, a WSGI environment. One that says nothing of payers
            adds none.
        max_age: seconds for which what was injected is taken.

    Returns:
        A context manager, for ``with`` and ``async with``; ``.users`` are those who pay.

    Raises:
        CarrierError: the carrier is forged, stale, damaged or of another project; a ValueError, too. Nobody pays by it.
        TypeError: it is no mapping to text.

    Example:
        >>> with extract(request.headers):
        ...     client.chat.completions.create(...)
    """
    seconds = check_seconds(max_age, "max_age")
    text = text_in(carrier)
    if text is None:
        return Extracted()
    return extracted(text, os.environ.get("BUDGETED_SECRET", ""), seconds, BudgetManager)


def go_on_as_started() -> None:
    """Have whom this process's environment names pay for its calls; it names nobody unless somebody has injected it."""
    go_on(os.environ, BudgetManager)


def instrument() -> Instrumented:
    """Hook the SDKs now. Done by itself with the first manager, block or ``configure``; repeating it does no harm.

    Where variables or a file state settings of the default manager, it is made by them.

    Returns:
        What is metered now: ``packages``, each installed package that makes paid calls with its version and state
        (``"hooked"``, ``"hooked when imported"``, ``"missing: ..."`` and what is not there to be hooked, ...), and
        ``unmetered``, the names of those that nothing meters. ``budgeted doctor`` prints the same, and knows of what is
        not imported yet what will be missing.

    Example:
        >>> if not (found := instrument()).complete:
        ...     raise SystemExit(f"not all calls are metered: {found}")
    """
    open_managers.make_as_stated(BudgetManager)
    providers.instrument()
    return providers.instrumented()


def uninstrument() -> None:
    """Take the hooks out. Calls in flight are settled; later ones are not metered."""
    providers.uninstrument()
