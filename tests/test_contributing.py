"""What CONTRIBUTING.md tells of the code is what the code is."""

from __future__ import annotations

import re
import tomllib

from page_examples import ROOT


def test_the_table_of_layers_is_the_one_that_imports_are_checked_by() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| layer | what it is about |")[2].partition("\n\n")[0]
    told = [re.findall(r"`([a-z_]+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    checked = next(
        contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == ["budgeted"]
    )
    assert told == [row.split(" | ") for row in checked]


def test_every_folder_and_file_at_the_top_of_the_package_is_in_it() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    there = {path.stem for path in (ROOT / "src" / "budgeted").iterdir() if path.suffix in ("", ".py")}
    assert [name for name in sorted(there - {"__init__", "__pycache__"}) if f"`{name}`" not in text] == []
