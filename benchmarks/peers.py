"""budgeted beside the other packages that limit what LLM calls cost, in the same run.

Race: a budget of $1.00, calls that cost $0.099 (so that ten fit) and take 50 ms, 50 of them at once, through the real
OpenAI SDK, on a provider simulated on loopback that counts what it bills. Then 50 more; and 50 at once that send no
``max_tokens``, which cost the same. Streams: 60 of that cost, one after the other, each left after its first chunk,
where the provider goes on and bills the whole. kill -9: how many of the calls that were billed the next process does
not know of, where a package keeps anything. Overhead: what the package adds to a call that is answered at once, in
microseconds and, of those that keep the limit in the race, in instructions. Every package has a process of its own for
each of these; `peer_adapters` says how each is used, and the dependency group `peers` brings them.

What came of it is kept in `build`, from where ``python -m benchmarks.peer_documents`` brings it into the documentation.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Queue
from typing import Any

import redis

from benchmarks import instruction_counts, peer_chart, peer_runs, peer_table
from benchmarks.peer_calls import INPUT_TOKENS, OUTPUT_TOKENS, Peer
from benchmarks.peer_list import PEERS
from benchmarks.peer_table import BUILD, Measured
from benchmarks.redis_ledger import server
from budgeted.testing import Reply, SimulatedProvider
from budgeted.testing.provider_interface import Provider

REPLY = Reply(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS, latency=0.05)
ROUNDS = 3
KILL_AFTER = 40
SECONDS = 180
BESIDE = 3
"""Packages side by side, where times do not count: they wait more than they work."""

ROOT = str(Path(__file__).parents[1])
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["openai.resources.chat.completions", "benchmarks.peer_runs"])


class Runs:
    """Starts the processes in which the packages are measured."""

    def __init__(self, provider: Provider, redis_url: str) -> None:
        self.provider = provider
        self.redis = redis_url
        self.told = {
            "REDIS_URL": redis_url,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "DO_NOT_TRACK": "1",
            "AGENTGUARD_NO_BEACON": "1",
            **encodings(),
        }

    def fresh(self) -> None:
        """Forget what was billed and kept."""
        self.provider.reset()
        self.provider.reply(REPLY)
        with redis.Redis.from_url(self.redis) as client:
            client.flushall()

    def start(self, peer: Peer, run: str, folder: str) -> BaseProcess:
        """A process that measures this."""
        output = f"{folder}/result"
        named = (peer.name, run, self.provider.url, output)
        process = FORKS.Process(target=peer_runs.in_a_fork, args=(folder, {**self.told, "HOME": folder}, *named))
        process.start()
        return process

    def result(self, peer: Peer, run: str, folder: str) -> Mapping[str, Any]:
        """What such a process says."""
        process = self.start(peer, run, folder)
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
            return {"failed": f"no end after {SECONDS} s"}
        return said(folder, process.exitcode)

    def run(self, peer: Peer, run: str) -> Mapping[str, Any]:
        """One measurement, with nothing left of those before."""
        self.fresh()
        with tempfile.TemporaryDirectory() as folder:
            return self.result(peer, run, folder)

    def instructions(self, peer: Peer) -> Mapping[str, Any]:
        """How many a call takes more."""
        self.fresh()
        with tempfile.TemporaryDirectory() as folder:
            module = (sys.executable, "-m", "benchmarks.peer_runs")
            named = (peer.name, "instructions", self.provider.url, f"{folder}/result")
            environment = {**os.environ, **self.told, "HOME": folder, "PYTHONPATH": ROOT}
            quiet = subprocess.DEVNULL
            command = (*instruction_counts.counting(folder), *module, *named)
            ended = subprocess.run(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet, check=False)
            result = said(folder, ended.returncode)
            return result if "failed" in result else {"added": instruction_counts.added(result, folder)}

    def killed(self, peer: Peer) -> Mapping[str, Any]:
        """What is known after a process was killed with calls in flight."""
        self.fresh()
        with tempfile.TemporaryDirectory() as folder:
            process = self.start(peer, "doomed", folder)
            patience = time.monotonic() + SECONDS
            while process.is_alive() and len(self.provider.bill) < KILL_AFTER and time.monotonic() < patience:
                time.sleep(0.01)
            process.kill()
            process.join()
            self.provider.wait_idle()
            return self.result(peer, "after", folder)


def said(folder: str, code: int | None) -> Mapping[str, Any]:
    """What a process has written before it ended."""
    result = Path(folder, "result")
    return json.loads(result.read_bytes()) if result.exists() else {"failed": f"exit code {code}"}


def encodings() -> dict[str, str]:
    """Where LiteLLM's wheel has tiktoken's files, so that packages that count tokens need not download them."""
    litellm = importlib.util.find_spec("litellm")
    files = Path(litellm.origin or "").parent / "litellm_core_utils" / "tokenizers" if litellm else None
    return {} if files is None or "TIKTOKEN_CACHE_DIR" in os.environ else {"TIKTOKEN_CACHE_DIR": str(files)}


def race(runs: Runs, peer: Peer, measured: Measured) -> None:
    """What is billed, of those that meet requests."""
    if peer.timed_only:
        return
    if peer.shared:
        measured.threads = runs.run(peer, "threads")
        if peer.asynchronous:
            measured.tasks = runs.run(peer, "tasks")
        if not peer.estimated_by_caller:
            measured.uncapped = runs.run(peer, "uncapped")
    if peer.streams:
        measured.left = runs.run(peer, "left")
    if peer.kept:
        measured.killed = runs.killed(peer)


def installed(only: Sequence[str]) -> tuple[dict[str, Peer], list[str]]:
    """The packages that are here, by name and version, and a note of each that is not."""
    peers, notes = {}, []
    for peer in PEERS:
        if only and peer.distribution not in only and peer.name not in only:
            continue
        try:
            number = version(peer.distribution)
        except PackageNotFoundError:
            notes.append(f"{peer.name}: not installed")
        else:
            peers[peer.name if peer.distribution == "budgeted" else f"{peer.name} {number}"] = peer
    return peers, notes


def measure(peers: Mapping[str, Peer]) -> dict[str, Measured]:
    """All that is measured of them: times first, while nothing else runs; then what a busy machine does not change."""
    found = {name: Measured() for name in peers}
    with ExitStack() as stack:
        free: Queue[Runs] = Queue()
        for _ in range(BESIDE):
            free.put(stack.enter_context(serving()))
        runs = free.get()
        for number in range(ROUNDS):  # round by round, so that the noise of the machine hits all
            for name, peer in peers.items():
                say(f"round {number + 1} of {ROUNDS}: {name}")
                found[name].overheads.append(runs.run(peer, "overhead"))
        free.put(runs)

        def rest(name: str) -> None:
            say(f"races and instructions: {name}")
            runs = free.get()
            race(runs, peers[name], found[name])
            if instruction_counts.VALGRIND and (peers[name].timed_only or found[name].keeps_the_limit):
                found[name].instructions = runs.instructions(peers[name])
            free.put(runs)

        with ThreadPoolExecutor(BESIDE) as pool:
            list(pool.map(rest, peers))
    return found


def say(what: str) -> None:
    """Show how far it is."""
    print(f"  {what}", file=sys.stderr, flush=True)


@contextmanager
def serving() -> Iterator[Runs]:
    """Runs with a provider and a Redis of their own."""
    with SimulatedProvider.spawn() as provider, server() as redis_url:
        yield Runs(provider, redis_url)


def main(only: Sequence[str] = ()) -> None:
    """Measure all, or those named; tell, and keep what came of it."""
    peers, notes = installed(only)
    found = measure(peers)
    if not instruction_counts.VALGRIND:
        notes.append("no valgrind here (apt-get install valgrind): instructions are not counted")
    table = peer_table.Table(peers, found, notes)
    print(table.text())
    BUILD.mkdir(parents=True, exist_ok=True)
    table.save()
    chart = BUILD / "peers.svg"
    chart.write_bytes(peer_chart.drawn(table))
    print(f"\n  as a chart: {chart}")


if __name__ == "__main__":
    main(sys.argv[1:])
