"""Every row of the corpus of real answers is whole, and its bill is what its arithmetic comes to."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

FILES = sorted(Path(__file__).parent.glob("*.json"))
LEAST_ROWS = 120
NEEDED = ("name", "request", "bill_usd", "arithmetic", "price_source", "reported", "expected")


def test_every_row_is_whole_and_its_arithmetic_is_its_bill() -> None:
    names = []
    for file in FILES:
        for row in json.loads(file.read_text())["rows"]:
            assert all(row.get(name) for name in NEEDED), row
            assert row["expected"] in ("exact", "uncertain"), row
            assert "answer" in row or "stream" in row, row
            assert _worked_out(row["arithmetic"]) == Decimal(row["bill_usd"]), row["name"]
            names.append((file.stem, row["name"]))
    assert len(names) == len(set(names)) >= LEAST_ROWS


def _worked_out(arithmetic: str) -> Decimal:
    """A sum of products, in decimals."""
    total = Decimal(0)
    for term in arithmetic.split(" + "):
        product = Decimal(1)
        for factor in term.split("*"):
            product *= Decimal(factor)
        total += product
    return total
