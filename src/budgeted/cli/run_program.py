"""Running any program within limits, and telling what it has spent."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from budgeted.cli import completions, run_gateway, run_table
from budgeted.cli.agent_options import AgentOptions
from budgeted.cli.child_process import ChildProcess
from budgeted.cli.limits_and_users import in_brief
from budgeted.cli.live_line import LiveLine
from budgeted.cli.run_gateway import RunGateway
from budgeted.cli.started_command import unmetered_reason
from budgeted.errors import BudgetError
from budgeted.ledger.out_of_reach import OutOfReach
from budgeted.manager import open_managers, part_of_run, settings_file
from budgeted.manager.administrative_manager import Books
from budgeted.manager.extracted_payers import VARIABLE
from budgeted.manager.part_of_run import Run
from budgeted.manager.payers_as_text import place_of
from budgeted.manager.run_books import RunBooks
from budgeted.manager.settings import global_limits
from budgeted.manager.stated_settings import stated
from budgeted.providers import addresses_of_run
from budgeted.providers.unmetered_programs import agent_at
from budgeted.telemetry import run_notes

REFUSED: Final = 87
"""The exit code that says that a refusal has ended the program."""

NOT_STARTED, NOT_FOUND, NOT_EXECUTABLE = 2, 127, 126

_BY_SIGNAL: Final = 128
"""From here on, exit codes tell of signals."""

STARTUP: Final = Path(__file__).parent / "python_startup"
"""The folder whose ``sitecustomize`` each Python program runs at its start."""


class _NotStarted(click.ClickException):
    exit_code = NOT_STARTED

    def __init__(self, message: str) -> None:
        super().__init__(f"nothing was started: {message}")


class _NotFound(_NotStarted):
    exit_code = NOT_FOUND


class _NotExecutable(_NotStarted):
    exit_code = NOT_EXECUTABLE


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--limit", help="The global limit, such as '$5' or '$10/day + 60 calls/minute'.")
@click.option(
    "--user", shell_complete=completions.users, help="Who pays besides; the program's own blocks pay as well."
)
@click.option("--cap", help="What this run alone may spend, such as '$0.50' or '20 calls'.")
@click.option("--ledger", help="Where balances are kept: a path or a URL.")
@click.option("--project", help="The namespace in the ledger.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    limit: str | None,
    user: str | None,
    cap: str | None,
    ledger: str | None,
    project: str | None,
    command: tuple[str, ...],
) -> None:
    """Run a program, and the programs that it starts, within limits. It need not know of them.

    Python is metered wherever it sends to; of other programs, what they send where variables such as OPENAI_BASE_URL
    say, which are set for that.

    What is not given is as the settings file and BUDGETED_* variables have it; see `budgeted config`. At the end a
    table on standard error tells what was spent.

    Exit code: 87 if a refusal that the program did not handle has ended it, else the program's own; 128 and the
    signal's number if a signal has. 2: nothing was started, as a limit makes no sense or cannot be kept.
    """
    given = {"MAX_BUDGET": limit, "LEDGER": ledger, "PROJECT_NAME": project}
    environment = {**os.environ, **{f"BUDGETED_{name}": text for name, text in given.items() if text is not None}}
    if limit is not None:
        environment.pop("BUDGETED_DURATION", None)
    with _told_as_not_started():
        program = _found(command[0])
        text = _checked_limit(limit)
        books = _open(environment, limit)
        _give_place(environment, books)
        paying = RunBooks(books, user, cap)
        folder = Path(tempfile.mkdtemp(prefix="budgeted-run-"))
    gateway: RunGateway | None = None
    try:
        with _told_as_not_started():
            part_of_run.tell(folder, Run(paying.key, place_of(books.payer), text))
            environment[VARIABLE] = paying.payers(books, environment.get("BUDGETED_SECRET", ""))
            around = environment.get(part_of_run.VARIABLE)
            environment[part_of_run.VARIABLE] = f"{folder}{os.pathsep}{around}" if around else str(folder)
            _have_python_metered(environment)
            words = [*command]
            if run_gateway.is_installed():
                gateway = RunGateway(books, paying, environment, folder)
                words = _lead_to(gateway, environment, words, folder)
                gateway.start()
            if not paying.has_limits(books):
                _say("no limit is named, so nothing is refused: what is spent is counted; write --limit '$5'")
            reason = unmetered_reason(command, program, gateway=gateway is not None)
            if reason is not None:
                _say(reason)
        sys.exit(_run(words, environment, folder, books, paying, gateway))
    finally:
        if gateway is not None:
            gateway.stop()
        shutil.rmtree(folder, ignore_errors=True)
        books.close()


def _lead_to(gateway: RunGateway, environment: dict[str, str], command: Sequence[str], folder: Path) -> list[str]:
    """Have programs send to a run's gateway, and return the command line with the options that its agent needs."""
    options = AgentOptions(environment, Path.cwd(), gateway.addresses)
    words = options.command(command)
    scripts = folder / "bin"
    path = environment.get("PATH", os.defpath)
    options.scripts(scripts, lambda name: shutil.which(name, path=path))
    if scripts.exists():
        environment["PATH"] = f"{scripts}{os.pathsep}{path}"
    for name, address in gateway.addresses.told.variables.items():
        environment[name] = address.gateway
    environment[addresses_of_run.VARIABLE] = gateway.addresses.told.text()
    _reach_loopback(environment)
    for name, problem in gateway.addresses.left.items():
        _say(f"{name} stays as it is, so what programs that are not Python send there is not metered: {problem}")
    found = agent_at(command)
    for note in () if found is None else options.notes.get(found[1], ()):
        _say(note)
    return words


def _reach_loopback(environment: dict[str, str]) -> None:
    """Have programs that send by a proxy send to the gateway without it."""
    for name in ("NO_PROXY", "no_proxy"):
        others = environment.get(name) or environment.get(name.swapcase(), "")
        if others != "*":
            environment[name] = f"{others},127.0.0.1" if others else "127.0.0.1"


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    books: Books,
    paying: RunBooks,
    gateway: RunGateway | None,
) -> int:
    """Run the command, tell what it has spent, and return the exit code."""
    try:
        child = ChildProcess(command, environment)
    except OSError as error:
        raise _NotExecutable(f"{command[0]}: {error.strerror or error}") from error
    with LiveLine(lambda: paying.report(books)):
        code = child.wait()
    if gateway is not None:
        gateway.stop()
    with contextlib.suppress(OSError):  # whoever read it has gone, and the exit code still counts
        try:
            run_table.tell(paying, books, folder, child.pid, asked=0 if gateway is None else gateway.asked)
        except BudgetError as error:
            _say(f"what was spent cannot be told, and is in the ledger: {error}")
    child.give_back_signals()
    refused_last = gateway is not None and gateway.refused_last
    return REFUSED if _has_ended_by_refusal(code, child.pid, folder, refused_last=refused_last) else code


def _has_ended_by_refusal(code: int, main: int, folder: Path, *, refused_last: bool) -> bool:
    """Whether a refusal has ended the program: it says so itself, or it has failed upon one of the gateway's."""
    if main not in run_notes.counts(folder, run_notes.STARTED):
        return refused_last and 0 < code < _BY_SIGNAL
    failed_with_it = refused_last and main in run_notes.counts(folder, run_notes.ENDED_BY_PROGRAM)
    return code == 1 and (failed_with_it or main in run_notes.counts(folder, run_notes.ENDED_BY_REFUSAL))


@contextlib.contextmanager
def _told_as_not_started() -> Iterator[None]:
    try:
        yield
    except (BudgetError, ValueError, TypeError, OSError) as error:
        raise _NotStarted(str(error)) from error


def _found(command: str) -> str:
    """The file that a command runs."""
    found = shutil.which(command)
    if found is None:
        if os.path.sep in command and Path(command).exists():
            raise _NotExecutable(f"{command} cannot be executed")
        raise _NotFound(f"{command} is no command that is found here")
    return found


def _checked_limit(limit: str | None) -> str:
    """The limit that was given, as text of its parts; "" for none."""
    if limit is None:
        return ""
    try:
        return " + ".join(map(str, global_limits(limit, None) or ()))
    except ValueError as error:
        msg = f"--limit: {in_brief(str(error))}"
        raise ValueError(msg) from None


def _open(environment: Mapping[str, str], limit: str | None) -> Books:
    """The books of the project that is stated, with the limits that are stated, or was given, put in place."""
    found = stated(environment)
    found.register_prices()  # so that they are looked at before anything is started
    keywords = found.keywords({})
    if limit is not None:  # which counts even if it was given before, and others were set since
        keywords["max_budget"] = None
    if keywords.get("ledger") == "memory://":
        msg = "a ledger in memory is nobody else's, and the program is another process; name a path or a URL"
        raise ValueError(msg)
    for problem in [one.ledger.problem for one in open_managers.open_payers() if isinstance(one.ledger, OutOfReach)]:
        raise ValueError(problem)  # this process was started for somebody who would not pay for the run
    books = Books(**keywords)
    try:
        if limit is not None:
            books.set_limits(None, limit)
        found.give_limits(books.payer)
    except BaseException:
        books.close()
        raise
    return books


def _give_place(environment: dict[str, str], books: Books) -> None:
    """Name the project, the ledger and the file as they are for this process, wherever children run."""
    file = settings_file.find_file(environment)
    environment[settings_file.VARIABLE] = str(file.path) if file is not None else os.devnull
    environment["BUDGETED_PROJECT_NAME"] = books.project_name
    address = books.ledger_address()
    if address is not None:
        environment["BUDGETED_LEDGER"] = address


def _have_python_metered(environment: dict[str, str]) -> None:
    path = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = str(STARTUP) if not path else f"{STARTUP}{os.pathsep}{path}"


def _say(text: str) -> None:
    click.echo(f"budgeted: {text}", err=True)
