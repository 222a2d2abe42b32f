"""Each example under its real server: its processes share a ledger, and more is asked for than there is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from budgeted import BudgetManager
from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.slow, pytest.mark.sdk]

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = "$0.0025/day"

COMMANDS = {
    "fastapi": "uvicorn fastapi_app:app --workers 2 --port {port}",
    "starlette": "gunicorn -k uvicorn_worker.UvicornWorker -w 2 --preload -b 127.0.0.1:{port} starlette_app:app",
    "flask": "gunicorn -k gthread -w 2 --threads 8 --preload -b 127.0.0.1:{port} flask_app:app",
    "django": "gunicorn -k sync -w 2 -b 127.0.0.1:{port} django_app:wsgi",
    "litestar": "hypercorn -b 127.0.0.1:{port} litestar_app:app",
}


class Example:
    """An example under its server, on a ledger of its own."""

    def __init__(self, name: str, provider: SimulatedProvider, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.ledger = folder / "ledger"
        self._log = folder / "log"
        environment = {
            **os.environ,
            "HOME": str(folder),
            "BUDGETED_LEDGER": str(self.ledger),
            "BUDGETED_MAX_BUDGET": LIMIT,
            "OPENAI_BASE_URL": provider.openai_url,
            "OPENAI_API_KEY": "any",
        }
        command = [sys.executable, "-m", *COMMANDS[name].format(port=self._port).split()]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, cwd=EXAMPLES, env=environment, stdout=log, stderr=log)
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self._port}", trust_env=False, timeout=60)

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client.get("/nowhere")
            except httpx2.ConnectError:
                assert self._process.poll() is None, self.log
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return

    @property
    def log(self) -> str:
        return self._log.read_text()

    def end(self) -> None:
        self.client.close()
        self._process.terminate()

    def wait_for_end(self) -> None:
        self._process.wait(30)


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def examples(provider: SimulatedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Example]]:
    """All of them: each takes seconds to begin, and they begin at once."""
    started: dict[str, Example] = {}
    try:
        for name in COMMANDS:
            started[name] = Example(name, provider, tmp_path_factory.mktemp(name))
        yield started
    finally:
        for one in started.values():
            one.end()
        for one in started.values():
            one.wait_for_end()


@pytest.mark.parametrize("name", COMMANDS)
def test_no_race_passes_the_limit_and_none_is_answered_500(
    name: str, examples: dict[str, Example], provider: SimulatedProvider
) -> None:
    example = examples[name]
    example.wait()
    provider.reset()

    def ask(number: int) -> httpx2.Response:
        path = "/stream" if number % 2 else "/chat"
        question = {"question": f"What is {number} times {number}?"}
        return example.client.get(path, params=question, headers={"x-user": f"user-{number % 5}"})

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(ask, range(80)))
    nobodys = example.client.get("/chat", params={"question": "Who pays?"})

    refused = [one for one in answers if one.status_code != 200]
    assert 0 < len(refused) < 80
    assert {one.status_code for one in refused} == {429}
    assert all(int(one.headers["retry-after"]) > 0 for one in refused)
    assert nobodys.status_code == 400
    assert provider.wait_idle()
    assert 0 < provider.billed_nano() <= 2_500_000
    assert len(provider.bill) == 80 - len(refused)
    with BudgetManager("chat", ledger=example.ledger) as manager:
        assert round(manager.balance().spent * 1e9) == provider.billed_nano()
    assert example.log.count("was answered with 429") == len(refused)
    assert "Traceback" not in example.log
