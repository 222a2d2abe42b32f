"""Blocks that are opened inside generators, whose steps run in whatever thread and context asks for them.

Python gives a generator no context of its own: what its first step makes current stays with whoever took that step, and
its next step, in another thread or in a copy of the context, finds nothing of it. So such a block is also known by the
frame that it was opened in: a call looks which generators it runs inside.
"""

from __future__ import annotations

import gc
import inspect
import sys
import threading
from contextvars import Token
from types import FrameType
from typing import Any

from opentelemetry.context import Context, attach, get_current, get_value, set_value
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

from budgeted.payers.block_figures import BlockFigures
from budgeted.payers.calling_code import FOR_ITS_CALLER, opening_frame
from budgeted.payers.lost_blocks import note_entered_in_generator
from budgeted.payers.scope import KEY, Scope, current, finder, leave

GENERATORS = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
"""The flags of code that is run in steps."""


class InGenerator(Scope, kw_only=True):
    """The scope of a block that a generator has opened.

    Args:
        frame: the generator's. To keep it keeps nothing alive: a generator that is forgotten is closed all the same.
        before: what its context had in its place.
        place: the thread and the task that it was entered in.
        left: True once the block has ended, where its scope may still be the current one.
    """

    frame: FrameType
    before: Scope | None
    place: tuple[int, int]
    left: bool = False


_open: dict[FrameType, list[InGenerator]] = {}
"""The blocks that are open in each generator, the innermost last."""


def for_generator(scope: Scope, opening: FrameType) -> Scope:
    """The scope that a block is to be entered with: its own, or one by which a generator's steps find it.

    Args:
        scope: of a block.
        opening: the frame of whoever calls the block's ``__enter__`` or ``__aenter__``.
    """
    opening = opening_frame(opening)
    if not opening.f_code.co_flags & GENERATORS:
        return scope
    if scope.payer is not None:
        note_entered_in_generator(opening, scope.payer)
    frame = _stepped(opening)
    if frame is None:
        return scope
    before: Any = get_value(KEY)
    before = _still_open(before)  # so that no chain grows of those that ended
    inside = InGenerator(
        scope.groups,
        scope.blocks,
        scope.payer,
        scope.offer,
        scope.silent,
        scope.unmetered,
        frame=frame,
        before=before,
        place=_place(),
    )
    _open.setdefault(frame, []).append(inside)
    if not finder:
        gc.callbacks.append(_note_collection)
        finder[:] = [_FINDER]
    return inside


def leave_block(scope: Scope, *, closing: bool = False) -> None:
    """End the scope of a block, wherever its generator has come to. It may be repeated.

    Args:
        scope: as :func:`for_generator` gave it.
        closing: whether the generator is being closed, perhaps by the collector.
    """
    if not isinstance(scope, InGenerator):
        leave(scope)
        return
    if get_current().get(KEY) is scope and (not closing or _may_change_context()):
        # Not by the token: the context may be a copy of the one that this was entered in.
        attach(set_value(KEY, _still_open(scope.before)))
    scope.token = None
    scope.left = True
    opened = _open.get(scope.frame, [])
    if scope in opened:
        opened.remove(scope)
    if not opened:
        _open.pop(scope.frame, None)


def entered_for(block: BlockFigures) -> Scope | None:
    """The scope that a block was entered with, which is to be left here; None where it is not seen.

    Args:
        block: which is left.
    """
    scope = current()
    while scope is not None:
        if scope.blocks and scope.blocks[-1] is block and scope.token is not None:
            return scope
        # A generator that was begun inside the block, and is not through, has left its own there.
        scope = scope.before if isinstance(scope, InGenerator) else None
    for opened in list(_open.values()):
        for inside in reversed(opened):
            if inside.blocks and inside.blocks[-1] is block:
                return inside
    return None


def _stepped(frame: FrameType) -> FrameType | None:
    """The generator whose steps a block is open for; None for any other code, which runs in one context."""
    while frame.f_code.co_flags & GENERATORS:
        caller = frame.f_back
        # The generator of a context manager opens for the code that enters it.
        if caller is None or caller.f_code.co_name not in FOR_ITS_CALLER:
            return frame
        frame = opening_frame(caller)
    return None


class _InGenerators:
    """See :class:`~budgeted.payers.scope.Finder`."""

    def found(self, current: Scope | None) -> Scope | None:
        open_one = _still_open(current)
        if open_one is not current and _may_change_context():  # so that no task is started with it any more
            attach(set_value(KEY, open_one))
        current = open_one
        if not _open:
            return current
        frame: FrameType | None = sys._getframe(2)  # noqa: SLF001
        while frame is not None:
            opened = _open.get(frame)
            if opened:
                inside = opened[-1]
                return current if current is not None and _is_within(current, inside) else inside
            frame = frame.f_back
        return current

    def uncover(self, scope: Scope, token: Token[Context]) -> None:
        covering: Any = get_value(KEY)
        while isinstance(covering, InGenerator):
            covering = covering.before
        if covering is scope:
            before = token.old_value
            attach(set_value(KEY, before.get(KEY) if isinstance(before, dict) else None))


_FINDER = _InGenerators()


_collecting: set[int] = set()
"""The thread that the collector runs in, while it does."""


def _note_collection(phase: str, _: dict[str, int]) -> None:
    if phase == "start":
        _collecting.add(threading.get_ident())
    else:
        _collecting.discard(threading.get_ident())


def _may_change_context() -> bool:
    """Whether this runs in the midst of no other change of the context: CPython does not bear two at once.

    A generator may be closed because nobody refers to it any more: by the collector, at any moment, or because what
    referred to it was in the context.
    """
    if threading.get_ident() in _collecting:
        return False
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None:
        if frame.f_code in _CHANGES_OF_CONTEXT:
            return False
        frame = frame.f_back
    return True


_CHANGES_OF_CONTEXT = tuple(
    change.__code__ for change in (ContextVarsRuntimeContext.attach, ContextVarsRuntimeContext.detach)
)


def _still_open(scope: Scope | None) -> Scope | None:
    """A scope of the running context, or the next one around it that has not been left.

    Where a generator has ended while another one's block covered its own, that could not be taken away. Tasks and
    threads that were started inside it go on with it.
    """
    if isinstance(scope, InGenerator) and scope.left:
        place = _place()
        while isinstance(scope, InGenerator) and scope.left and scope.place == place:
            scope = scope.before
    return scope


def _is_within(current: Scope, inside: InGenerator) -> bool:
    """Whether a context's scope was entered inside a generator's block, by code that its present step runs."""
    if current is inside:
        return True
    # Another generator's own, that has been left in the context, is not: its step is not running.
    return not isinstance(current, InGenerator) and all(block in current.blocks for block in inside.blocks)


def _place() -> tuple[int, int]:
    """The running thread and task."""
    asyncio, trio = sys.modules.get("asyncio"), sys.modules.get("trio")
    task: object = None
    if asyncio is not None and asyncio._get_running_loop() is not None:  # noqa: SLF001 - the public one raises
        task = asyncio.current_task()
    elif trio is not None and trio.lowlevel.in_trio_task():
        task = trio.lowlevel.current_task()
    return threading.get_ident(), 0 if task is None else id(task)
