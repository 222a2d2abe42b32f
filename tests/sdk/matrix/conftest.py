"""Prints the matrix as a table, and chooses what of it to run."""

from __future__ import annotations

from typing import Any

import pytest
from endings import ALL
from framework_pages import PAGES, is_installed
from table import FRAMEWORKS, PACKAGES, installed, versions

collect_ignore = [] if any(map(is_installed, PAGES)) else ["test_framework_pages.py"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", action="store_true", help="print the matrix as a table")
    parser.addoption("--frameworks", action="store_true", help="leave out the SDKs that frameworks call")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("frameworks", default=False):
        return
    kept = [item for item in items if _is_of_a_framework(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _is_of_a_framework(item: pytest.Item) -> bool:
    if item.path.name == "test_framework_pages.py":
        return True
    call = getattr(item, "callspec", None)
    return call is not None and "cell" in call.params and call.params["cell"].row in FRAMEWORKS


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not config.getoption("table", default=False):
        return
    # In the order of the table, whoever came first when several processes ran it.
    rows: dict[str, dict[str, dict[str, str]]] = {
        name: {form.name: {} for form in row.forms} for name, row in installed().items()
    }
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            noted = dict(getattr(report, "user_properties", ()))
            if "cell" in noted:
                row, form, ending = noted["cell"]
                cells = rows.setdefault(row, {}).setdefault(form, {})
                cells[ending] = noted["found"] if report.passed else "FAILED"
    for name in [*PACKAGES, *(row for row in rows if row not in PACKAGES)]:
        _print_row(terminalreporter, name, {form: cells for form, cells in rows.get(name, {}).items() if cells})


def _print_row(out: Any, name: str, forms: dict[str, dict[str, str]]) -> None:
    found = ", ".join(f"{package} {version or 'NOT INSTALLED'}" for package, version in versions(name).items())
    out.section(f"{name}: {found}" if found else name, sep="-")
    if not forms:
        return
    tried = {ending for cells in forms.values() for ending in cells}
    columns = [ending for ending in ALL if ending in tried] or sorted(tried)
    width = max(26, *(len(form) + 2 for form in forms))
    out.write_line(" " * width + "".join(f"{column:>13}" for column in columns))
    for form, cells in forms.items():
        out.write_line(f"{form:{width}}" + "".join(f"{cells.get(column, ''):>13}" for column in columns))
