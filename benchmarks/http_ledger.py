"""What a hold and its settlement take over HTTP, next to bare requests of the same size, and what many clients reach.

The server is `budgeted serve` over memory. The bare requests are POSTs on a kept-alive connection of the same client to
a server of the same kind (uvicorn, Starlette) whose one endpoint reads the body and answers with as many bytes as the
ledger's does.
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

from benchmarks.crew import work_together
from benchmarks.measuring import in_turn, line, together
from benchmarks.servers import Served, serving
from benchmarks.verbs import verbs
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.http.kept_connections import KeptConnections
from budgeted.ledger.http.ledger import HTTPLedger

CALLS = 250
CLIENTS, THREADS = 4, 32
SECONDS = 60
BARE = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def answer(request):
    await request.body()
    return Response(b"x" * int(request.query_params["bytes"]), media_type="application/json")

app = Starlette(routes=[Route("/", answer, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), ws="none", access_log=False, server_header=False, log_level="warning")
"""
SERVED = "from budgeted.cli import main; main()"


def compare(url: str, bare_url: str) -> None:
    ledger = HTTPLedger(url, "compared")
    hold, settle = verbs(ledger)
    sizes: list[tuple[bytes, int]] = []
    post = ledger._channel.post

    def noted(path: str, body: bytes, deadline: float, **options: Any) -> tuple[int, bytes]:
        answer = post(path, body, deadline, **options)
        sizes.append((body, len(answer[1])))
        return answer

    with patch.object(ledger._channel, "post", noted):
        hold()
        settle()
    client = KeptConnections(urlsplit(bare_url), {"content-type": "application/json"}, None)

    def bare(number: int) -> None:
        body, answered = sizes[number]
        assert client.ask(f"/?bytes={answered}", body, {}, SECONDS)[0] == 200

    floor_hold, held, floor_settle, settled = in_turn(lambda: bare(-2), hold, lambda: bare(-1), settle)
    client.close()
    ledger.close()
    line(f"a bare POST of {len(sizes[-2][0])} bytes", f"{floor_hold:.0f} us")
    line("a hold on two accounts", f"{held:.0f} us", f"{held / floor_hold:.2f} times that")
    line(f"a bare POST of {len(sizes[-1][0])} bytes", f"{floor_settle:.0f} us")
    line("its settlement", f"{settled:.0f} us", f"{settled / floor_settle:.2f} times that")
    both, floor = held + settled, floor_hold + floor_settle
    line("a call: both", f"{both:.0f} us", f"{both / floor:.2f} times two bare requests (aim: at most 2)")


def call(act: tuple[Callable[[], object], Callable[[], object]], times: int) -> None:
    hold, settle = act
    for _ in range(times):
        hold()
        settle()


def work(url: str, gate: Any) -> None:
    """One client of several, in a process of its own."""
    ledger = HTTPLedger(url, "clients")
    act = verbs(ledger, alone=False)
    call(act, CALLS // 10)
    gate.wait()
    call(act, CALLS)
    ledger.close()


def clients(served: Served, url: str) -> None:
    """Calls per second of several clients that do nothing else, and what they take of the server's processor."""
    context = multiprocessing.get_context("spawn")
    gate = context.Barrier(CLIENTS + 1)
    computed = served.computed
    seconds = together([context.Process(target=work, args=(url, gate)) for _ in range(CLIENTS)], gate)
    made = CLIENTS * (CALLS + CALLS // 10)
    each = (served.computed - computed) / made * 1e6
    figure = f"{CLIENTS * CALLS / seconds:,.0f}/s"
    line(f"{CLIENTS} clients, a hold and a settlement each", figure, f"{each:.0f} us of the server's processor")
    require_exact(url, "clients", made)


def threads(url: str) -> None:
    """Calls per second of the threads of one client."""
    ledger = HTTPLedger(url, "threads")
    act = [verbs(ledger, alone=False) for _ in range(THREADS)]
    gate = threading.Barrier(THREADS + 1)

    def work_here(number: int) -> None:
        gate.wait()
        call(act[number], CALLS // 5)

    seconds = together([threading.Thread(target=work_here, args=(number,)) for number in range(THREADS)], gate)
    ledger.close()
    made = THREADS * (CALLS // 5)
    line(f"{THREADS} threads of one client", f"{made / seconds:,.0f}/s")
    require_exact(url, "threads", made)


def require_exact(url: str, project: str, calls: int) -> None:
    ledger = HTTPLedger(url, project)
    account = ledger.read(GLOBAL)
    assert account is not None
    assert (account.calls, account.held) == (calls, 0), f"{account.calls} calls, held {account.held}; made {calls}"
    ledger.close()


def main() -> None:
    ours = [sys.executable, "-c", SERVED, "serve", "--port", "{port}"]
    with serving(ours, {"BUDGETED_LEDGER": "memory://"}) as served:
        url = f"http://127.0.0.1:{served.port}"
        with serving([sys.executable, "-c", BARE, "{port}"]) as bare:
            compare(url, f"http://127.0.0.1:{bare.port}")
        clients(served, url)
        threads(url)
        work_together("one server", url, CALLS)
