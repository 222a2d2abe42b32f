"""budgeted beside the other packages that limit what LLM calls cost, in the same run.

Race: a budget of $1.00, calls that cost $0.099 (so that ten fit) and take 50 ms, 50 of them at once, through the real
OpenAI SDK, on a provider simulated on loopback that counts what it bills. Then 50 more. Overhead: what the package adds
to a call that is answered at once. kill -9: how many of the calls that were billed the next process does not know of,
where a package keeps anything. Every package has a process of its own for each of these; `peer_adapters` says how each
is used, and the dependency group `peers` brings them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import redis

from benchmarks.guarded_call import PASSES, Floor, call_times, floor_times, guarded
from benchmarks.measuring import best
from benchmarks.peer_adapters import INPUT_TOKENS, OUTPUT_TOKENS, PEERS, Peer
from benchmarks.redis_ledger import server
from budgeted import BudgetManager
from budgeted.testing import Reply, SimulatedProvider
from budgeted.testing.provider_interface import Provider

REPLY = Reply(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS, latency=0.05)
ROUNDS = 4
KILL_AFTER = 40
SECONDS = 180
HEAD = (
    ("", "50 threads", "", "", "50 more", "50 tasks", "kill -9", "adds to"),
    ("", "billed", "it says", "answers", "billed", "billed", "lost", "a call"),
)


class Runs:
    """Starts the processes in which the packages are measured."""

    def __init__(self, provider: Provider, redis_url: str) -> None:
        self.provider = provider
        self.redis = redis_url
        root = str(Path(__file__).parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self.environment = dict(
            os.environ, PYTHONPATH=path, REDIS_URL=redis_url, LITELLM_LOCAL_MODEL_COST_MAP="True", **encodings()
        )

    def fresh(self) -> None:
        """Forget what was billed and kept."""
        self.provider.reset()
        self.provider.reply(REPLY)
        with redis.Redis.from_url(self.redis) as client:
            client.flushall()

    def start(self, peer: Peer, run: str, folder: str) -> subprocess.Popen[bytes]:
        """A process that measures this, at home in the folder."""
        command = [sys.executable, "-m", "benchmarks.peer_runs", peer.name, run, self.provider.url, f"{folder}/result"]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(
            command, cwd=folder, env={**self.environment, "HOME": folder}, stdout=quiet, stderr=quiet
        )

    def result(self, peer: Peer, run: str, folder: str) -> Mapping[str, Any]:
        """What such a process says."""
        process = self.start(peer, run, folder)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return {"failed": f"no end after {SECONDS} s"}
        result = Path(folder, "result")
        return json.loads(result.read_bytes()) if result.exists() else {"failed": f"exit code {process.returncode}"}

    def run(self, peer: Peer, run: str) -> Mapping[str, Any]:
        """One measurement, with nothing left of those before."""
        self.fresh()
        with tempfile.TemporaryDirectory() as folder:
            return self.result(peer, run, folder)

    def killed(self, peer: Peer) -> Mapping[str, Any]:
        """What is known after a process was killed with calls in flight."""
        self.fresh()
        with tempfile.TemporaryDirectory() as folder:
            process = self.start(peer, "doomed", folder)
            patience = time.monotonic() + SECONDS
            while process.poll() is None and len(self.provider.bill) < KILL_AFTER and time.monotonic() < patience:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.provider.wait_idle()
            return self.result(peer, "after", folder)


def encodings() -> dict[str, str]:
    """Where LiteLLM's wheel has tiktoken's files, so that packages that count tokens need not download them."""
    litellm = importlib.util.find_spec("litellm")
    files = Path(litellm.origin or "").parent / "litellm_core_utils" / "tokenizers" if litellm else None
    return {} if files is None or "TIKTOKEN_CACHE_DIR" in os.environ else {"TIKTOKEN_CACHE_DIR": str(files)}


class Table:
    """Rows as they are measured, and notes for below."""

    def __init__(self) -> None:
        self.rows: dict[str, list[str]] = {}
        self.notes: dict[str, None] = {}

    def cell(self, peer: Peer, result: Mapping[str, Any], text: str) -> str:
        """The text with figures of the result, or a note of what happened instead."""
        if "failed" not in result:
            return text.format_map(result)
        self.notes[f"{peer.name}: {result['failed']}"] = None
        return "failed"

    def race(self, runs: Runs, peer: Peer) -> list[str]:
        """What threads and tasks spend."""
        if not peer.shared:
            self.notes[f"{peer.name}: not to be shared by threads or tasks, says its documentation"] = None
            return ["-"] * 5
        threads = runs.run(peer, "threads")
        tasks = runs.run(peer, "tasks") if peer.asynchronous else {}
        for name, times in {**threads.get("errors", {}), **tasks.get("errors", {})}.items():
            if "Budget" not in name and name != "Refused":
                self.notes[f"{peer.name}: {times} calls raised {name}"] = None
        texts = ("{billed:.2f}", "{says:.2f}", "{answers}", "{more:.2f}")
        return [
            *(self.cell(peer, threads, text) for text in texts),
            self.cell(peer, tasks, "{billed:.2f}") if peer.asynchronous else "no async",
        ]

    def killed(self, runs: Runs, peer: Peer) -> str:
        """What it has forgotten after a kill -9."""
        return self.cell(peer, runs.killed(peer), "{lost} of {calls}") if peer.kept else "keeps none"

    def overhead(self, peer: Peer, results: list[Mapping[str, Any]]) -> str:
        """What it adds to a call, at best."""
        failed = [result for result in results if "failed" in result]
        if failed:
            return self.cell(peer, failed[0], "")
        if not all(result["counted"] for result in results):
            self.notes[f"{peer.name}: did not count every call while it was timed"] = None
        alone, under = (min(result[name] for result in results) for name in ("alone", "guarded"))
        return f"{under - alone:,.1f} us"

    def print(self) -> None:
        """All of it."""
        for row, *cells in (*HEAD, *([name, *cells] for name, cells in self.rows.items())):
            print(f"  {row:41}" + "".join(f"{cell:>12}" for cell in cells))
        for note in self.notes:
            print(f"  {note}")


def decorated(ledger: str) -> float:
    """What a call of a guarded function takes that no SDK makes, as in `guarded_call`."""
    with BudgetManager("peers", max_budget=10**6, ledger=ledger) as manager:
        complete = guarded(manager)
        return best(lambda times: call_times(complete, times), PASSES)


def main() -> None:
    table = Table()
    peers = {}
    for peer in PEERS:
        try:
            peers[f"{peer.name} {version(peer.distribution)}"] = peer
        except PackageNotFoundError:
            table.notes[f"{peer.name}: not installed"] = None
    overheads: dict[str, list[Mapping[str, Any]]] = {name: [] for name in peers}
    ours: dict[str, list[float]] = {"floor: lock, two additions, twice": [], "in memory": [], "journal": []}
    with SimulatedProvider.spawn() as provider, server() as redis_url, tempfile.TemporaryDirectory() as folder:
        runs = Runs(provider, redis_url)
        for _ in range(ROUNDS):  # round by round, so that the noise of the machine hits all
            for name, peer in peers.items():
                overheads[name].append(runs.run(peer, "overhead"))
            floor = best(lambda times: floor_times(Floor(), times), PASSES)
            for figures, figure in zip(ours.values(), (floor, decorated("memory://"), decorated(folder)), strict=True):
                figures.append(figure)
        for name, peer in peers.items():
            cells = table.race(runs, peer)
            table.rows[name] = [*cells, table.killed(runs, peer), table.overhead(peer, overheads[name])]
    for what, figures in ours.items():
        name = what if what.startswith("floor") else f"budgeted, {what}, a decorated function"
        table.rows[name] = [""] * 6 + [f"{min(figures):.1f} us"]
    table.print()
