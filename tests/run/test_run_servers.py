"""``budgeted run``: servers and workers that are programs of others keep to one limit in all their processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running import COMMAND, Done, Run, table

from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.slow, pytest.mark.sdk]

WEB = """
import openai
client = openai.AsyncOpenAI(max_retries=0)
async def app(scope, receive, send):
    await client.chat.completions.create(
        model="gpt-5-mini", max_completion_tokens=100, messages=[{"role": "user", "content": "Hello!"}]
    )
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""

TASKS = """
import os, signal
import celery, openai
app = celery.Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": "in", "data_folder_out": "in", "control_folder": "control"}
app.conf.broker_transport_options["polling_interval"] = 0.1
@app.task
def ask():
    openai.OpenAI(max_retries=0).chat.completions.create(
        model="gpt-5-mini", max_completion_tokens=100, messages=[{"role": "user", "content": "Hello!"}]
    )
@app.task
def stop():
    os.kill(os.getppid(), signal.SIGTERM)
if __name__ == "__main__":
    for _ in range(5):
        ask.delay()
    stop.delay()
"""

CAP = 0.0007


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - on loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_uvicorns_workers_keep_to_one_cap(
    tmp_path: Path, environment: dict[str, str], provider: SimulatedProvider
) -> None:
    (tmp_path / "web.py").write_text(WEB)
    before = len(provider.bill)
    with socket.create_server(("127.0.0.1", 0)) as listening, (tmp_path / "log").open("w+") as log:
        server = f"uvicorn web:app --workers 2 --lifespan off --fd {listening.fileno()}"
        process = subprocess.Popen(
            [*COMMAND, "--cap", str(CAP), "--", *server.split()],
            cwd=tmp_path,
            env=environment,
            stderr=log,
            pass_fds=[listening.fileno()],
        )
        try:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(get, [f"http://127.0.0.1:{listening.getsockname()[1]}"] * 16))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        log.seek(0)
        done = Done(server, process.returncode, "", log.read())
    bill = provider.bill[before:]
    assert 0 < len(bill) == answers.count(200) < 16
    assert table(done)["total"][0] == str(len(bill))
    assert table(done)["refused"] == [str(answers.count(500))]
    assert float(table(done)["total"][1].removeprefix("$")) <= CAP


def test_a_celery_worker_keeps_to_its_cap(
    run: Run, tmp_path: Path, environment: dict[str, str], provider: SimulatedProvider
) -> None:
    (tmp_path / "tasks.py").write_text(TASKS)
    for name in ("in", "control"):
        os.mkdir(tmp_path / name)
    subprocess.run(["python", "tasks.py"], cwd=tmp_path, env=environment, check=True)  # noqa: S607 - as its users do
    before = len(provider.bill)
    quiet = "--loglevel ERROR --without-gossip --without-mingle --without-heartbeat"
    done = run("--cap", str(CAP), "--", *f"celery -A tasks worker --pool prefork -c 1 {quiet}".split())
    assert done.returncode == 0, done.stderr
    calls = len(provider.bill) - before
    assert table(done)["total"][0] == str(calls)
    assert table(done)["refused"] == [str(5 - calls)]
    assert 0 < calls < 5
