"""Several gateways on one ledger, one that is told to end, and one that is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from ledger import redis_server

from budgeted import BudgetManager
from budgeted.money import NANO
from budgeted.testing import SimulatedProvider

PRICES = '[prices."dear"]\ninput = 0\noutput = 100\n'
ASKED: dict[str, Any] = {"model": "dear", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1000}
TEN_CENTS = json.dumps({"output_tokens": 1000})


class Process:
    """``budgeted gateway`` in a process of its own."""

    def __init__(self, folder: Path, ledger: str, provider: SimulatedProvider) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        (folder / "budgeted.toml").write_text(PRICES)
        command = [sys.executable, "-m", "budgeted", "gateway", "--open", f"--port={self.port}", "--project=shared"]
        command += [f"--ledger={ledger}", f"--upstream=openai={provider.openai_url}"]
        environment = {**os.environ, "BUDGETED_MAX_BUDGET": "$1"}
        environment.pop("OPENAI_API_KEY", None)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait(self) -> None:
        """Until it listens."""
        while self.process.poll() is None:
            try:
                with httpx2.Client() as client:
                    client.get(f"{self.url}/health/live")
                return
            except httpx2.ConnectError:
                time.sleep(0.02)
        pytest.fail("the gateway did not start")

    def ask(self, headers: dict[str, str] | None = None, **body: object) -> httpx2.Response:
        with httpx2.Client(timeout=60) as client:
            return client.post(
                f"{self.url}/v1/chat/completions",
                json={**ASKED, **body},
                headers={"x-simulate": TEN_CENTS, **(headers or {})},
            )

    @contextlib.contextmanager
    def streaming(self) -> Iterator[httpx2.Response]:
        """A stream that stops after two pieces, until its provider lets it go on."""
        reply = {"x-simulate": json.dumps({"output_tokens": 1000, "gate_after": 2})}
        asked = {**ASKED, "stream": True}
        with (
            httpx2.Client(timeout=60) as client,
            client.stream("POST", f"{self.url}/v1/chat/completions", json=asked, headers=reply) as answer,
        ):
            yield answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider({"dear": (0, 100)}) as simulated:
        yield simulated


@pytest.mark.slow
def test_two_gateways_on_one_redis_bill_no_more_than_the_limit(tmp_path: Path, provider: SimulatedProvider) -> None:
    ledger = redis_server.shared().url
    both = [Process(tmp_path, ledger, provider) for _ in range(2)]
    try:
        for one in both:
            one.wait()
        provider.reset()
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda i: both[i % 2].ask(stream=i % 3 == 0), range(50)))
    finally:
        for one in both:
            one.close()
    assert provider.billed_nano() == NANO
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 40


@pytest.mark.slow
def test_what_a_killed_gateway_held_is_charged(tmp_path: Path, provider: SimulatedProvider) -> None:
    ledger = str(tmp_path / "ledger")
    killed = Process(tmp_path, ledger, provider)
    try:
        killed.wait()
        provider.reset()
        with killed.streaming() as answer:
            next(answer.iter_raw())
            killed.process.kill()
            killed.process.wait()
    finally:
        killed.close()
    provider.release()
    provider.wait_idle()
    with BudgetManager("shared", ledger=ledger) as living:
        while living.balance().held:  # until it is noticed that nobody is there any more to end it
            living.flush()
        assert round(living.balance().spent * NANO) >= provider.billed_nano() > 0
        assert [one.reason for one in living.uncertain()]


@pytest.mark.slow
def test_a_gateway_that_is_told_to_end_lets_a_stream_go_on(tmp_path: Path, provider: SimulatedProvider) -> None:
    ledger = str(tmp_path / "ledger")
    ending = Process(tmp_path, ledger, provider)
    try:
        ending.wait()
        provider.reset()
        with ending.streaming() as answer:
            pieces = answer.iter_raw()
            first = next(pieces)
            ending.process.send_signal(signal.SIGTERM)
            wait_until_refused(ending.port)
            provider.release()
            rest = b"".join(pieces)
        assert b"[DONE]" in first + rest
        assert ending.process.wait(30) in (0, -signal.SIGTERM)
    finally:
        ending.close()
    with BudgetManager("shared", ledger=ledger) as living:
        assert round(living.balance().spent * NANO) == provider.billed_nano()
        assert not living.uncertain()


def wait_until_refused(port: int) -> None:
    """Until nobody listens at a port any more."""
    deadline = threading.Event()
    for _ in range(1000):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return
        deadline.wait(0.01)
    pytest.fail("it still listens")
