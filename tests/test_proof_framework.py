"""``python -m proof``: what its parts are given, how they are repeated, and what it says of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from proof import __main__ as proof
from proof import part_process, parts
from proof.parts import Part
from proof.table import ended, table
from proof.trial import MOST_VIOLATIONS, Case, Enough, Report, Trial


def trial(directory: Path, only: str | None = None, *, long: bool = False, told: list[str] | None = None) -> Trial:
    tell = print if told is None else told.append
    return Trial("part", "its title", 7, 0.05, directory, long=long, only=only, tell=tell)


def test_every_part_has_a_title_and_fits_its_time() -> None:
    there = [parts.load(name) for name in parts.names()]
    assert all(part.title.endswith(".") for part in there)
    assert sum(part.short for part in there) / 2 < 120
    assert sum(part.long for part in there) / 2 < 2400


def test_a_case_is_repeated_alone_by_its_number(tmp_path: Path) -> None:
    drawn: dict[int, float] = {}

    def draw(case: Case) -> None:
        drawn[case.number] = case.rng.random()

    trial(tmp_path).random_cases("subject", draw)
    assert len(drawn) > 2
    first = dict(drawn)
    drawn.clear()
    again = trial(tmp_path, only="subject:2")
    again.random_cases("another", draw)
    again.random_cases("subject", draw)
    assert drawn == {2: first[2]}


def test_an_item_is_repeated_alone_by_its_number(tmp_path: Path) -> None:
    seen: list[str] = []
    again = trial(tmp_path, only="letters:1")
    again.each_case("letters", "abc", lambda case, letter: seen.append(letter))
    assert seen == ["b"]


def test_the_short_form_tries_the_same_few_of_many_items(tmp_path: Path) -> None:
    tried = []
    for long in (False, False, True):
        seen: list[int] = []
        trial(tmp_path, long=long).each_case("numbers", range(50), lambda case, item: seen.append(item), most=5)  # noqa: B023
        tried.append(seen)
    assert tried[0] == tried[1]
    assert len(tried[0]) == 5
    assert tried[2] == list(range(50))


def test_a_violation_is_told_with_its_story_and_how_to_repeat_it(tmp_path: Path) -> None:
    told: list[str] = []
    run = trial(tmp_path, told=told)

    def attempt(case: Case, item: int) -> None:
        case.directory.joinpath("file").touch()
        case.fault("torn write", "at byte 5")
        assert item != 1, "invariant 3: held is the sum of open holds"

    run.each_case("journal", range(3), attempt)
    [text] = told
    assert "invariant 3: held is the sum of open holds" in text
    assert "fault: torn write at byte 5" in text
    assert text.endswith("repeat: python -m proof --part part --seed 7 --case journal:1")
    report = run.report()
    assert (report.cases, report.faults, report.violations) == ({"journal": 3}, {"torn write": 3}, told)
    assert list(tmp_path.iterdir()) == []


def test_a_part_ends_when_more_violations_would_tell_nothing_new(tmp_path: Path) -> None:
    run = trial(tmp_path, told=[])
    with pytest.raises(Enough):
        run.each_case("numbers", range(50), lambda case, item: 1 / 0)  # type: ignore[arg-type, return-value]
    assert len(run.report().violations) == MOST_VIOLATIONS


def test_the_table_adds_up() -> None:
    reports = [
        Report("one", "", 3, {"a": 1000, "b": 234}, {"kill -9": 5}, ["bad"], [], 1.25),
        Report("another", "", 3, {"a": 1}, {}, [], ["Redis: not here"], 20.0),
    ]
    assert table(reports).splitlines() == [
        "part     cases  faults  violations  seed  seconds",
        "-------------------------------------------------",
        "one      1,234       5           1     3      1.2",
        "another      1       0           0     3     20.0",
        "-------------------------------------------------",
        "all      1,235       5           1",
    ]
    assert ended(reports[1]).splitlines()[-1] == "  not run: Redis: not here"


def test_what_could_not_be_tried_fails_where_everything_is_to_be_here(monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = [Report("part", "", 0, left_out=["no Redis"])]
    monkeypatch.delenv("SKIPS_FAIL", raising=False)
    assert proof.verdict(left_out) == 0
    monkeypatch.setenv("SKIPS_FAIL", "1")
    assert proof.verdict(left_out) == 1
    assert proof.verdict([Report("part", "", 0)]) == 0


def test_a_violation_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKIPS_FAIL", raising=False)
    assert proof.verdict([Report("part", "", 0), Report("part", "", 0, violations=["bad"])]) == 1


def test_an_unknown_part_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        proof.main(["--part", "nothing"])
    assert "no part is called nothing; there are" in capsys.readouterr().err


@pytest.mark.slow
def test_a_part_whose_process_dies_is_a_violation() -> None:
    # A part that is not there: its process ends with an error, and without a report.
    told: list[str] = []
    lost = Part("nowhere", "Nothing.", lambda trial: None, 1, 1, alone=False)
    report = part_process.run(lost, 0, long=False, only=None, tell=told.append)
    assert report.violations == told
    assert "ended with code 1" in told[0]
    assert "No module named 'proof.parts.nowhere'" in told[0]
