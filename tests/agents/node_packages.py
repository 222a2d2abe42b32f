"""The agents and SDKs that npm has: installed once for this checkout, and run in a home that knows nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALLED = HERE.parents[1] / ".agents"

MISSING = next((f"{name} is not installed" for name in ("node", "npm") if shutil.which(name) is None), None)

Done = subprocess.CompletedProcess[str]


def install() -> Path:
    """The folder of the packages, which are installed if `package.json` has changed since."""
    INSTALLED.mkdir(exist_ok=True)
    with _alone():
        wanted, there = HERE / "package.json", INSTALLED / "installed.json"
        if not there.exists() or there.read_bytes() != wanted.read_bytes():
            there.unlink(missing_ok=True)
            shutil.copyfile(wanted, INSTALLED / "package.json")
            quiet = "--no-package-lock --no-audit --no-fund --no-update-notifier --loglevel=error".split()
            done = subprocess.run(
                ["npm", "install", "--prefix", INSTALLED, *quiet],  # noqa: S607 - the system's
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"npm has not installed what {wanted} names: {done.stderr.strip()[-500:]}")
            shutil.copyfile(wanted, there)
    return INSTALLED / "node_modules"


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Other workers of pytest wait for the one that installs."""
    import fcntl

    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Programs:
    """Runs programs as their users do, without network, telemetry and updates.

    Args:
        packages: where npm has put them.
        home: an empty folder.
    """

    def __init__(self, packages: Path, home: Path) -> None:
        self.packages, self.home = packages, home
        (home / "codex").mkdir()
        self.environment: Mapping[str, str] = {
            **{name: os.environ[name] for name in ("PATH", "SSL_CERT_FILE") if name in os.environ},
            "PATH": os.pathsep.join((str(packages / ".bin"), os.environ["PATH"])),
            "HOME": str(home),
            "CODEX_HOME": str(home / "codex"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "HTTPS_PROXY": "http://127.0.0.1:9",  # where nobody is: what else they want, they do not get
            "NO_PROXY": "127.0.0.1",
            "ANTHROPIC_API_KEY": "any",
            "OPENAI_API_KEY": "any",
            "CODEX_API_KEY": "any",
        }

    def run(self, *command: str, **variables: str) -> Done:
        """Run a command."""
        return subprocess.run(
            command,
            env={**self.environment, **variables},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )


def module(name: str) -> str:
    """A script of this folder."""
    return str(HERE / name)
