"""Charts: SVG that any browser takes, in light and dark, small, and without a script or anything from elsewhere."""

from __future__ import annotations

import datetime as dt
import random
import xml.etree.ElementTree as ET
from typing import Literal

import pytest

from budgeted.money import NANO
from budgeted.page.charts import spend_chart
from budgeted.page.spend_over_time import NOTHING, SpendOverTime, Spent, over_time

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "<script>alert(1)</script>",
    '"; DROP TABLE',
    "a\x00b\x1b\ufffe",
    "]]>&amp;",
    "\u202eabc",
    "x" * 256,
)
COUNTS: dict[Literal["hour", "day", "month"], int] = {"hour": 48, "day": 30, "month": 12}


def made(period: Literal["hour", "day", "month"], *names: str, usd: float = 1.0) -> SpendOverTime:
    draw, count = random.Random(0), COUNTS[period]
    now = dt.datetime(2025, 11, 1, 12, tzinfo=dt.UTC)
    step = {"hour": dt.timedelta(hours=1), "day": dt.timedelta(days=1), "month": dt.timedelta(days=30)}[period]
    starts = [now - step * back for back in range(count - 1, -1, -1)]
    spent = []
    for _ in starts:
        named = {name: int(draw.random() * usd * NANO) for name in names}
        spent.append(Spent(named, NANO // 10, sum(named.values()) + NANO // 10))
    return over_time("user", period, now, starts, spent)


def read(svg: bytes) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - made here


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("period", list(COUNTS))
def test_a_full_chart_is_under_thirty_kilobytes_and_has_no_script(
    period: Literal["hour", "day", "month"], small: bool
) -> None:
    svg = spend_chart(made(period, *(f"gpt-5-mini-{i}" for i in range(12))), small=small)
    assert len(svg) < 30_000
    tags = {node.tag.removeprefix(SVG) for node in read(svg).iter()}
    assert tags == {"svg", "title", "defs", "style", "g", "rect", "path", "text"}
    assert b"http" not in svg.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"url(" not in svg
    assert b"@import" not in svg


def test_it_follows_the_readers_choice_of_light_or_dark() -> None:
    style = read(spend_chart(made("day", "gpt-5"))).find(f".//{SVG}style")
    assert style is not None
    assert (style.text or "").count("prefers-color-scheme:dark") == 1


def test_bars_are_as_many_as_amounts_and_none_is_of_nothing() -> None:
    spend = made("day", "a", "b")
    bars = [bar for bar in read(spend_chart(spend)).iter(f"{SVG}g") if bar.get("class") == "bars"]
    assert sum(len(list(bar)) for bar in bars) == sum(amount > 0 for line in spend.series for amount in line.amounts)


def test_names_are_text_whatever_they_are() -> None:
    root = read(spend_chart(made("hour", *HOSTILE)))
    texts = [node.text or "" for node in root.iter(f"{SVG}text")]
    assert any(text.startswith("<script>alert(1)") for text in texts)
    assert not [node for node in root.iter() if node.tag.endswith("script")]


def test_amounts_are_written_for_a_glance_and_times_stand_below() -> None:
    root = read(spend_chart(made("hour", "gpt-5", usd=0.0213)))
    texts = [node.text or "" for node in root.iter(f"{SVG}text")]
    assert [text for text in texts if text.startswith("$0.")]
    assert not [text for text in texts if text.startswith("$") and len(text) > len("$0.0213")]
    assert {"18:00", "1 Nov", "06:00", "12:00"} <= set(texts)


@pytest.mark.parametrize("usd", [1e-9, 1e9])
def test_the_least_and_the_most_that_can_be_spent_are_drawn(usd: float) -> None:
    spent = [NOTHING] * 29 + [Spent({"m": round(usd * NANO)}, 0, round(usd * NANO))]
    starts = [dt.datetime(2025, 11, day, tzinfo=dt.UTC) for day in range(1, 31)]
    root = read(spend_chart(over_time("model", "day", starts[-1], starts, spent)))
    assert [text for node in root.iter(f"{SVG}text") if (text := node.text or "").startswith("$")]


def test_what_was_corrected_is_drawn_below_nothing() -> None:
    starts = [dt.datetime(2025, 11, 1, hour, tzinfo=dt.UTC) for hour in range(2)]
    spent = [Spent({"m": 3 * NANO}, 0, 3 * NANO), Spent({"m": -NANO}, 0, -NANO)]
    texts = [
        node.text or "" for node in read(spend_chart(over_time("model", "hour", starts[-1], starts, spent))).iter()
    ]
    assert any(text.startswith("-$") for text in texts)


def test_nothing_spent_is_said() -> None:
    starts = [dt.datetime(2025, 11, 1, tzinfo=dt.UTC)]
    assert b"Nothing was spent" in spend_chart(over_time("model", "day", starts[-1], starts, [NOTHING]))
