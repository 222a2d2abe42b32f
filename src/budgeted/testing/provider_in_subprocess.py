"""The simulated provider in a process of its own, steered over HTTP."""

from __future__ import annotations

import http.client
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from .billing import Billed, Prices
from .control_endpoints import Instruction
from .provider_interface import Provider
from .scripted_reply import Answerer, Reply, Request

_T = TypeVar("_T")


class SpawnedProvider(Provider):
    """A provider in a process of its own; see `SimulatedProvider.spawn`.

    Args:
        prices: By model, (input, output) or (input, output, cached input) in USD per million tokens, or `Rates`.
        seed: Answers depend on the request and on this number only.
        port: The port to listen on; 0: a free one.
        bill: A file to which each call is appended as a line of JSON before its answer is sent.

    Attributes:
        pid: The process.
    """

    def __init__(
        self, prices: Prices | None = None, *, seed: int = 0, port: int = 0, bill: str | Path | None = None
    ) -> None:
        command = [sys.executable, "-m", "budgeted.testing", "--until-stdin-closes"]
        command += ["--port", str(port), "--seed", str(seed)]
        command += ["--prices", msgspec.json.encode(prices or {}).decode()]
        command += [] if bill is None else ["--bill", str(bill)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        self.pid = self._process.pid
        line = _pipe(self._process.stdout).readline()
        if not line:
            self.close()
            raise RuntimeError("the simulated provider did not start; standard error says why")
        self.url = msgspec.json.decode(line)["url"]

    def _ask(self, method: str, path: str, kind: type[_T], body: bytes = b"", timeout: float = 10) -> _T:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=timeout + 10)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise RuntimeError(f"{method} {path}: status {response.status}: {data.decode(errors='replace')}")
        return msgspec.json.decode(data, type=kind)

    def _bill(self) -> list[Billed]:
        return self._ask("GET", "/__bill", list[Billed])

    def _requests(self) -> list[Request]:
        return self._ask("GET", "/__requests", list[Request])

    def _reset(self) -> None:
        self._ask("POST", "/__reset", type(None))

    def _usual(self, reply: Reply | Answerer) -> None:
        if not isinstance(reply, Reply):
            raise TypeError("a provider in another process takes a Reply, not a function")
        self._instruct(Instruction(usual=reply))

    def _queue(self, *replies: Reply) -> None:
        self._instruct(Instruction(queue=list(replies)))

    def _instruct(self, instruction: Instruction) -> None:
        replies = [*instruction.queue, *([instruction.usual] if instruction.usual else [])]
        if any(reply.gate is not None for reply in replies):
            raise TypeError("a gate does not reach another process: use hang=True and release()")
        self._ask("POST", "/__reply", type(None), msgspec.json.encode(instruction))

    def _release(self) -> None:
        self._ask("POST", "/__release", type(None))

    def _wait_parked(self, count: int, timeout: float) -> bool:
        return self._ask("GET", f"/__wait?parked={count}&timeout={timeout}", bool, timeout=timeout)

    def _wait_idle(self, timeout: float) -> bool:
        return self._ask("GET", f"/__wait?timeout={timeout}", bool, timeout=timeout)

    def _close(self) -> None:
        _pipe(self._process.stdin).close()  # it ends with its input, and so with this process at the latest
        self._process.wait()
        _pipe(self._process.stdout).close()


def _pipe(pipe: IO[Any] | None) -> IO[Any]:
    assert pipe is not None  # noqa: S101 - it was asked for
    return pipe
