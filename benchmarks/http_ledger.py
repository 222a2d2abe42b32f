"""What a hold and its settlement take over HTTP, next to bare requests of the same size, and what 8 clients reach.

The server is `budgeted serve` over memory. The bare requests are POSTs on a kept-alive connection of the same client
library to a server of the same kind (uvicorn, Starlette) whose one endpoint reads the body and answers with as many
bytes as the ledger's does.
"""

from __future__ import annotations

import sys
from unittest.mock import patch

import httpx2

from benchmarks.crew import work_together
from benchmarks.measuring import in_turn, line
from benchmarks.servers import serving
from benchmarks.verbs import verbs
from budgeted.ledger.http.ledger import HTTPLedger

CALLS = 250
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

    def noted(path: str, body: bytes, deadline: float, *, once: str | None = None) -> tuple[int, bytes]:
        answer = post(path, body, deadline, once=once)
        sizes.append((body, len(answer[1])))
        return answer

    with patch.object(ledger._channel, "post", noted):
        hold()
        settle()
    client = httpx2.Client(headers={"content-type": "application/json"})

    def bare(number: int) -> None:
        body, answered = sizes[number]
        client.post(f"{bare_url}/?bytes={answered}", content=body)

    floor_hold, held, floor_settle, settled = in_turn(lambda: bare(-2), hold, lambda: bare(-1), settle)
    client.close()
    ledger.close()
    line(f"a bare POST of {len(sizes[-2][0])} bytes", f"{floor_hold:.0f} us")
    line("a hold on two accounts", f"{held:.0f} us", f"{held / floor_hold:.2f} times that")
    line(f"a bare POST of {len(sizes[-1][0])} bytes", f"{floor_settle:.0f} us")
    line("its settlement", f"{settled:.0f} us", f"{settled / floor_settle:.2f} times that")
    both, floor = held + settled, floor_hold + floor_settle
    line("a call: both", f"{both:.0f} us", f"{both / floor:.2f} times two bare requests (aim: at most 2)")


def main() -> None:
    ours = [sys.executable, "-c", SERVED, "serve", "--port", "{port}"]
    with serving(ours, {"BUDGETED_LEDGER": "memory://"}) as served:
        url = f"http://127.0.0.1:{served.port}"
        with serving([sys.executable, "-c", BARE, "{port}"]) as bare:
            compare(url, f"http://127.0.0.1:{bare.port}")
        work_together("one server", url, CALLS)
