"""What each package adds to a call, as a chart, by how well it keeps the limit."""

from __future__ import annotations

from benchmarks.peer_table import Measured, Table, within
from budgeted.page import self_contained_svg

TITLE = "Microseconds that a package adds to a call of the OpenAI SDK"
WIDTH, ROW, AROUND = 960, 24, 120
KINDS = (
    ("keeps the limit in everything tried here", ("#0f766e", "#3fb8a9")),
    ("keeps it in the race of threads alone", ("#3a6ea5", "#6b9fd6")),
    ("does not keep it", ("#b5bcc2", "#5d666e")),
    ("is not to be shared by threads, says its documentation", ("#8a63b8", "#b08fdb")),
)
"""Series: what is said of them, and their colours on light and dark ground."""


def drawn(table: Table) -> bytes:
    """A whole SVG file: the packages that were timed with the SDK, the fastest first."""
    pygal = self_contained_svg.library()
    times = {name: time for name in table.sdk_rows() if (time := table.measured[name].microseconds)}
    order = sorted(times, key=lambda name: times[name], reverse=True)  # drawn from the bottom up
    chart = pygal.HorizontalStackedBar(
        width=WIDTH,
        height=ROW * len(order) + AROUND,
        js=(),
        spacing=6,
        no_prefix=True,
        logarithmic=True,
        legend_at_bottom=True,
        legend_at_bottom_columns=1,
        truncate_legend=-1,
        truncate_label=-1,
        x_labels=[f"{name}: {times[name]:,.1f} µs" for name in order],
        zero=1,
        range=(1, 10_000),
        margin_right=40,
        y_labels=[1, 10, 100, 1_000, 10_000],
        value_formatter=lambda time: f"{time:,.0f} µs",
        style=pygal.style.Style(legend_font_size=13, label_font_size=12),
    )
    for kind, (said, _) in enumerate(KINDS):
        chart.add(said, [times[name] if kind_of(table.measured[name]) == kind else None for name in order])
    style = self_contained_svg.stylesheet(
        lambda ground: "".join(f".color-{kind}{{fill:{colours[ground]}}}" for kind, (_, colours) in enumerate(KINDS))
    )
    chart.add_xml_filter(lambda root: self_contained_svg.finished(root, TITLE, style))
    svg: bytes = chart.render()
    return svg


def kind_of(one: Measured) -> int:
    """Which of the series a package belongs to."""
    if one.threads is None:
        return 3
    if not one.keeps_the_limit:
        return 2
    return 0 if all(result is None or within(result) for result in (one.tasks, one.uncapped, one.left)) else 1
