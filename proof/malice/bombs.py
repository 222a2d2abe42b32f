"""Texts, answers and streams that are made to be slow to read or large to keep: each is done with in its time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial

from budgeted import BudgetError, BudgetManager, Limit
from budgeted.pricing import tiktoken_counting
from budgeted.wire.aws_event_stream import FrameMeter
from budgeted.wire.content_type_and_encoding import read_whole
from budgeted.wire.server_sent_events import EventMeter, LineMeter
from proof.malice import hostile_text
from proof.malice.checked import require
from proof.trial import Case

SECONDS = 5.0
"""Processor time that no reader takes for its text: what looks again at what it has seen takes minutes."""

DEEP = 100_000


def attempt(case: Case) -> None:
    """One reader, and one text."""
    rng = case.rng
    reader = rng.choice([*READERS])
    deep = rng.random() < 0.3
    size = int(2 ** rng.uniform(8, 19 if reader in STREAMS else 17))
    text = hostile_text.nested(rng, rng.randint(100, DEEP)) if deep else hostile_text.text(rng, size)
    case.fault("deep JSON" if deep else "long text")
    case.tell(f"{reader}: {len(text)} characters, {text[:60]!r} ... {text[-20:]!r}")
    piece = rng.choice([1000, 4096, 16_384])
    began = time.process_time()
    if reader in STREAMS:
        data = text.encode("utf-8", "surrogatepass")
        meter = STREAMS[reader]()
        passed = b"".join(meter.feed(data[at : at + piece]) for at in range(0, len(data), piece)) + (
            meter.flush() or b""
        )
        if reader != "frames":
            require(passed in (data, b""), "a stream is passed on as it came")
        meter.answer()
    else:
        try:
            READERS[reader](text)
        except (ValueError, TypeError, BudgetError):
            case.tell("refused")
    taken = time.process_time() - began
    require(taken < SECONDS, f"{reader} takes no more than {SECONDS} seconds: {taken:.1f}")


def _manager(run: Callable[[BudgetManager, str], object], text: str) -> None:
    with BudgetManager("bombs", ledger="memory://", max_budget=1, unpriced="free") as manager:
        manager.create_budget(1, "alice")
        run(manager, text)


def _parsed(text: str) -> object:
    """A provider's answer, as an SDK would have it: it cannot read what is nested without end, and we are not asked."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError from error


STREAMS: dict[str, Callable[[], EventMeter]] = {
    "events": EventMeter,
    "events whose usage is hidden": partial(EventMeter, drop_usage=True),
    "lines": LineMeter,
    "frames": FrameMeter,
}

READERS: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(STREAMS, len),
    "a limit": Limit,
    "an amount": partial(_manager, lambda manager, text: manager.hold(cost=text)),
    "a user": partial(_manager, lambda manager, text: manager.set_limits(text, "$1")),
    "a model": partial(_manager, lambda manager, text: manager.projected_cost(text, [], "alice")),
    "a prompt": partial(_manager, lambda manager, text: manager.hold("gpt-4o", text)),
    "messages": partial(
        _manager,
        lambda manager, text: manager.projected_cost("gpt-4o", [{"role": "user", "content": text}], "alice"),
    ),
    "an answer": read_whole,
    "an answer's bytes": lambda text: read_whole(_parsed(text)),
    "tokens": lambda text: tiktoken_counting.count(text, "gpt-4o"),
}
