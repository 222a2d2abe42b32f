"""``python -m budgeted.testing``: its help can be followed, and bad arguments are told before it serves."""

from __future__ import annotations

import http.client
import json
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from budgeted.testing import SimulatedProvider

COMMAND = [sys.executable, "-m", "budgeted.testing"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [*COMMAND, "--until-stdin-closes", "--prices", '{"my-model": [1.25, "10"]}']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.stdin.close()


def ask(url: str, curl: str) -> object:
    """Do what a line of the help says, with the standard library in place of curl."""
    words = iter(shlex.split(curl))
    assert next(words) == "curl"
    path = next(words).removeprefix("http://127.0.0.1:8123")
    headers, body = {}, None
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        else:
            assert word == "-d"
            body = next(words)
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET" if body is None else "POST", path, body, headers)
    response = connection.getresponse()
    assert response.status == 200
    answer = json.load(response)
    connection.close()
    return answer


@pytest.mark.slow
def test_the_commands_that_its_help_shows_work(url: str) -> None:
    shown = run("--help").stdout.replace("\\\n", " ")
    chat, reply, bill, requests = re.findall("^ *(curl .*)$", shown, re.MULTILINE)
    answer = ask(url, chat)
    assert isinstance(answer, dict)
    assert answer["usage"]["completion_tokens"] == 500
    assert ask(url, reply) is None
    billed = ask(url, bill)
    assert isinstance(billed, list)
    assert [call["usage"]["output_tokens"] for call in billed] == [500]
    assert len(str(ask(url, requests))) > 100


@pytest.mark.slow
def test_bad_arguments_are_told_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"cannot listen on port {port}" in run("--port", port).stderr
    assert "not '70000'" in run("--port", "70000").stderr
    assert "cannot write the bill to /no/such/bill" in run("--bill", "/no/such/bill").stderr
    assert """prices are JSON such as {"my-model": [1.25, 10]}""" in run("--prices", "gpt-5=1").stderr


@pytest.mark.parametrize("price", [(1,), (1, 2, 3, 4), ("one", "two"), (-1, 2), (float("nan"), 1), "12", (None, 1)])
def test_a_price_that_cannot_be_reckoned_with_is_refused_by_whoever_sets_it(price: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"not {price!r}")):
        SimulatedProvider({"my-model": price})  # type: ignore[dict-item]
