"""The process, or the processes, of ``budgeted gateway``."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click
from starlette.types import ASGIApp

import budgeted
from budgeted.cli.gateway_greeting import greeting
from budgeted.errors import LedgerUnavailableError
from budgeted.gateway import trace_export, traces
from budgeted.gateway.access_log import AccessLog
from budgeted.gateway.application import create_gateway
from budgeted.gateway.callers import Callers, OpenCallers
from budgeted.gateway.key_callers import KeyCallers
from budgeted.gateway.late_start import LateStart
from budgeted.gateway.metrics import GatewayMetrics
from budgeted.gateway.observers import Observers
from budgeted.gateway.settings import ListenSettings
from budgeted.gateway.stated_gateway import StatedGateway
from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.file_descriptors import share_out
from budgeted.http_server.server import HTTPServer, listen
from budgeted.http_server.tokens import Tokens
from budgeted.manager.budget_manager import BudgetManager


class GatewayProcess:
    """What listens, and serves.

    Args:
        stated: how the gateway is set up.
        ledger: where balances are kept.
        project: the namespace there.
        limits: of everybody together, as options have them; none for what is stated elsewhere.
        ssl_certfile: the path of a certificate, for https.
        ssl_keyfile: of its key.
    """

    def __init__(
        self,
        stated: StatedGateway,
        ledger: str | None,
        project: str,
        limits: Sequence[str],
        *,
        ssl_certfile: str | None,
        ssl_keyfile: str | None,
    ) -> None:
        self._stated, self._ledger, self._project, self._limits = stated, ledger, project, limits
        self._certificate, self._certificate_key = ssl_certfile, ssl_keyfile
        self._made: list[BudgetManager] = []
        self._told_to_end = False
        self._started: HTTPServer | None = None

    def serve(self) -> None:
        """Serve until a signal ends it.

        Raises:
            ClickException: it cannot listen there, or something that it needs makes no sense.
        """
        listening = self._stated.listening
        try:
            sockets = listen(listening.host, listening.port)
        except OSError as error:
            where = f"{listening.host}, port {listening.port}"
            raise click.ClickException(f"cannot listen on {where}: {error}") from error
        if listening.workers == 1:
            self._serve(sockets, greets=True)
        elif sys.platform == "win32":
            raise click.ClickException("several workers need a system that forks processes; write --workers 1")
        else:
            from budgeted.cli.worker_processes import run_workers

            run_workers(listening.workers, lambda number: self._serve(sockets, greets=number == 0))

    def _serve(self, sockets: list[socket.socket], *, greets: bool) -> None:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s")
        logging.getLogger("budgeted").setLevel(logging.INFO)  # and not those that tell of each request to a ledger
        # Until the server listens to signals itself, and after that: it raises the one that has ended it again, and
        # what waits is to be settled before that counts. Nothing is raised, as a finaliser may swallow it.
        signal.signal(signal.SIGTERM, self._end)
        try:
            self._set_up_traces()
            tokens = Tokens.of_environment(os.environ)  # a mistake in them is told at once, be the ledger there or not
            app = self._app()
            server = self._server(app, sockets)
            if greets:
                made = self._made[0] if self._made else None
                scheme = "https" if self._certificate else "http"
                click.echo(greeting(self._stated, server.addresses, scheme, made, tokens), err=True)
            # What has been imported lives as long as the process: looking through it over and over holds up requests.
            gc.collect()
            gc.freeze()
            gc.set_threshold(20_000, 20, 20)
            self._started = server
            if not self._told_to_end:
                server.run()
        finally:
            for one in sockets:
                one.close()
            for manager in self._made:
                manager.close()

    def _end(self, _: int, __: FrameType | None) -> None:
        self._told_to_end = True
        if self._started is not None:
            self._started.stop()

    def _app(self) -> ASGIApp:
        """The gateway; where its ledger is away, what becomes the gateway as soon as it is there."""
        alone = self._stated.listening.workers == 1
        metrics = GatewayMetrics(self._stated.settings.metrics_token) if alone else None

        def make() -> ASGIApp:
            limits: dict[str, Any] = {"max_budget": list(self._limits)} if self._limits else {}
            manager = budgeted.configure(project_name=self._project, ledger=self._ledger, **limits)
            self._made.append(manager)
            callers: Callers = OpenCallers() if self._stated.settings.open else KeyCallers(manager)
            log = AccessLog(manager.payer) if self._stated.listening.access_log else None
            observers = Observers(metrics, traces.of_process(), log)
            return create_gateway(manager, callers, self._stated.settings, observers=observers)

        try:
            app = make()
        except LedgerUnavailableError as error:  # it may come back; a mistake in its name would be told here
            click.echo(f"serving without a ledger as yet: {error}", err=True)
            app = LateStart(make, error)
        return app

    def _server(self, app: ASGIApp, sockets: list[socket.socket]) -> HTTPServer:
        listening = self._stated.listening
        try:
            return HTTPServer(
                app,
                sockets,
                _limits(listening),
                grace_seconds=listening.grace_seconds,
                log_level="warning",
                ssl_certfile=self._certificate,
                ssl_keyfile=self._certificate_key,
            )
        except ssl.SSLError as error:
            msg = f"{self._certificate} is no certificate with its key: {error}"
            raise click.ClickException(msg) from error

    def _set_up_traces(self) -> None:
        try:
            trace_export.set_up(os.environ)
        except trace_export.ExportError as error:  # budgets hold nevertheless
            click.echo(f"Warning: there will be no traces: {error}", err=True)


def _limits(listening: ListenSettings) -> ConnectionLimits:
    # Each request that is forwarded has a connection of its own to an upstream.
    connections = share_out(listening.max_connections, listening.max_connections, 1)[0]
    if connections < listening.max_connections:
        text = f"this process may have too few open files, and serves {connections} connections; see `ulimit -n`"
        click.echo(text, err=True)
    return ConnectionLimits(
        header_seconds=listening.header_seconds,
        body_seconds=listening.body_seconds,
        answer_seconds=None,  # models write for minutes, and upstreams have a time of their own
        unread_seconds=listening.unread_seconds,
        max_connections=connections,
        max_connections_per_address=min(listening.max_connections_per_address, connections),
        trusted_proxies=listening.trusted_proxies,
    )
