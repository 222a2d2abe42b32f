"""The gateway on loopback while ``budgeted run`` runs a program: it meters what cannot be metered from within."""

from __future__ import annotations

import importlib.util
import secrets
import selectors
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from budgeted.cli.requests_of_run import OfRun, RequestsOfRun
from budgeted.cli.run_addresses import RunAddresses
from budgeted.manager.administrative_manager import Books
from budgeted.manager.run_books import RunBooks
from budgeted.payers.scope import Scope
from budgeted.telemetry import run_notes

if TYPE_CHECKING:
    import uvicorn

GRACE_SECONDS: Final = 10
"""How long requests may take that are under way when the program has ended: others may have been left behind."""

_NEEDED: Final = ("aiohttp", "httptools", "starlette", "uvicorn")


def is_installed() -> bool:
    """Whether what a gateway needs is there: the extra ``gateway``."""
    return all(importlib.util.find_spec(name) is not None for name in _NEEDED)


class RunGateway:
    """A gateway for one run, which serves from the first connection to it on: most programs need none.

    Whoever has its address, in which there is a word that nobody can guess, spends what the run may spend. The one on
    command lines, which others can see, leads to nobody who would be shown credentials of the run's.

    Args:
        books: of the run's project.
        paying: who pays for the run.
        environment: of the run, as it would be without a gateway.
        folder: where processes of the run note what no ledger keeps.

    Attributes:
        addresses: what the run's programs are told, and where requests go.

    Raises:
        OSError: nothing can listen on loopback.
    """

    def __init__(self, books: Books, paying: RunBooks, environment: Mapping[str, str], folder: Path) -> None:
        self._books, self._paying = books, paying
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._stop, self._stopping = socket.socketpair()
        word, seen = (f"run-{secrets.token_urlsafe(24)}" for _ in range(2))
        host = "http://{}:{}".format(*self._listening.getsockname())
        self.addresses = RunAddresses(environment, f"{host}/{word}", f"{host}/{seen}")
        self._requests, self._folder = RequestsOfRun(word, seen, folder), folder
        self._secret = environment.get("BUDGETED_SECRET", "")
        self._of_amazon = {name: value for name, value in environment.items() if name.startswith("AWS_")}
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._serve, name="budgeted-run-gateway", daemon=True)

    @property
    def asked(self) -> int:
        """How many requests for something paid it was sent."""
        return self._requests.asked

    @property
    def refused_last(self) -> bool:
        """Whether a refusal is the last that it has answered, of what is paid for."""
        return self._requests.refused_last

    def start(self) -> None:
        """Serve, once somebody connects."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving: what is under way gets a moment to end, and is charged."""
        self._stopping.close()
        if self._server is not None:
            self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join()
        for one in (self._stop, self._listening):
            one.close()

    def _serve(self) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._listening, selectors.EVENT_READ)
            waiting.register(self._stop, selectors.EVENT_READ)
            stopped = any(key.fileobj is self._stop for key, _ in waiting.select())
        if stopped:
            return
        try:
            self._server = self._made()
            if self._stopping.fileno() < 0:  # since
                self._server.should_exit = True
            self._server.run([self._listening])
        except BaseException as error:  # noqa: BLE001 - of a thread, nobody else hears
            click.echo(f"budgeted: the run's gateway has failed: {type(error).__name__}: {error}", err=True)
        finally:
            self._listening.close()  # else whoever connects would wait for ever

    def _made(self) -> uvicorn.Server:
        # Not before somebody connects: it takes longer to import than most programs take to start.
        import uvicorn

        from budgeted import providers
        from budgeted.gateway.application import create_gateway
        from budgeted.gateway.settings import GatewaySettings

        providers.instrument()  # the books alone meter nothing
        run_notes.write_also_to(self._folder)
        # Not open: whoever has its address is one of the run, whatever else its headers tell that it passes on.
        settings = GatewaySettings(upstreams=self.addresses.upstreams, free="all")
        # Keys pass through: the program has them, and may have others than this process. Signatures do not.
        manager, payers = self._paying.here(self._books)
        secret = self._secret

        def paying(text: str | None) -> Scope:
            return payers if text is None else self._paying.carried(self._books, text, secret)

        app = create_gateway(manager, OfRun(), settings, self._of_amazon, shows_page=False)
        self._requests.serve(app, paying)
        config = uvicorn.Config(
            self._requests,
            http="httptools",
            ws="none",
            lifespan="on",
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        return uvicorn.Server(config)
