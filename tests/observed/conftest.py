"""The application in processes of its own, against a simulated provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from budgeted.testing import SimulatedProvider


class Application:
    """One process of it."""

    def __init__(self, provider: SimulatedProvider, settings: dict[str, Any], variables: dict[str, str]) -> None:
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": provider.openai_url,
            "OPENAI_API_KEY": "none",
            "ANTHROPIC_BASE_URL": provider.anthropic_url,
            "ANTHROPIC_API_KEY": "none",
            "CONFIGURE": json.dumps(settings),
            **variables,
        }
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("application.py"))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, *command: Any) -> Any:
        """Have it do something; what it answers."""
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None
        assert answers is not None
        pipe.write(json.dumps(command) + "\n")
        pipe.flush()
        return json.loads(answers.readline())

    def end(self) -> None:
        """Have it end as it likes."""
        self._process.communicate(timeout=30)
        assert self._process.returncode == 0

    def kill(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(10)


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture
def start(provider: SimulatedProvider) -> Iterator[Callable[..., Application]]:
    """Starts the application with settings of ``configure`` and environment variables."""
    made: list[Application] = []

    def run(variables: dict[str, str], **settings: Any) -> Application:
        made.append(Application(provider, settings, variables))
        return made[-1]

    yield run
    for one in made:
        one.kill()
