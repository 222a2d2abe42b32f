"""``budgeted gateway``: what it says, what it refuses, whom it serves, and how it ends."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner, Result
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from started_gateway import Started

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted
from budgeted.testing import SimulatedProvider

ASKED: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
CHAT = "/v1/chat/completions"


class Receiver(ThreadingHTTPServer):
    """Takes spans as a collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[ExportTraceServiceRequest] = []
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # the name that http.server wants
        data = self.rfile.read(int(self.headers["content-length"]))
        server: Any = self.server
        server.requests.append(ExportTraceServiceRequest.FromString(data))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="module")
def started(folder: Path, provider: SimulatedProvider, receiver: Receiver) -> Iterator[Started]:
    file = f'default_user_limits = "$1/day"\n[gateway.upstreams]\nopenai = "{provider.openai_url}"\n'
    (folder / "budgeted.toml").write_text(file, encoding="utf-8")
    options = ("--open", "--access-log", "--limit", "$7/day", "--workers", "1")
    gateway = Started(
        *options, folder=folder, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OPENAI_API_KEY="sk-of-the-gateway"
    )
    yield gateway
    gateway.end()


@pytest.fixture(scope="module")
def client(started: Started) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=started.url, trust_env=False) as opened:
        yield opened


@pytest.mark.slow
def test_it_says_where_it_is_and_which_limits_hold(started: Started) -> None:
    said = "".join(started.said)
    assert f"OPENAI_BASE_URL={started.url}/v1 ANTHROPIC_BASE_URL={started.url} " in said
    assert "limits: $7/day for all together; of users that have none of their own: *: $1/day" in said


@pytest.mark.slow
def test_it_forwards_with_its_own_key_and_tells_of_it(client: httpx2.Client, provider: SimulatedProvider) -> None:
    headers = {"x-budgeted-user": "olga", "authorization": "Bearer none"}
    client.post(CHAT, json=ASKED, headers=headers).raise_for_status()
    assert provider.requests[-1].headers["authorization"] == "Bearer sk-of-the-gateway"
    text = client.get("/metrics").text
    assert re.search(r'budgeted_limit_USD\{budgeted_account="global".*\} 7.0', text)
    assert "olga" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:80"},
        {"x-forwarded-for": "203.0.113.7"},
        {"via": "1.1 proxy"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
        {"origin": "chrome-extension://abcdefgh"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_an_open_gateway_serves_no_page_and_no_proxy(
    client: httpx2.Client, provider: SimulatedProvider, headers: dict[str, str]
) -> None:
    before = len(provider.requests)
    refused = client.post(CHAT, json=ASKED, headers=headers)
    assert refused.status_code == 403
    assert "serves its own machine alone" in refused.json()["error"]["message"]
    assert len(provider.requests) == before


@pytest.mark.slow
def test_an_open_gateway_serves_what_is_on_its_machine(client: httpx2.Client) -> None:
    port = client.base_url.port
    for headers in ({"host": f"localhost:{port}"}, {"origin": f"http://localhost:{port}"}, {"sec-fetch-site": "none"}):
        client.get("/health", headers=headers).raise_for_status()


@pytest.mark.slow
def test_told_to_end_it_settles_sends_its_spans_and_has_logged_without_secrets(
    started: Started, client: httpx2.Client, folder: Path, provider: SimulatedProvider, receiver: Receiver
) -> None:
    provider.reset()
    secret = "sk-" + "0123456789abcdef" * 2
    headers = {"x-budgeted-user": "petra", "x-api-key": secret}
    client.post(f"{CHAT}?trace=1", json=ASKED, headers=headers).raise_for_status()
    client.get(f"/{secret}/models")
    assert started.end() == 0
    with BudgetManager("default", ledger=str(folder / "home")) as manager:
        assert round(manager.balance("petra").spent * 1e9) == provider.billed_nano()
    paid, lost = started.lines()[-2:]
    assert {name: paid[name] for name in ("method", "path", "upstream", "user", "status")} == {
        "method": "POST",
        "path": CHAT,
        "upstream": "openai",
        "user": None,
        "status": 200,
    }
    assert paid["cost"] == provider.billed_nano() / 1e9
    assert (lost["path"], lost["upstream"], lost["status"]) == ("/***/models", None, 404)
    assert secret not in "".join(started.said)
    assert "petra" not in "".join(started.said)
    resources = [resource for request in receiver.requests for resource in request.resource_spans]
    names = {one.key: one.value.string_value for one in resources[0].resource.attributes}
    assert names["service.name"] == "budgeted-gateway"
    spans = [span.name for resource in resources for scope in resource.scope_spans for span in scope.spans]
    assert "POST /v1/chat/completions" in spans


@pytest.mark.slow
def test_several_workers_serve_on_one_ledger_and_end_together(tmp_path: Path, provider: SimulatedProvider) -> None:
    (tmp_path / "budgeted.toml").write_text('default_user_limits = "$1/day"\n', encoding="utf-8")
    options = ("--open", "--workers", "2", "--upstream", f"openai={provider.openai_url}")
    gateway = Started(*options, folder=tmp_path)
    provider.reset()
    for _ in range(8):
        with httpx2.Client(trust_env=False) as client:
            client.post(f"{gateway.url}{CHAT}", json=ASKED, headers={"x-budgeted-user": "wanda"}).raise_for_status()
    with httpx2.Client(trust_env=False) as client:
        assert client.get(f"{gateway.url}/metrics").status_code == 501  # one of them would tell of itself alone
    assert gateway.end() == 0
    with BudgetManager("default", ledger=str(tmp_path / "home")) as manager:
        assert round(manager.balance("wanda").spent * 1e9) == provider.billed_nano()
    with pytest.raises(httpx2.ConnectError), httpx2.Client(trust_env=False) as client:
        client.get(f"{gateway.url}/health")


@pytest.mark.slow
def test_without_its_ledger_it_starts_and_answers_that(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        away = f"postgresql+psycopg://nobody@127.0.0.1:{free.getsockname()[1]}/none"
    gateway = Started("--open", "--ledger", away, folder=tmp_path)
    assert "serving without a ledger as yet" in "".join(gateway.said)
    with httpx2.Client(base_url=gateway.url, trust_env=False) as client:
        assert client.get("/health/live").status_code == 200
        health = client.get("/health")
        assert (health.status_code, away.rpartition("@")[2].removesuffix("/none") in health.text) == (503, False)
        refused = client.post("/v1/messages", json=ASKED)
        assert (refused.status_code, refused.json()["type"]) == (503, "error")
        assert "retry-after" in refused.headers
    assert gateway.end() == 0


def run(*options: str, **environment: str) -> Result:
    return CliRunner().invoke(budgeted, ["gateway", *options], env={"BUDGETED_CONFIG": os.devnull, **environment})


MISTAKES = {
    ("--open", "--host", "0.0.0.0"): "could spend",  # noqa: S104 - which is refused
    ("--open", "--host", "example.com"): "could spend",
    ("--port", "70000"): "70000",
    ("--upstream", "openai"): "'openai'",
    ("--limit", "0/day"): "$1",
    ("--limit", "$5/fortnite"): "$5/fortnite",
    ("--ledger", "memory://", "--workers", "2"): "memory://",
    ("--ssl-keyfile", __file__): "--ssl-certfile",
}


@pytest.mark.parametrize("options", MISTAKES, ids=" ".join)
def test_a_mistake_is_told_and_nothing_starts(options: tuple[str, ...]) -> None:
    done = run(*options)
    assert done.exit_code != 0
    assert isinstance(done.exception, SystemExit)
    assert MISTAKES[options] in done.output


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("--port", port)
    assert done.exit_code == 1
    assert f"cannot listen on 127.0.0.1, port {port}" in done.output


def test_check_tells_what_there_is_and_starts_nothing(tmp_path: Path) -> None:
    key = "sk-of-nobody"
    done = run("--check", "--limit", "$5/day", "--upstream", "vllm=http://10.0.0.7:8000/v1", OPENAI_API_KEY=key)
    assert done.exit_code == 0, done.output
    rows = {line.partition("  ")[0].strip(): line for line in done.output.splitlines()}
    assert "key of OPENAI_API_KEY" in rows["upstream openai"]
    assert "VLLM_API_KEY is not set" in rows["upstream vllm"]
    assert "$5/day" in rows["limits"]
    assert "where project default is made" in rows["ledger"]
    assert key not in done.output
    assert not (tmp_path / "budgeted-home").exists()


def test_check_finds_every_problem_at_once(tmp_path: Path) -> None:
    file = tmp_path / "budgeted.toml"
    file.write_text(
        '[users]\nalice = "$5/fortnite"\n[gateway.upstreams]\nopenai = { key_env = "NOT_SET_ANYWHERE" }\n',
        encoding="utf-8",
    )
    done = run(
        *("--check", "--ledger", "carrier-pigeon://coop"),
        BUDGETED_CONFIG=str(file),
        OTEL_TRACES_EXPORTER="carrier-pigeon",
    )
    assert done.exit_code == 1
    problems = [line for line in done.output.splitlines() if "PROBLEM" in line]
    assert [line.split("  ")[0] for line in problems] == ["settings", "upstream openai", "ledger", "limits", "traces"]
    assert "$5/fortnite" in problems[0]
    assert "NOT_SET_ANYWHERE" in problems[1]
    assert "carrier-pigeon" in problems[4]
