"""Real answers and the bill for each: what is recorded is the bill, to the nano-dollar, or is listed as uncertain."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from canned_server import CannedServer
from recorded_bills import FILES as PROVIDERS
from recorded_bills import cases, read, wrong

from budgeted import register_price

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("nothing_registered")

FILES = sorted(Path(__file__).parent.glob("*.json"))
ROWS = [(provider, row) for provider in PROVIDERS for row in read(provider)["rows"]]
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


@pytest.fixture(scope="module")
def server() -> Iterator[CannedServer]:
    with CannedServer() as made:
        yield made


# Several SDKs leave it to the collector to close their connections, and LiteLLM looks at all that a model has.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Accessing the 'model_:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@pytest.mark.parametrize(("provider", "row"), ROWS, ids=[f"{provider}: {row['name']}" for provider, row in ROWS])
def test_what_is_recorded_is_the_bill(provider: str, row: dict[str, Any], server: CannedServer) -> None:
    request = {**read(provider).get("request", {}), **row["request"]}
    for arguments in row.get("register", ()):
        register_price(**arguments)
    for case, sdk, answers in cases({**row, "request": request}):
        for canned in answers:
            assert wrong(server, {**row, "request": request}, sdk, canned) == "", case


def _worked_out(arithmetic: str) -> Decimal:
    """A sum of products, in decimals."""
    total = Decimal(0)
    for term in arithmetic.split(" + "):
        product = Decimal(1)
        for factor in term.split("*"):
            product *= Decimal(factor)
        total += product
    return total
