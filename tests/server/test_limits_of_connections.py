"""The limits of connections as `budgeted serve` has them, and the files that there are for them."""

from __future__ import annotations

import contextlib
import resource
import ssl
import subprocess
from pathlib import Path

import click
import pytest
import trustme
from bare_clients import connect, rest
from serving import TOKEN, Served

from budgeted.cli.serve import LIMITS, serve
from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.file_descriptors import share_out
from budgeted.server.settings import FILES_OF_PROJECT

GET = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
BEARER = f"Authorization: Bearer {TOKEN}\r\n".encode()


class FewFiles(Served):
    """``budgeted serve`` where a process may have 256 files open."""

    def start(self) -> None:
        kept = resource.getrlimit(resource.RLIMIT_NOFILE)
        popen = subprocess.Popen
        with pytest.MonkeyPatch.context() as patch:
            limited = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))  # noqa: E731
            patch.setattr(subprocess, "Popen", lambda *args, **options: popen(*args, preexec_fn=limited, **options))
            super().start()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == kept


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
def test_300_half_open_connections_of_256_files_starve_nobody(tmp_path: Path, tls: bool) -> None:
    options: list[object] = []
    authority = trustme.CA()
    if tls:
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
        options = ["--ssl-certfile", tmp_path / "both.pem"]
    server = FewFiles(tmp_path / "ledger", options, BUDGETED_TOKEN=TOKEN, BUDGETED_MAX_PROJECTS="1000")
    try:
        half_open = [connect(server.port) for _ in range(300)]
        if not tls:
            for one in half_open:
                with contextlib.suppress(ConnectionError):  # the first have given way by now
                    one.sendall(GET)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        for number in range(60):
            body = b'{"limits": ["$1"]}'
            asked = b"PUT /v1/limits?project=p%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" % number
            framing = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            with connect(server.port) as plain:
                one = context.wrap_socket(plain, server_hostname="localhost") if tls else plain
                one.sendall(asked + BEARER + framing + body)
                assert rest(one).startswith(b"HTTP/1.1 200 "), number
                one.close()
        for one in half_open:
            one.close()
    finally:
        _, log = server.stop()
    assert "out of system resource" not in log, log
    assert "Traceback" not in log, log
    assert "serves 128 connections and 21 open projects" in log


def test_the_command_has_the_limits_of_its_settings_and_names_their_defaults() -> None:
    defaults = {name: getattr(ConnectionLimits(), name) for name in ConnectionLimits.__struct_fields__}
    assert {name: default for name, (_, default, _) in LIMITS.items()} | {
        "trusted_proxies": (),
        "unread_seconds": None,
    } == defaults
    told = serve.get_help(click.Context(serve, terminal_width=200))
    for name, (_, default, _) in LIMITS.items():
        line = told[told.index(f"--{name.replace('_', '-')} ") :]
        assert f"BUDGETED_{name.upper()}; default: {default}" in " ".join(line.split())


def test_files_are_shared_out_where_there_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    had = [(256, 256)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: had[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: had.append(limits))
    assert share_out(1000, 200, FILES_OF_PROJECT) == (128, 21)
    had.append((256, 100_000))
    assert share_out(1000, 200, FILES_OF_PROJECT) == (1000, 200)
    assert had[-1] == (1664, 100_000)
    had.append((65_536, 65_536))
    assert share_out(1000, 200, FILES_OF_PROJECT) == (1000, 200)
