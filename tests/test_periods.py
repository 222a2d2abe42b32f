"""Periods on real calendars: what they are called, and where they start and end."""

from __future__ import annotations

import datetime as dt
import pickle
import random
import zoneinfo
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from budgeted.limits.periods import NEVER, Period, parse_period, window, zone

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Santiago",
    "Africa/Cairo",
    "America/Havana",
    "America/Goose_Bay",
)
HOUR = 3600


def at(text: str, tz: str = "UTC") -> int:
    """Unix seconds of a local time."""
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=zone(tz)).timestamp())


def local(seconds: int, tz: str) -> str:
    return dt.datetime.fromtimestamp(seconds, zone(tz)).replace(tzinfo=None).isoformat(timespec="minutes")


def local_window(period: str, now: str, tz: str = "UTC", anchor: dt.date | None = None) -> tuple[str, str]:
    start, end = window(parse_period(period), anchor, at(now, tz), zone(tz))
    return local(start, tz), local(end, tz)


@pytest.mark.parametrize(
    ("text", "count", "unit"),
    [
        ("day", 1, "day"),
        ("daily", 1, "day"),
        (" A Day ", 1, "day"),
        ("1 day", 1, "day"),
        ("/ 1 day", 1, "day"),
        ("per week", 1, "week"),
        ("weekly", 1, "week"),
        ("30 days", 30, "day"),
        ("30d", 30, "day"),
        ("30s", 30, "second"),
        ("30m", 30, "minute"),
        ("6h", 6, "hour"),
        ("hr", 1, "hour"),
        ("hourly", 1, "hour"),
        ("every 2 weeks", 2, "week"),
        ("1mo", 1, "month"),
        ("MONTHLY", 1, "month"),
        ("quarterly", 3, "month"),
        ("yearly", 1, "year"),
        ("annually", 1, "year"),
        ("24h", 1, "day"),
        ("48 hours", 2, "day"),
        ("60 seconds", 1, "minute"),
        ("86400s", 1, "day"),
        ("12 months", 1, "year"),
        ("7 days", 7, "day"),
    ],
)
def test_a_period_is_read_in_the_spellings_people_bring(text: str, count: int, unit: str) -> None:
    period = parse_period(text)
    assert (period.count, period.unit) == (count, unit)
    assert parse_period(str(period)) == period == parse_period(period)
    assert pickle.loads(pickle.dumps(period)) == period  # noqa: S301


@pytest.mark.parametrize(
    ("text", "meaning", "seconds"),
    [
        ("rolling 24 hours", "rolling day", 86_400),
        ("per rolling day", "rolling day", 86_400),
        ("1d rolling", "rolling day", 86_400),
        ("sliding 24-hour window", "rolling day", 86_400),
        ("rolling weekly", "rolling week", 604_800),
        ("rolling 14 days", "rolling 2 weeks", 1_209_600),
        ("rolling 30 days", "rolling 30 days", 2_592_000),
        ("rolling 90s", "rolling 90 seconds", 90),
    ],
)
def test_a_period_that_rolls_is_elapsed_time(text: str, meaning: str, seconds: int) -> None:
    period = parse_period(text)
    assert (str(period), period.seconds, period.rolling) == (meaning, seconds, True)
    assert parse_period(str(period)) == period
    assert window(period, None, at("2026-11-22T15:04"), zone("Europe/Berlin")) == (0, NEVER)


@pytest.mark.parametrize("text", ["rolling month", "rolling 12 months", "quarterly rolling", "sliding year"])
def test_months_and_years_do_not_roll(text: str) -> None:
    with pytest.raises(ValueError, match=r'do not roll, as they differ in length: write "rolling \d+ days"'):
        parse_period(text)


def test_a_period_knows_how_long_it_is_on_the_average() -> None:
    lengths = {Period(2, "day"): 172_800, Period(1, "week"): 604_800, Period(1, "month"): 2_629_746}
    assert {period: period.seconds for period in lengths} == lengths


@pytest.mark.parametrize(
    "text",
    ["", "m", "1", "dayly-ish", "0 days", "-1 day", "1.5 days", "2 daily", "5000 years", "day day", "9" * 5000 + "s"],
)
def test_what_is_no_period_is_a_value_error_that_quotes_it(text: str) -> None:
    with pytest.raises(ValueError, match="period") as caught:
        parse_period(text)
    assert len(str(caught.value)) < 300


def test_a_misspelt_period_is_recognised() -> None:
    with pytest.raises(ValueError, match=r"no period 'dialy': did you mean 'daily'\? .*weekly, monthly.* \"30d\""):
        parse_period("dialy")


@pytest.mark.parametrize("text", [None, 30, b"day", dt.timedelta(days=1)])
def test_a_period_of_another_type_is_a_type_error(text: object) -> None:
    with pytest.raises(TypeError, match='a period must be a str such as "daily"'):
        parse_period(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(("count", "unit"), [(0, "day"), (-1, "day"), (1, "fortnight"), (1001, "year")])
def test_a_period_made_from_parts_is_checked_too(count: int, unit: str) -> None:
    with pytest.raises(ValueError, match="period"):
        Period(count, unit)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="count must be an int"):
        Period(True, "day")


def test_zones_are_known_by_name_and_taken_as_they_are() -> None:
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    assert zone("Europe/Berlin") is berlin is zone(berlin)
    assert zone("utc") is zone(dt.UTC) is dt.UTC


def test_a_zone_of_pytz_is_replaced_by_the_one_that_reckons_right() -> None:
    """Those of pytz answer an ordinary question with the local mean time of 1890."""

    class Pytz(dt.tzinfo):
        zone = "Europe/Berlin"

    assert zone(Pytz()) is zone("Europe/Berlin")


@pytest.mark.parametrize("name", ["Europe/Berln", "Europe", "", "../etc/passwd", "Mars/Olympus\0"])
def test_an_unknown_zone_is_a_value_error_with_a_way_out(name: str) -> None:
    with pytest.raises(ValueError, match=r"no time zone .*pip install tzdata"):
        zone(name)
    with pytest.raises(TypeError, match="a time zone must be a name"):
        zone(3600)  # type: ignore[arg-type]


def test_a_machine_without_zones_still_has_utc(tmp_path: Path) -> None:
    """As on Windows, until tzdata is installed."""
    zoneinfo.reset_tzpath([tmp_path])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert window(Period(1, "day"), None, 0, zone("UTC")) == (0, 24 * HOUR)
    finally:
        zoneinfo.reset_tzpath()


def test_without_a_period_the_window_never_ends() -> None:
    assert window(None, None, at("2026-01-01T00:00"), zone("UTC")) == (0, NEVER)


@pytest.mark.parametrize(
    ("period", "now", "window"),
    [
        ("day", "2026-11-22T15:04", ("2026-11-22T00:00", "2026-11-23T00:00")),
        ("week", "2026-11-22T15:04", ("2026-11-16T00:00", "2026-11-23T00:00")),
        ("week", "2026-11-23T00:00", ("2026-11-23T00:00", "2026-11-30T00:00")),
        ("month", "2028-02-29T23:59", ("2028-02-01T00:00", "2028-03-01T00:00")),
        ("quarter", "2026-11-22T15:04", ("2026-10-01T00:00", "2027-01-01T00:00")),
        ("year", "2026-11-22T15:04", ("2026-01-01T00:00", "2027-01-01T00:00")),
        ("2 days", "1970-01-04T12:00", ("1970-01-03T00:00", "1970-01-05T00:00")),
        ("2 weeks", "1970-01-19T00:00", ("1970-01-19T00:00", "1970-02-02T00:00")),
        ("2 weeks", "1970-01-04T00:00", ("1969-12-22T00:00", "1970-01-05T00:00")),
        ("2 years", "2027-06-01T00:00", ("2026-01-01T00:00", "2028-01-01T00:00")),
        ("hour", "2026-11-22T15:04", ("2026-11-22T15:00", "2026-11-22T16:00")),
        ("5 minutes", "2026-11-22T15:04", ("2026-11-22T15:00", "2026-11-22T15:05")),
        ("7 hours", "1970-01-01T08:00", ("1970-01-01T07:00", "1970-01-01T14:00")),
    ],
)
@pytest.mark.parametrize("tz", ["UTC", "Asia/Kolkata"])
def test_periods_without_an_anchor_start_where_the_calendars_do(
    period: str, now: str, window: tuple[str, str], tz: str
) -> None:
    """Weeks on Mondays, everything at local midnight; several of a unit are counted from 1970."""
    assert local_window(period, now, tz) == window


@pytest.mark.parametrize(
    ("tz", "noon", "hours", "first"),
    [
        ("Europe/Berlin", "2027-03-28T12:00", 23, "2027-03-28T00:00"),
        ("Europe/Berlin", "2027-10-31T12:00", 25, "2027-10-31T00:00"),
        ("America/Santiago", "2026-09-06T12:00", 23, "2026-09-06T01:00"),
        ("Africa/Cairo", "2026-04-24T12:00", 23, "2026-04-24T01:00"),
        ("Australia/Lord_Howe", "2026-10-04T12:00", 23.5, "2026-10-04T00:00"),
        ("America/Havana", "2026-11-01T12:00", 25, "2026-11-01T00:00"),
    ],
)
def test_a_day_lasts_as_long_as_it_does(tz: str, noon: str, hours: float, first: str) -> None:
    """Clocks change, and some of them at midnight, which then does not exist or comes twice."""
    start, end = window(Period(1, "day"), None, at(noon, tz), zone(tz))
    assert (end - start) / HOUR == hours
    assert local(start, tz) == first


def test_a_date_that_did_not_exist_has_no_period() -> None:
    """Samoa went from the 29th to the 31st of December 2011."""
    tz = "Pacific/Apia"
    assert local_window("day", "2011-12-29T23:59", tz) == ("2011-12-29T00:00", "2011-12-31T00:00")
    assert local_window("day", "2011-12-31T00:00", tz) == ("2011-12-31T00:00", "2012-01-01T00:00")
    start, end = window(Period(1, "day"), None, at("2011-12-29T23:59", tz), zone(tz))
    assert end - start == 24 * HOUR


def test_parts_of_a_day_are_elapsed_time_cut_off_at_its_end() -> None:
    """Six hours on a day of 23 leave a last period of five."""
    tz = zone("Europe/Berlin")
    start, end = window(Period(1, "day"), None, at("2027-03-28T12:00", "Europe/Berlin"), tz)
    lengths, moment = [], start
    while moment < end:
        first, last = window(Period(6, "hour"), None, moment, tz)
        assert first == moment
        lengths.append((last - first) // HOUR)
        moment = last
    assert lengths == [6, 6, 6, 5]


@pytest.mark.parametrize(
    ("period", "now", "window"),
    [
        ("month", "2026-02-10T00:00", ("2026-01-31T09:00", "2026-02-28T09:00")),
        ("month", "2026-03-01T00:00", ("2026-02-28T09:00", "2026-03-31T09:00")),
        ("month", "2026-05-31T08:59", ("2026-04-30T09:00", "2026-05-31T09:00")),
        ("month", "2026-05-31T09:00", ("2026-05-31T09:00", "2026-06-30T09:00")),
        ("month", "2025-11-30T09:00", ("2025-11-30T09:00", "2025-12-31T09:00")),
        ("2 weeks", "2026-02-14T09:00", ("2026-02-14T09:00", "2026-02-28T09:00")),
        ("day", "2026-07-01T08:00", ("2026-06-30T09:00", "2026-07-01T09:00")),
        ("year", "2027-01-31T08:00", ("2026-01-31T09:00", "2027-01-31T09:00")),
    ],
)
def test_with_an_anchor_periods_are_counted_from_it_on_the_local_calendar(
    period: str, now: str, window: tuple[str, str]
) -> None:
    """The 31st is clipped in short months, comes back, and 9 o'clock stays 9 o'clock in summer."""
    tz = "Europe/Berlin"
    naive = dt.datetime(2026, 1, 31, 9)  # noqa: DTZ001
    assert local_window(period, now, tz, naive) == window
    assert local_window(period, now, tz, dt.datetime(2026, 1, 31, 8, tzinfo=dt.UTC)) == window


def test_a_leap_days_year_comes_back_to_it() -> None:
    anchor = dt.date(2024, 2, 29)
    assert local_window("year", "2026-06-01T00:00", anchor=anchor) == ("2026-02-28T00:00", "2027-02-28T00:00")
    assert local_window("year", "2028-06-01T00:00", anchor=anchor) == ("2028-02-29T00:00", "2029-02-28T00:00")


def test_hours_with_an_anchor_are_elapsed_time_from_it() -> None:
    """Also across a change of the clock."""
    anchor = dt.datetime(2027, 3, 28, 0, 30)  # noqa: DTZ001
    assert local_window("hour", "2027-03-28T03:40", "Europe/Berlin", anchor) == ("2027-03-28T03:30", "2027-03-28T04:30")
    assert local_window("5h", "2027-03-27T23:00", "Europe/Berlin", anchor) == ("2027-03-27T19:30", "2027-03-28T00:30")


def test_an_anchor_that_the_clock_skips_is_taken_after_the_jump() -> None:
    anchor = dt.datetime(2027, 3, 28, 2, 30)  # noqa: DTZ001
    assert local_window("day", "2027-03-28T12:00", "Europe/Berlin", anchor) == ("2027-03-28T03:30", "2027-03-29T02:30")


moments = st.integers(at("1975-01-01T00:00"), at("2060-01-01T00:00"))
periods = st.builds(
    Period, st.integers(1, 90), st.sampled_from(["second", "minute", "hour", "day", "week", "month", "year"])
)
anchors = st.none() | st.datetimes(dt.datetime(1975, 1, 1), dt.datetime(2050, 1, 1))  # noqa: DTZ001


def changes_of(name: str) -> list[int]:
    """Find the moments at which a zone's clock is changed, to the second."""
    tz = zone(name)

    def offset(moment: int) -> dt.timedelta | None:
        return dt.datetime.fromtimestamp(moment, tz).utcoffset()

    found = []
    step = 7 * 24 * HOUR
    for week in range(at("1990-01-01T00:00"), at("2038-01-01T00:00"), step):
        low, high = week, week + step
        if offset(low) != offset(high):
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
            found.append(high)
    return found


@given(periods, anchors, moments, st.sampled_from(ZONES))
@example(Period(1, "day"), None, at("2011-12-30T10:00"), "Pacific/Apia")
@example(Period(1, "day"), None, at("2010-11-07T02:40"), "America/Goose_Bay")
def test_windows_hold_their_moment_and_tile_time(
    period: Period, anchor: dt.datetime | None, moment: int, name: str
) -> None:
    """No gap and no overlap, in any zone: nothing is counted twice, or never."""
    tz = zone(name)
    start, end = window(period, anchor, moment, tz)
    assert start <= moment < end
    assert window(period, anchor, start, tz) == (start, end) == window(period, anchor, end - 1, tz)
    assert window(period, anchor, end, tz)[0] == end
    assert window(period, anchor, start - 1, tz)[1] == start


@pytest.mark.parametrize("name", ZONES)
def test_windows_tile_time_around_every_change_of_the_clock(name: str) -> None:
    """Random moments rarely meet the hours that are hard."""
    tz, chance = zone(name), random.Random(name)
    changes = changes_of(name)
    assert changes or name in ("UTC", "Asia/Kolkata")
    for change in changes:
        moment = change + chance.randrange(-2 * HOUR, 2 * HOUR)
        wall = dt.datetime.fromtimestamp(change + chance.randrange(-HOUR, HOUR), tz).replace(tzinfo=None)
        for period in (Period(1, "day"), Period(1, "hour"), Period(6, "hour"), Period(1, "month")):
            for anchor in (None, wall, wall.date()):
                start, end = window(period, anchor, moment, tz)
                assert start <= moment < end
                assert window(period, anchor, start, tz) == (start, end)
                assert window(period, anchor, end, tz)[0] == end


@given(periods, moments, st.sampled_from(ZONES), st.floats(0, 1, exclude_max=True))
def test_a_fraction_of_a_second_changes_nothing(period: Period, moment: int, name: str, fraction: float) -> None:
    assume(moment + fraction < moment + 1)
    assert window(period, None, moment + fraction, zone(name)) == window(period, None, moment, zone(name))
