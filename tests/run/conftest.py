"""What the tests of ``budgeted run`` share: a simulated provider, and how programs are run against it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import COMMAND, Done, Run

from budgeted.testing import SimulatedProvider


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        simulated.reply(output_tokens=90)
        yield simulated


@pytest.fixture
def environment(provider: SimulatedProvider) -> dict[str, str]:
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "OPENAI_BASE_URL": provider.openai_url,
        "OPENAI_API_KEY": "none",
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    def run(*arguments: str, **variables: str) -> Done:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=tmp_path,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
