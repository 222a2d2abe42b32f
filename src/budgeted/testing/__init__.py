"""A simulated LLM provider on loopback, for tests of spending: it speaks the real wire formats and bills exactly.

`SimulatedProvider` runs on a thread, `SimulatedProvider.spawn()` in a process of its own. How a request is answered is
said by a `Reply`: for one request in its header `x-simulate` (the fields as JSON, so that concurrent calls do not get
in each other's way), for the next ones by `provider.queue(...)`, for all others by `provider.reply(...)`.

Where a test has a mock or a replay for a provider, `unmetered()` switches metering off.
"""

from __future__ import annotations

from .billing import PRICES, Bill, Billed, Counts, Rates, read_bill
from .metering_switch import unmetered
from .provider_in_subprocess import SpawnedProvider
from .provider_in_thread import SimulatedProvider
from .provider_interface import Provider
from .scripted_reply import Reply, Request

__all__ = [
    "PRICES",
    "Bill",
    "Billed",
    "Counts",
    "Provider",
    "Rates",
    "Reply",
    "Request",
    "SimulatedProvider",
    "SpawnedProvider",
    "read_bill",
    "unmetered",
]
