"""What is recorded for a row of the corpus: its request, sent by the real SDK, and answered as the row says.

Each JSON file has the rows of one provider. A row has a ``name``, the ``request``, the ``answer`` and the ``stream`` as
they are sent, the ``bill_usd`` that its ``arithmetic`` comes to by a price of which ``price_source`` is the place, and
where the shape was ``reported``. A report that nobody has looked at again begins with "unconfirmed"; and most rates are
those of genai-prices, so that these rows find few mistakes in its list.

A row is called through the provider's own SDK, plain and streamed, and through LiteLLM where the request has that name.
What nobody can price is ``"uncertain"``: at least the bill, and listed with what the row ``names``.
"""

from __future__ import annotations

import datetime as dt
import gc
import json
from collections.abc import Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

from canned_server import Canned, CannedServer, stream, whole
from clocks import Clock
from sdk_calls import CALLS, texts

from budgeted import BudgetManager
from budgeted.manager.balances import UncertainCharge
from budgeted.metering import drain

_HERE = Path(__file__).parent
FILES = sorted(path.stem for path in _HERE.glob("*.json"))
SETTLED_IN = 3.0
A_WEDNESDAY = "2026-11-25T12:00:00+00:00"
"""When a call is made if its row does not say: no hour, and no day, that a provider has a price of its own for."""


def read(provider: str) -> Mapping[str, Any]:
    """A file of rows."""
    found: Mapping[str, Any] = json.loads((_HERE / f"{provider}.json").read_text())
    return found


def nano(usd: str) -> int:
    """A bill in nano-USD, rounded up once."""
    return int((Decimal(usd) * 10**9).to_integral_value(ROUND_CEILING))


def cases(row: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Canned]]]:
    """How a row is called: what that is called, by which SDK, and the answers, each of which makes the same bill."""
    headers = row.get("answer_headers")
    sdks = [("", row["request"]["sdk"])]
    if "litellm" in row["request"]:
        sdks.append((" through LiteLLM", "litellm"))
    for through, sdk in sdks:
        if "answer" in row:
            yield f"{row['name']}{through}", sdk, [whole(row["answer"], headers)]
        if "stream" in row:
            kind, events = row.get("stream_kind", "sse"), row["stream"]
            ways = [stream(events, kind, headers), stream(events, kind, headers, cut=13)]
            if kind != "aws":
                ways.append(stream(events, kind, headers, cut=101, zipped=True))
            yield f"{row['name']}, streamed{through}", sdk, ways


def wrong(server: CannedServer, row: Mapping[str, Any], sdk: str, canned: Canned) -> str:
    """What is wrong with what is recorded for a call; "" if nothing is."""
    at = dt.datetime.fromisoformat(row["request"].get("at", A_WEDNESDAY)).timestamp()
    manager = BudgetManager(ledger="memory://", max_budget=10_000, clock=Clock(at))
    problems = []
    try:
        with manager.budget("alice", cap=10_000) as block:
            try:
                answer = CALLS[sdk](row["request"], server.give(canned), stream=canned.streamed)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what the caller gets
                answer = None
                if not row.get("raises"):
                    return f"{type(error).__name__}: {str(error)[:160]}"
            else:
                if row.get("raises"):
                    problems.append("nothing was raised")
                elif b"Fine." in b"".join(canned.packets) and not any("Fine." in text for text in texts(answer)):
                    problems.append("the answer did not reach the caller")
            del answer
            if block.held:
                gc.collect()  # what nobody has read to its end
                drain.finish(SETTLED_IN)
        manager.flush()
        if block.held:
            problems.append(f"{block.held} USD are still held")
        problems += _misjudged(row, round(manager.balance("alice").spent * 1e9), manager.uncertain())
    finally:
        manager.close()
    return "; ".join(problems)


def _misjudged(row: Mapping[str, Any], spent: int, listed: list[UncertainCharge]) -> Iterator[str]:
    """What is wrong with what was spent (nano-USD), and with what is listed as uncertain."""
    bill = nano(row["bill_usd"])
    if row["expected"] == "exact":
        if spent != bill:
            yield f"{spent} nano-USD, not {bill}" + "".join(f" ({each.reason})" for each in listed)
        elif listed:
            yield f"listed as uncertain: {listed[0].reason}"
        return
    if spent < bill:
        yield f"{spent} nano-USD, less than {bill}"
    if not listed:
        yield f"not listed as uncertain, at {spent} nano-USD (the bill: {bill})"
    elif row.get("names", "") not in listed[0].reason:
        yield f"its reason does not name {row['names']!r}: {listed[0].reason}"
