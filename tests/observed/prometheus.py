"""A real Prometheus on loopback, asked over its API."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SCRAPE = "250ms"
PATIENCE = 30.0


class Prometheus:
    """Scrapes targets four times a second, until it is closed.

    Args:
        folder: for its configuration and data.
        targets: addresses such as ``127.0.0.1:9464``.
        rules: the rules to load, or "".
    """

    def __init__(self, folder: Path, *targets: str, rules: str = "") -> None:
        program = shutil.which("prometheus")
        assert program is not None, "these tests need Prometheus: apt-get install prometheus"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rules.yml").write_text(rules, encoding="utf-8")
        config = {
            "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
            "scrape_configs": [{"job_name": "app", "static_configs": [{"targets": list(targets)}]}],
            "rule_files": [str(folder / "rules.yml")] if rules else [],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML, too
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
                "--log.level=warn",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.wait(self._ready)

    def _ready(self) -> bool:
        assert self._process.poll() is None, f"Prometheus ended with {self._process.returncode}"
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=5) as response:  # noqa: S310 - loopback
                return bool(response.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def get(self, path: str, **parameters: str) -> Any:
        """The data of an API's answer."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - loopback
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            msg = f"{parameters or path}: {json.load(error)['error']}"
            raise AssertionError(msg) from None

    def ask(self, query: str) -> dict[tuple[str, ...], float]:
        """What a query answers now: values by the values of their labels, in the order of the labels' names."""
        found = self.get("query", query=query)
        assert found["resultType"] == "vector"
        return {
            tuple(value for name, value in sorted(one["metric"].items()) if name != "__name__"): float(one["value"][1])
            for one in found["result"]
        }

    def one(self, query: str) -> float | None:
        """What a query of one series answers, or None."""
        found = self.ask(query)
        assert len(found) <= 1, found
        return next(iter(found.values()), None)

    def wait(self, until: Any) -> Any:
        """Wait for what a scrape brings: the first true value that a function returns."""
        deadline = time.monotonic() + PATIENCE
        while not (found := until()):
            assert time.monotonic() < deadline, "it did not come about"
            time.sleep(0.05)
        return found

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def free_port() -> int:
    """A port on loopback that nobody listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
