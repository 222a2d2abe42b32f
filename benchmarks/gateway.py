"""`budgeted gateway` beside LiteLLM's proxy and beside bare proxies, in the same run.

All stand before one provider that answers at once, in a process of its own, and are asked by one client, for chat
completions of OpenAI, whole and streamed. Ours holds and settles each on a journal, for the global account and a user.
LiteLLM's is started as its documentation does, with one worker, from an environment of its own, which `make
.venv-gateway-rivals/.ready` installs; it is left out where that is not there. The bare ones are `bare_proxies`.

What each answers is checked before it is timed, and what ours has charged after that. They take turns, round by round:
of requests per second, the best round counts, of latencies, all of them. LONG=1 has 100,000 streams, for the memory
that they leave behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import fixed_upstream, http_load
from benchmarks.measuring import line
from benchmarks.servers import Served, serving
from budgeted import BudgetManager

TOGETHER = 50
ROUNDS, SECONDS = 4, 2.0
PER_SECOND, TIMES = 20, 100
"""Of requests that are timed one by one, per round: LiteLLM's proxy bears no more than three times as many a second."""

WARM_UP = 200
STREAMS = 100_000 if os.environ.get("LONG") else 10_000
FEW = 50
"""By how much fewer streams there are where so many would take an hour."""

LITELLM = Path(__file__).parent.parent / ".venv-gateway-rivals" / "bin" / "litellm"
USER = "alice"
USD = 7.8e-6  # of 12 tokens at $0.15 and 10 at $0.60 per million

DIRECT, OURS, BARE, BARE_HTTPX, LITELLMS = "the upstream", "ours", "bare, aiohttp", "bare, httpx", "LiteLLM's"
HEADERS = {
    "content-type": "application/json",
    "accept": "application/json",
    "user-agent": "OpenAI/Python 3.0",
    "authorization": "Bearer sk-1",
    "x-budgeted-user": USER,
}


def asking(say: str, **fields: object) -> bytes:
    """A chat completion, as it is sent."""
    messages = [{"role": "user", "content": say}]
    body = {"model": fixed_upstream.MODEL, "messages": messages, "max_tokens": 20, **fields}
    return http_load.post("/v1/chat/completions", HEADERS, json.dumps(body).encode())


PLAIN, STREAM = asking("Say words!"), asking("Say words!", stream=True)
SLOW = asking(f"Say words {fixed_upstream.SLOWLY.decode()}!", stream=True)


@dataclass
class Measured:
    """One server, and what has been measured of it.

    Attributes:
        served: its process.
        exact: whether it answers byte by byte what the upstream does; else it writes answers of its own.
        per_second: requests, in its best round.
        processor: microseconds of processor time per request, in its best round.
        took: seconds of each request that was timed by itself.
        begun: seconds until the first byte of each stream that was.
        memory: megabytes before, halfway through, and after many streams.
        made: how often it was asked in all.
    """

    served: Served
    exact: bool = True
    per_second: float = 0.0
    processor: float = 1e9
    took: list[float] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    made: int = 0

    def check(self) -> None:
        """Have it answer as the upstream does."""
        port, words = self.served.port, b"".join(fixed_upstream.EVENTS)
        whole, stream, slow = (http_load.run(http_load.asked(port, asked)) for asked in (PLAIN, STREAM, SLOW))
        self.made += 3
        if self.exact:
            assert whole.body == fixed_upstream.WHOLE, whole
            assert stream.body == slow.body == words + fixed_upstream.DONE, stream
        else:
            told, expected = json.loads(whole.body), json.loads(fixed_upstream.WHOLE)
            assert told["choices"][0]["message"]["content"] == expected["choices"][0]["message"]["content"], whole
            assert told["usage"]["total_tokens"] == expected["usage"]["total_tokens"], whole
            assert stream.body.count(b'"content":" word"') == fixed_upstream.OUTPUT_TOKENS, stream
            assert stream.body.endswith(fixed_upstream.DONE), stream
        assert slow.took - slow.begun > fixed_upstream.PAUSE_SECONDS / 2, f"it keeps streams until they end: {slow}"

    def flood(self) -> None:
        """One round of as many requests as it answers."""
        computed = self.served.computed
        made = http_load.run(http_load.flooded(self.served.port, PLAIN, TOGETHER, seconds=SECONDS))
        self.made += made
        self.per_second = max(self.per_second, made / SECONDS)
        self.processor = min(self.processor, (self.served.computed - computed) / made * 1e6)

    def pace(self) -> None:
        """One round of requests, and one of streams, that do not hinder each other."""
        whole = http_load.run(http_load.paced(self.served.port, PLAIN, PER_SECOND, TIMES))
        streams = http_load.run(http_load.paced(self.served.port, SLOW, PER_SECOND, TIMES // 4))
        self.took += [one.took for one in whole]
        self.begun += [one.begun for one in streams]
        self.made += len(whole) + len(streams)

    def stream(self, times: int) -> None:
        """So many streams."""
        self.memory.append(self.served.resident)
        for _ in range(2):
            self.made += http_load.run(http_load.flooded(self.served.port, STREAM, TOGETHER, times=times // 2))
            self.memory.append(self.served.resident)


def quantile(seconds: list[float], share: float) -> float:
    """Milliseconds within which so large a share of them is."""
    return sorted(seconds)[int(len(seconds) * share)] * 1e3


@contextmanager
def all_servers(upstream: Served, folder: str) -> Iterator[dict[str, Measured]]:
    """All of them, as they answer before one upstream."""
    python = (sys.executable, "-m")
    url = f"http://127.0.0.1:{upstream.port}"
    ours = (*python, "budgeted.cli", "gateway", "--open", "--port", "{port}", "--upstream", f"openai={url}/v1")
    with contextlib.ExitStack() as stack:
        measured = {DIRECT: Measured(upstream)}
        measured[OURS] = Measured(stack.enter_context(serving((*ours, "--ledger", f"{folder}/ledger"))))
        for name, library in ((BARE, "aiohttp"), (BARE_HTTPX, "httpx")):
            command = (*python, "benchmarks.bare_proxies", library, "{port}", url)
            measured[name] = Measured(stack.enter_context(serving(command)))
        if LITELLM.exists():
            environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
            command = (str(LITELLM), "--config", litellm_config(folder, url), "--host", "127.0.0.1", "--port", "{port}")
            measured[LITELLMS] = Measured(stack.enter_context(serving(command, environment)), exact=False)
        else:
            line(LITELLMS, "left out", f"there is no {LITELLM}: make .venv-gateway-rivals/.ready")
        yield measured


def litellm_config(folder: str, url: str) -> str:
    """A configuration of LiteLLM's proxy with one model and a key of its own."""
    parameters = {"model": f"openai/{fixed_upstream.MODEL}", "api_base": f"{url}/v1", "api_key": "sk-2"}
    models = [{"model_name": fixed_upstream.MODEL, "litellm_params": parameters}]
    path = Path(folder, "litellm.yaml")  # JSON is YAML
    path.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": "sk-1"}}))
    return str(path)


def measure(measured: dict[str, Measured]) -> None:
    """All that is measured of them, in turns."""
    for one in measured.values():
        one.check()
        one.made += http_load.run(http_load.flooded(one.served.port, PLAIN, TOGETHER, times=WARM_UP))
    for _ in range(ROUNDS):
        for one in measured.values():
            one.flood()
            one.pace()
    for name, one in measured.items():
        one.stream(STREAMS if name in (OURS, BARE) else STREAMS // FEW)


def tell(measured: dict[str, Measured]) -> None:
    """Print what has been measured."""
    direct, ours = measured.pop(DIRECT), measured[OURS]
    half, late = quantile(direct.took, 0.5), quantile(direct.took, 0.99)
    line("the upstream itself", f"{direct.per_second:,.0f}/s", f"{half:.2f} ms, {late:.2f} ms at the 99th percentile")
    added: dict[str, tuple[float, float]] = {}
    for name, one in measured.items():
        median, last = added[name] = quantile(one.took, 0.5) - half, quantile(one.took, 0.99) - late
        begun = quantile(one.begun, 0.5) - quantile(direct.begun, 0.5)
        start, middle, end = one.memory
        streams = STREAMS if name in (OURS, BARE) else STREAMS // FEW
        line(f"{name}: {TOGETHER} at once", f"{one.per_second:,.0f}/s", f"{one.processor:,.0f} us of a processor each")
        line(f"{name}: adds to an answer", f"{median:.2f} ms", f"and {last:.2f} ms at the 99th percentile")
        line(f"{name}: adds to the first byte of a stream", f"{begun:.2f} ms")
        line(f"{name}: memory after {streams:,} streams", f"{end:.0f} MB", f"{start:.0f} before, {middle:.0f} halfway")
    times = measured[BARE].per_second / ours.per_second
    line("bare, aiohttp: answers more than ours", f"{times:.2f} times", "(aim: at most 1.3)")
    if theirs := measured.get(LITELLMS):
        (median, last), (of_median, of_last) = added[OURS], added[LITELLMS]
        note = f"and {last / of_last:.1%} at the 99th percentile (aim: at most 20%)"
        times = ours.per_second / theirs.per_second
        line("ours: answers more than LiteLLM's", f"{times:.1f} times", "(aim: at least 8)")
        line("ours: adds as much as LiteLLM's", f"{median / of_median:.1%}", note)


def charged(folder: str, made: int) -> None:
    """See that each request was charged, at what it cost, and that nothing is held."""
    with BudgetManager("default", ledger=f"{folder}/ledger") as manager:
        row, everyone, user = manager.report(by="model")[fixed_upstream.MODEL], manager.balance(), manager.balance(USER)
    assert row.calls == made, f"{row.calls} calls are recorded of {made}"
    assert everyone.held == user.held == 0, f"{everyone.held} USD are still held"
    assert round(user.spent * 1e9) == round(everyone.spent * 1e9) == round(made * USD * 1e9), (everyone, made * USD)
    line("ours: requests charged to the nano-dollar", f"{made:,}", f"${everyone.spent:.6f}")


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        serving((sys.executable, "-m", "benchmarks.fixed_upstream", "{port}")) as upstream,
    ):
        with all_servers(upstream, folder) as measured:
            measure(measured)
            made = measured[OURS].made
            tell(measured)
        charged(folder, made)
