"""Prints the matrix as a table."""

from __future__ import annotations

from typing import Any

import pytest
from endings import ALL
from table import PACKAGES, installed, versions


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", action="store_true", help="print the matrix as a table")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("table", default=False):
        return
    # In the order of the table, whoever came first when several processes ran it.
    cells: dict[tuple[str, str], dict[str, str]] = {
        (name, form.name): {} for name, row in installed().items() for form in row.forms
    }
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            if isinstance(report, pytest.TestReport):
                row, form, ending, found = _cell(report)
                cells[row, form][ending] = found
    for name in PACKAGES:
        _print_row(
            terminalreporter, name, {form: found for (row, form), found in cells.items() if row == name and found}
        )


def _cell(report: pytest.TestReport) -> tuple[str, ...]:
    for name, value in report.user_properties:
        if name == "cell" and report.passed:
            return tuple(str(part) for part in value)  # type: ignore[attr-defined]
    row, form, ending = report.nodeid.partition("[")[2].rstrip("]").split("-")
    return row, form, ending.replace("_", " "), "FAILED"


def _print_row(out: Any, name: str, forms: dict[str, dict[str, str]]) -> None:
    found = ", ".join(f"{package} {version or 'NOT INSTALLED'}" for package, version in versions(name).items())
    out.section(f"{name}: {found}", sep="-")
    if not forms:
        return
    columns = [ending for ending in ALL if any(ending in cells for cells in forms.values())]
    out.write_line(f"{'':26}" + "".join(f"{column:>12}" for column in columns))
    for form, cells in forms.items():
        out.write_line(f"{form:26}" + "".join(f"{cells.get(column, ''):>12}" for column in columns))
