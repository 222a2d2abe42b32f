"""The Claude Agent SDK: it starts a program, Claude Code, which makes the requests itself.

So the program is told what it may spend, which is granted as output is to other calls. What a turn has cost, its result
tells. The tools that the program has this process run pay for their own calls.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.metering.http_streams import LEFT_EARLY
from budgeted.metering.item_streams import metered
from budgeted.metering.owner import Owner, end_anywhere
from budgeted.payers.scope import Scope, current, outside
from budgeted.pricing.usage import Usage
from budgeted.providers import claude_agent_limits as limits
from budgeted.providers.claude_session_costs import Session, Turn, is_reset, together
from budgeted.providers.generator_context_propagation import for_caller
from budgeted.providers.metered_method import End
from budgeted.providers.monkeypatching import Hook, enabled
from budgeted.providers.unmeterable_requests import held_by_hand
from budgeted.wire.exception_classification import reason_of
from budgeted.wire.normalized_request import Spending

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Message, ResultMessage

NO_RESULT: Final = "the program ended without a result"
DISCONNECTED: Final = "it was disconnected before its result was read"


def _is_metered() -> bool:
    """Whether somebody pays here, and not by a hold of his own hand."""
    scope = current() or (outside[0] if outside else None)
    return enabled() and scope is not None and not held_by_hand(scope)


def _end(call: Call, turn: Turn) -> End:
    """How a call ends by what its turn has cost."""
    used = turn.used
    if not turn.reason:
        if turn.failed and not used.usd:
            return call.release
        return functools.partial(call.charge, Usage(used.input_tokens, used.output_tokens), used.usd)
    if turn.at_most:
        return functools.partial(call.estimate, turn.reason, None, None, most_output=-(-used.usd // limits.MICRO))
    return functools.partial(call.estimate, turn.reason, None, None, least=used.usd)


def _was_not_started(error: BaseException) -> bool:
    """Whether the program was not started, by what was raised before it said anything."""
    from claude_agent_sdk import CLINotFoundError

    return isinstance(error, (CLINotFoundError, TypeError, ValueError)) or isinstance(error.__cause__, OSError)


# -- one question


class _Run:
    """A call of ``query()``: what its messages tell, until they end or are left. It may have several turns."""

    inside: Scope | None = None

    def __init__(self, call: Call, session: Session) -> None:
        self.call = call
        self.session = session
        self.turns: list[Turn] = []
        self.heard = self.billed = False

    def add(self, message: object) -> bool:
        """Note what a message tells."""
        from claude_agent_sdk import AssistantMessage, ResultMessage, StreamEvent

        self.heard = True
        if isinstance(message, ResultMessage):
            self.turns.append(self.session.turn(message))
            self.billed = False
        elif is_reset(message):
            self.session.begin_anew()
        elif isinstance(message, (AssistantMessage, StreamEvent)):
            self.billed = True
        return True

    def end(self, error: BaseException | None) -> None:
        """The messages have ended, been left, or failed."""
        if not self.call.ended:
            end_anywhere(self.call, self._ending(error))

    async def end_async(self) -> None:
        """The messages have ended, for a coroutine."""
        if not self.call.ended:
            await runner.settled(self.call, self._ending(None))

    def _ending(self, error: BaseException | None) -> End:
        if self.turns and not self.billed:
            return _end(self.call, together(self.turns))
        if error is not None and not self.heard and _was_not_started(error):
            return self.call.release
        reason = NO_RESULT if error is None else LEFT_EARLY if isinstance(error, GeneratorExit) else reason_of(error)
        known = sum(turn.used.usd for turn in self.turns if not turn.at_most)
        return functools.partial(self.call.estimate, reason, None, None, least=known)


def _process_query(
    wrapped: Callable[..., AsyncGenerator[Message]], client: object, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncGenerator[Message]:
    given = {**dict(zip(("prompt", "options", "transport"), args, strict=False)), **kwargs}
    return _messages(wrapped, given) if _is_metered() else wrapped(*args, **kwargs)


async def _messages(
    wrapped: Callable[..., AsyncGenerator[Message]], given: Mapping[str, Any]
) -> AsyncGenerator[Message]:
    """The SDK's generator starts its program when it is first read: so it is held then."""
    options: ClaudeAgentOptions = given["options"]
    owner, run = Owner(), None
    try:
        session = Session(options)
        asked = limits.request(options, limits.spending(limits.named_limit(options), session.spent))
        call = await runner.begin_async(asked, owner)
        if call is not None:
            reached = given.get("transport") is None
            given = {**given, "options": limits.with_grant(options, call, session.spent, reached=reached)}
            call.begun = True
            run = _Run(call, session)
        source: Any = wrapped(**given) if run is None else metered(run, wrapped(**given))
        async with contextlib.aclosing(source) as messages:
            try:
                async for message in messages:
                    yield message
            except GeneratorExit as error:  # first of all: the program takes seconds to end, and the loop may be gone
                if run is not None:
                    run.end(error)
                raise
    except BaseException as error:
        if run is None:
            owner.give_up(error)
        else:
            run.end(error)
        raise


# -- a conversation


class _Program:
    """A client's program: the limit that it was told, and the turns that were asked for, the oldest first.

    Attributes:
        by_options: whether its options reach the program.
        limit: nano-USD, as the program counts them; None if it has none.
        turns: the calls whose results are still to come, None for those that nobody pays for.
        last: the last call that has ended, to which belongs what the program does unasked.
    """

    def __init__(self, client: ClaudeSDKClient) -> None:
        self.session = Session(client.options)
        # By a transport of its user's own, no option reaches the program.
        self.by_options = client._custom_transport is None  # noqa: SLF001 - kept nowhere else
        self.limit = limits.named_limit(client.options) if self.by_options else None
        self.turns: deque[Call | None] = deque()
        self.last: Call | None = None

    def spending(self) -> Spending:
        """What is to be held for one more turn: what the program may still spend, unless that is held already."""
        if any(self.turns) and self.limit is not None:
            return limits.ONE_MORE
        return limits.spending(self.limit, self.session.spent)

    async def note(self, message: object) -> None:
        """Note what a message tells: a result ends a turn."""
        from claude_agent_sdk import ResultMessage

        if is_reset(message):
            self.session.begin_anew()
        elif isinstance(message, ResultMessage):
            await self._end_turn(message)

    async def _end_turn(self, result: ResultMessage) -> None:
        turn = self.session.turn(result)
        call = self.turns.popleft() if self.turns else self.last
        if call is None:
            return
        if call.ended:  # its turn is over: this one began by itself, such as when a task in the background ended
            await runner.settled(call, functools.partial(call.charge_apart, turn.used, turn.reason))
            return
        self.last = call
        await runner.settled(call, _end(call, turn))

    async def lose(self, reason: str) -> None:
        """No result will come any more."""
        while self.turns:
            call = self.turns.popleft()
            if call is not None and not call.ended:
                await runner.settled(call, functools.partial(call.estimate, reason, None, None))


_programs: weakref.WeakKeyDictionary[ClaudeSDKClient, _Program] = weakref.WeakKeyDictionary()


async def _connect(
    wrapped: Callable[..., Any], client: ClaudeSDKClient, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """The program is started here, and told what it may spend; that is held from its first turn on."""
    program, options, owner = _Program(client), client.options, Owner()
    prompt = args[0] if args else kwargs.get("prompt")
    try:
        call = await _begin(client, program, owner) if _is_metered() else None
        if call is not None:
            client.options = limits.with_grant(options, call, program.session.spent, reached=program.by_options)
            program.limit = limits.named_limit(client.options) if program.by_options else None
            if prompt is None:
                call.abandon()
            else:
                call.begun = True
        if prompt is not None:
            program.turns.append(call)
        await wrapped(*args, **kwargs)
        _programs[client] = program
    except BaseException as error:
        if owner.call is not None and _was_not_started(error):
            owner.end = owner.call.release
        owner.give_up(error)
        raise
    finally:
        client.options = options


async def _begin(client: ClaudeSDKClient, program: _Program, owner: Owner) -> Call | None:
    return await runner.begin_async(limits.request(client.options, program.spending()), owner)


async def _query(
    wrapped: Callable[..., Any], client: ClaudeSDKClient, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    program = _programs.get(client)
    if program is None:  # connected before it was hooked
        program = _programs[client] = _Program(client)
    owner = Owner()
    try:
        call = await _begin(client, program, owner) if _is_metered() else None
        if call is not None:
            if program.limit is None and limits.is_limited(call):
                raise limits.unbounded(call, limits.CONNECTED_BEFORE)  # noqa: TRY301 - the call is given back below
            call.begun = True
    except BaseException as error:
        owner.give_up(error)
        raise
    program.turns.append(call)
    try:
        await wrapped(*args, **kwargs)
    except Exception:
        # The program has not got it. Of several messages it may have got some: their result ends the turn.
        if call is not None and isinstance(args[0] if args else kwargs.get("prompt"), str):
            program.turns.remove(call)
            await runner.settled(call, call.release)
        raise


def _receive_messages(
    wrapped: Callable[..., AsyncGenerator[Message]],
    client: ClaudeSDKClient,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> AsyncGenerator[Message]:
    program = _programs.get(client)
    messages = wrapped(*args, **kwargs)
    return messages if program is None else _received(program, messages)


async def _received(program: _Program, messages: AsyncGenerator[Message]) -> AsyncGenerator[Message]:
    """The program goes on, whoever stops reading: its next result ends the turn."""
    async with contextlib.aclosing(messages):
        try:
            async for message in messages:
                await program.note(message)
                yield message
        except Exception as error:
            await program.lose(reason_of(error))
            raise
    await program.lose(NO_RESULT)


async def _disconnect(
    wrapped: Callable[..., Any], client: ClaudeSDKClient, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    program = _programs.pop(client, None)
    try:
        await wrapped(*args, **kwargs)
    finally:
        if program is not None:
            await program.lose(DISCONNECTED)


_CLIENT = "claude_agent_sdk.client"

HOOKS = (
    Hook("claude_agent_sdk._internal.client", "InternalClient.process_query", _process_query),
    Hook("claude_agent_sdk", "query", for_caller),
    Hook(_CLIENT, "ClaudeSDKClient.connect", _connect),
    Hook(_CLIENT, "ClaudeSDKClient.query", _query),
    Hook(_CLIENT, "ClaudeSDKClient.receive_messages", _receive_messages),
    Hook(_CLIENT, "ClaudeSDKClient.disconnect", _disconnect),
)
