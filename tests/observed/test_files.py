"""The dashboards as the command writes them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from budgeted.cli.export_dashboards import dashboard
from budgeted.colours import REFUSED, SPENT, UNCERTAIN
from budgeted.dashboards import grafana, prometheus_rules


def test_the_dashboard_is_json_that_grafana_takes(tmp_path: Path) -> None:
    done = CliRunner().invoke(dashboard, ["grafana", "--title", "Our spend", "-o", str(tmp_path / "spend.json")])
    assert done.exit_code == 0, done.output
    board = json.loads((tmp_path / "spend.json").read_text())
    assert board["title"] == "Our spend"
    assert board["schemaVersion"] >= 36
    names = {one["name"] for one in board["templating"]["list"]}
    assert names == {"datasource", "project"}
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        assert panel["targets"]
        assert panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert all(target["legendFormat"] or panel["type"] == "stat" for target in panel["targets"])


def test_no_panels_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in grafana.dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def colours_of(title: str) -> dict[str, str]:
    """Which colour a panel's series have, by what their legends begin with; under "" that of all others."""
    [panel] = [panel for panel in grafana.dashboard()["panels"] if panel["title"] == title]
    fields = panel["fieldConfig"]
    found = {"": fields["defaults"]["color"]["fixedColor"]}
    for override in fields["overrides"]:
        [word] = re.findall(r"\w+", override["matcher"]["options"].replace("$", ""))
        [found[word]] = [one["value"]["fixedColor"] for one in override["properties"] if one["id"] == "color"]
    return found


def test_colours_mean_what_they_mean_on_the_page() -> None:
    outcomes = colours_of("Calls by outcome")
    assert (outcomes["settled"], outcomes["estimated"], outcomes["refused"]) == (SPENT, UNCERTAIN, REFUSED)
    amounts = colours_of("Spent, held and limit")
    assert amounts["spent"] == amounts["held"] == SPENT
    assert colours_of("Refusals") == {"": REFUSED}
    assert colours_of("Spend by model (USD per hour)") == {"": SPENT}


def test_no_panel_leaves_it_to_grafana_which_colour_it_has() -> None:
    text = json.dumps(grafana.dashboard())
    assert not [word for word in ('"green"', '"yellow"', '"red"', "palette") if word in text]
    [gauge] = [panel for panel in grafana.dashboard()["panels"] if panel["type"] == "gauge"]
    fields = gauge["fieldConfig"]["defaults"]
    assert [one["color"] for one in fields["thresholds"]["steps"]] == [SPENT, UNCERTAIN, REFUSED]
    assert fields["max"] == 1


def test_rules_are_printed_where_no_file_is_named() -> None:
    done = CliRunner().invoke(dashboard, ["alerts"])
    assert done.output == prometheus_rules.rules()
    assert done.output.count("- alert:") == len(prometheus_rules.ALERTS)


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(dashboard, ["alerts", "-o", str(tmp_path / "missing" / "rules.yml")])
    assert done.exit_code == 1
    assert "missing/rules.yml" in done.output


@pytest.mark.parametrize(
    "query", [*grafana.queries(), *(one.expr for one in (*prometheus_rules.RECORDINGS, *prometheus_rules.ALERTS))]
)
def test_no_query_sums_what_every_process_shows(query: str) -> None:
    for gauge in ("limit", "spent", "held", "remaining"):
        before, found, _ = query.partition(f"budgeted_{gauge}_USD")
        if found:
            assert before.endswith(") (") or before == "absent("
            assert before.rpartition(" by")[0].endswith("max") or before == "absent("
