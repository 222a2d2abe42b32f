"""Bring what the last run of `peers` has found into the documentation: ``python -m benchmarks.peer_documents``.

The README's table and what is said below it, between two marks, and the chart of the page on what it costs. Only of a
run that had every package, in which budgeted kept the limit, and forgot nothing.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.peer_chart import TITLE, drawn, kind_of
from benchmarks.peer_list import PEERS
from benchmarks.peer_table import Measured, Table, within

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
COSTS = ROOT / "docs" / "explanation" / "what-it-costs.md"
CHART = ROOT / "docs" / "pictures" / "peers.svg"
MARKS = "<!-- of `python -m benchmarks peers` -->", "<!-- up to here -->"
WIDTH = 120
LEGEND = """\
Streams are left after their first chunk, at a provider that bills the whole. “Its caller's”: the package holds what its
caller says that a call may cost. “Default output 16,384”: with this setting of its own, which is not what it starts
with. Instructions are counted of those that keep the limit in the race."""


def check(table: Table) -> None:
    """Refuse a run that was not whole, or in which ours did not do what the README says."""
    missing = {peer.name for peer in PEERS} - {peer.name for peer in table.peers.values()}
    assert not missing, f"not measured: {', '.join(sorted(missing))}"
    for name, one in table.measured.items():
        assert one.microseconds is not None, f"{name} was not timed"
        if table.peers[name].distribution == "budgeted" and not table.peers[name].timed_only:
            assert kind_of(one) == 0, f"{name} has not kept the limit"
            assert one.killed is None or one.killed["lost"] == 0, f"{name} has forgotten calls"


def summary(table: Table) -> str:
    """The table in sentences."""
    others = [name for name in table.sdk_rows() if table.peers[name].distribution != "budgeted"]
    kept = [name for name in others if table.measured[name].keeps_the_limit]
    least = table.measured["budgeted, in memory"].microseconds or 0

    def those(fits: Callable[[Measured], bool], among: Sequence[str] = others) -> str:
        return listed(packages(table, [name for name in among if fits(table.measured[name])]))

    def is_faster(one: Measured) -> bool:
        return (one.microseconds or 0) < least

    told = (
        f"Of {len(packages(table, others))} other packages, these keep the limit when threads race:",
        f"{those(lambda _: True, kept)}.",
        f"Of them, it is kept without `max_tokens` by {those(lambda one: within(one.uncapped), kept)},",
        f"while {those(lambda one: one.uncapped is None, kept)} hold what their caller says;",
        f"and with streams left early, by {those(lambda one: within(one.left), kept)}.",
        f"Every billed call is known after `kill -9` to {those(forgets_nothing)}.",
        f"Less than by budgeted in memory is added to a call by {those(is_faster)};",
        f"of those that keep the limit in the race, by {those(is_faster, kept)}.",
        "budgeted keeps it in all of these, and shares it among processes and hosts.",
    )
    return textwrap.fill(" ".join(told), WIDTH, break_long_words=False, break_on_hyphens=False)


def forgets_nothing(one: Measured) -> bool:
    """Whether every billed call is known after a `kill -9`."""
    return one.killed is not None and one.killed.get("lost") == 0


def packages(table: Table, names: Iterable[str]) -> list[str]:
    """The packages of these rows, each once."""
    return list(dict.fromkeys(table.peers[name].distribution for name in names))


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    if len(names) < 2:
        return names[0] if names else "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def write(page: Path, told: str) -> None:
    """Have this between the page's marks."""
    begin, end = MARKS
    between = re.compile(f"({re.escape(begin)}\n).*({re.escape(end)})", re.DOTALL)
    text = page.read_text(encoding="utf-8")
    assert len(between.findall(text)) == 1, f"{page.name} has not both marks once"
    page.write_text(between.sub(lambda found: f"{found[1]}\n{told}\n\n{found[2]}", text), encoding="utf-8")
    print(page)


def main() -> None:
    table = Table.kept()
    check(table)
    write(README, f"{LEGEND}\n\n{table.markdown()}\n\n{summary(table)}")
    write(COSTS, f"The last one:\n\n![{TITLE}, by how well it keeps the limit](../pictures/{CHART.name})")
    CHART.write_bytes(drawn(table))
    print(CHART)


if __name__ == "__main__":
    main()
