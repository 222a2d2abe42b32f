"""Check the files of a release: what is in them, that they are made again alike, and that they work when installed.

    python scripts/check_distribution.py dist

`make dist` has made them. It runs with the environment that has the package `build`, in a checkout of git.
"""

# ruff: noqa: INP001

from __future__ import annotations

import filecmp
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = "src/"
WITHOUT_EXTRAS = "import budgeted, budgeted.testing; print(budgeted.__version__)"


def main() -> None:
    """Do all checks, the quick ones first; ends with a text where one fails."""
    folder = Path(sys.argv[1]).resolve()
    [wheel], [sdist] = folder.glob("*.whl"), folder.glob("*.tar.gz")
    tracked = set(_run("git", "ls-files").splitlines())
    check_wheel(wheel, tracked)
    check_sdist(sdist, tracked)
    check_made_again(folder)
    version = check_installed(wheel)
    print(f"{wheel.name} and {sdist.name} are fit to be released as {version}")  # noqa: T201 - the report


def check_wheel(wheel: Path, tracked: set[str]) -> None:
    """It has the package with all of its data, what describes it, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = {name.removeprefix(SOURCE) for name in tracked if name.startswith(SOURCE)}
    _same(names, package, wheel.name)
    if "budgeted/py.typed" not in names:
        sys.exit(f"{wheel.name} has no budgeted/py.typed: type checkers would not read it")


def check_sdist(sdist: Path, tracked: set[str]) -> None:
    """It has whatever git has: one can test what it holds, and build from it."""
    with tarfile.open(sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    _same(names - {"PKG-INFO"}, tracked, sdist.name)


def check_made_again(folder: Path) -> None:
    """The same source makes the same files, to the byte: whoever doubts one can make it again."""
    with tempfile.TemporaryDirectory() as again:
        _run(sys.executable, "-m", "build", "--outdir", again)
        names = sorted(path.name for path in folder.iterdir())
        same, *_ = filecmp.cmpfiles(folder, again, names, shallow=False)
        _same(same, names, "made again")


def check_installed(wheel: Path) -> str:
    """It works where nothing else is installed, and so do its commands with their extra. Returns its version."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        bin_folder = Path(folder, "Scripts" if sys.platform == "win32" else "bin")
        python = str(bin_folder / "python")
        _run(python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", str(wheel), cwd=folder)
        version = _run(python, "-c", WITHOUT_EXTRAS, cwd=folder).strip()
        _run(
            python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", f"{wheel}[cli,server]", cwd=folder
        )
        if version not in _run(str(bin_folder / "budgeted"), "--version", cwd=folder):
            sys.exit(f"budgeted --version does not say {version}")
        _run(python, "-c", "import budgeted.server", cwd=folder)
        _run(str(bin_folder / "budgeted"), "demo", "--threads", "4", cwd=folder)
        return version


def _same(found: Iterable[str], wanted: Iterable[str], where: str) -> None:
    lacking, strange = sorted({*wanted} - {*found}), sorted({*found} - {*wanted})
    if lacking or strange:
        sys.exit(f"{where}: lacks {lacking[:10]}, and has no business with {strange[:10]}")


def _run(*command: str, cwd: str | Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603 - these
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
