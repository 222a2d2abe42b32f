"""Limits: what is read, what is refused, and what makes two of them the same."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from budgeted.limits.limit import Limit
from budgeted.limits.periods import NEVER, Period, zone
from budgeted.money import MAX_USD, NANO


@pytest.mark.parametrize(
    ("text", "meaning", "id"),
    [
        ("$10/day", "$10/day", "usd/day"),
        ("$5", "$5", "usd"),
        ("5", "$5", "usd"),
        ("5 USD", "$5", "usd"),
        ("USD 5/day", "$5/day", "usd/day"),
        ("5 dollars a day", "$5/day", "usd/day"),
        ("5$/day", "$5/day", "usd/day"),
        ("$0", "$0", "usd"),
        (".5", "$0.50", "usd"),
        ("$0.25/hr", "$0.25/hour", "usd/hour"),
        ("1e-3/day", "$0.001/day", "usd/day"),
        ("$1,000/day", "$1,000/day", "usd/day"),
        ("$1_000.50/day", "$1,000.50/day", "usd/day"),
        ("$1k/month", "$1,000/month", "usd/month"),
        ("$20/30 days", "$20/30 days", "usd/30day"),
        ("$20/30d", "$20/30 days", "usd/30day"),
        ("$20/1mo", "$20/month", "usd/month"),
        ("$20/24h", "$20/day", "usd/day"),
        ("$20 / 1 day", "$20/day", "usd/day"),
        ("  $ 20  PER  Week ", "$20/week", "usd/week"),
        ("$20 every 2 weeks", "$20/2 weeks", "usd/2week"),
        ("$10 daily", "$10/day", "usd/day"),
        ("$10 Yearly", "$10/year", "usd/year"),
        ("100000 tokens/hour", "100,000 tokens/hour", "tokens/hour"),
        ("100k tokens/hour", "100,000 tokens/hour", "tokens/hour"),
        ("1M tokens/day", "1,000,000 tokens/day", "tokens/day"),
        ("1.5m tokens", "1,500,000 tokens", "tokens"),
        ("1 token/s", "1 token/second", "tokens/second"),
        ("60 calls/minute", "60 calls/minute", "calls/minute"),
        ("60 requests per min", "60 calls/minute", "calls/minute"),
        ("60 reqs/60s", "60 calls/minute", "calls/minute"),
        ("60 model calls/min", "60 calls/minute", "calls/minute"),
        ("20k input tokens/minute", "20,000 input tokens/minute", "input-tokens/minute"),
        ("20k prompt tokens / min", "20,000 input tokens/minute", "input-tokens/minute"),
        ("5m output tokens/day", "5,000,000 output tokens/day", "output-tokens/day"),
        ("1 completion_token per hour", "1 output token/hour", "output-tokens/hour"),
        ("9 total tokens", "9 tokens", "tokens"),
        ("20 tool calls", "20 tool calls", "tool-calls"),
        ("1 TOOL-CALL a day on web_search", "1 tool call/day on web_search", "tool-calls/day~web_search"),
        ("60 rpm", "60 calls/minute", "calls/minute"),
        ("60RPM on gpt-5*", "60 calls/minute on gpt-5*", "calls/minute~gpt-5*"),
        ("100k tpm", "100,000 tokens/minute", "tokens/minute"),
        ("10 itpm", "10 input tokens/minute", "input-tokens/minute"),
        ("10k OTPM", "10,000 output tokens/minute", "output-tokens/minute"),
        ("5 rps", "5 calls/second", "calls/second"),
        ("10k rpd", "10,000 calls/day", "calls/day"),
        ("$5/rolling 24 hours", "$5/rolling day", "usd/rolling-day"),
        ("$5 per rolling day", "$5/rolling day", "usd/rolling-day"),
        ("$5 per rolling 24-hour window", "$5/rolling day", "usd/rolling-day"),
        ("$5 rolling 24h", "$5/rolling day", "usd/rolling-day"),
        ("$5/24h rolling", "$5/rolling day", "usd/rolling-day"),
        ("$5 per 24 rolling hours", "$5/rolling day", "usd/rolling-day"),
        ("20 toolcalls", "20 tool calls", "tool-calls"),
        ("$5 daily rolling", "$5/rolling day", "usd/rolling-day"),
        ("$5/sliding 36h on gpt-5*", "$5/rolling 36 hours on gpt-5*", "usd/rolling-36hour~gpt-5*"),
        ("100k tokens/rolling 1 hour", "100,000 tokens/rolling hour", "tokens/rolling-hour"),
        ("$5/rolling week", "$5/rolling week", "usd/rolling-week"),
        ("$5/rolling 7 days", "$5/rolling week", "usd/rolling-week"),
        ("$5/rolling 30 days", "$5/rolling 30 days", "usd/rolling-30day"),
        ("1 call", "1 call", "calls"),
        ("$1/day on gpt-5*", "$1/day on gpt-5*", "usd/day~gpt-5*"),
        ("$1 ON Claude-*", "$1 on claude-*", "usd~claude-*"),
        ("$1/day on *", "$1/day", "usd/day"),
        ("$1/day on openai/gpt-5:free", "$1/day on openai/gpt-5:free", "usd/day~openai/gpt-5:free"),
        ("$1/day on command-r+", "$1/day on command-r+", "usd/day~command-r+"),
        ("$1/day on modèle*", "$1/day on modèle*", "usd/day~mod%C3%A8le*"),
        ("$1/month from 2026-01-15", "$1/month from 2026-01-15", "usd/month@2026-01-15"),
        ("$1/month from 2026-01-15T00:00", "$1/month from 2026-01-15", "usd/month@2026-01-15"),
        ("$1/month from 2026-01-15 09:00", "$1/month from 2026-01-15T09:00", "usd/month@2026-01-15T09:00"),
        ("$1/month from 2026-01-15T09:00z", "$1/month from 2026-01-15T09:00Z", "usd/month@2026-01-15T09:00Z"),
        ("$1/day from 2026-01-15T09:00:01.5+02:00", "$1/day from 2026-01-15T07:00:01Z", "usd/day@2026-01-15T07:00:01Z"),
        ("$1/day from 2026-01-15 on a@b", "$1/day on a@b from 2026-01-15", "usd/day@2026-01-15~a@b"),
    ],
)
def test_a_limit_is_read_in_the_spellings_people_bring(text: str, meaning: str, id: str) -> None:
    """Its text and its id say the same in one way, and both can be read again."""
    limit = Limit(text)
    assert (str(limit), limit.id) == (meaning, id)
    assert Limit(meaning) == limit == Limit.from_id(limit.id, limit.amount)
    assert limit.id.isascii()
    assert repr(limit) == f"Limit({meaning!r})"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("60/min", "60 calls/minute"),
        ("60 per second", "60 calls/second"),
        ("1k/30s", "1,000 calls/30 seconds"),
        ("60/rolling minute on gpt-5*", "60 calls/rolling minute on gpt-5*"),
        ("60/59 minutes", "60 calls/59 minutes"),
        ("$60/min", "$60/minute"),
        ("60 USD/min", "$60/minute"),
        ("60/60 minutes", "$60/hour"),
        ("60/90 minutes", "$60/90 minutes"),
        ("60/hr", "$60/hour"),
        ("60/day", "$60/day"),
        ("60 weekly", "$60/week"),
        ("60", "$60"),
    ],
)
def test_a_bare_number_per_less_than_an_hour_counts_calls_and_any_other_is_usd(text: str, meaning: str) -> None:
    assert str(Limit(text)) == meaning


@pytest.mark.parametrize(
    ("text", "meaning", "keep"),
    [
        ("$100/month, keep up to $50", "$100/month, keep up to $50", 50 * NANO),
        ("$100 monthly keep $50", "$100/month, keep up to $50", 50 * NANO),
        ("$100/month, keeping at most 50", "$100/month, keep up to $50", 50 * NANO),
        ("$100/month , KEEP UP TO 150 dollars", "$100/month, keep up to $150", 150 * NANO),
        ("$1/day, keep $0.25 on gpt-5*", "$1/day on gpt-5*, keep up to $0.25", NANO // 4),
        (
            "$1/day on gpt-5*, keep $2 from 2026-01-15",
            "$1/day on gpt-5* from 2026-01-15, keep up to $2",
            2 * NANO,
        ),
        ("100k tokens/day, keep 50k", "100,000 tokens/day, keep up to 50,000 tokens", 50_000),
        ("20 tool calls/day, keep up to 1 tool call", "20 tool calls/day, keep up to 1 tool call", 1),
        ("60/min, keep 10", "60 calls/minute, keep up to 10 calls", 10),
        ("60 rpm keep 10 requests", "60 calls/minute, keep up to 10 calls", 10),
        ("$100/month, keep $0", "$100/month", 0),
    ],
)
def test_a_limit_says_how_much_of_what_is_left_it_keeps(text: str, meaning: str, keep: int) -> None:
    limit = Limit(text)
    assert (str(limit), limit.keep) == (meaning, keep)
    assert Limit(meaning) == limit == Limit.from_id(limit.id, limit.amount, limit.keep)


def test_what_a_limit_keeps_is_like_its_amount_no_part_of_which_limit_it_is() -> None:
    limit = Limit("$100/month, keep up to $50")
    assert limit.id == Limit("$100/month").id
    assert limit != Limit("$100/month")
    assert str(limit.with_amount(NANO)) == "$1/month, keep up to $50"
    assert Limit("$100, keep $50", "monthly") == limit
    with pytest.raises(ValueError, match="two amounts for one limit"):
        Limit.parse_all("$100/month, keep up to $50 + $100/month")
    with pytest.raises(ValueError, match="an amount of nano-USD must be from 0 to"):
        Limit.from_id("usd/month", 5, -1)


def test_a_rolling_limit_is_another_one_than_that_of_the_calendar() -> None:
    """It neither begins nor ends, and looks back so many seconds."""
    rolling = Limit("$5/rolling day")
    assert rolling.id != Limit("$5/day").id
    assert rolling == Limit(5, "rolling 24 hours") == Limit(5, Period(1, "day", rolling=True))
    assert rolling.window(1_800_000_000, dt.UTC) == (0, NEVER)
    assert rolling.period is not None
    assert rolling.period.seconds == 86_400


def test_amounts_are_in_the_limits_own_unit() -> None:
    """USD are counted in nano-USD, and cut off below one."""
    assert (Limit("$0.10").unit, Limit("$0.10").amount) == ("usd", NANO // 10)
    assert (Limit("7 tokens").unit, Limit("7 tokens").amount) == ("tokens", 7)
    assert (Limit("7 calls/day").unit, Limit("7 calls/day").period) == ("calls", Period(1, "day"))
    assert Limit("$0.0000000019").amount == 1 == Limit(Decimal("0.0000000019")).amount


@pytest.mark.parametrize("value", [5, 5.0, Decimal(5), Fraction(5), "5", Limit("$5")], ids=repr)
def test_a_bare_number_is_usd(value: float) -> None:
    assert Limit(value) == Limit("$5")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ""),
        ("ten", ""),
        ("unlimited", ""),
        ("€5/day", ""),
        ("$1,5/day", ""),
        ("$5/day for gpt-5", ""),
        ("$5/day on gpt 5", ""),
        ("$5/day from 15.1.2026", ""),
        ("$5 $6", ""),
        ("5 / 6", ""),
        ("-5", "its amount is negative"),
        ("$-5/day", "its amount is negative"),
        ("$2000000000", "it may be at most 1,000,000,000 USD"),
        ("1e400", "it may be at most 1,000,000,000 USD"),
        ("1e300 tokens", "it may be at most 1,000,000,000,000,000 tokens"),
        ("1.5 tokens", "tokens come whole"),
        ("$5 tokens/day", "an amount is in USD or in something else, not both"),
        ("$5 calls", 'write "$5" or "5 calls"'),
        ("$5k tool calls", 'write "$5k" or "5k tool calls"'),
        ("$60 rpm", 'write "$60" or "60 calls"'),
        ("0 rpm per hour", 'rpm is per minute already: leave the other period out, or write "0 calls/hour"'),
        ("10k TPM daily", 'TPM is per minute already: leave the other period out, or write "10k tokens/day"'),
        ("1.5 calls/min", "calls come whole. write"),
        ("0.5/min", 'calls come whole, and a bare number per minute or second is one: write "$0.5" for USD'),
        ("1e16 tool calls", "it may be at most 1,000,000,000,000,000 tool calls"),
        ("$5/rolling month", 'months and years do not roll, as they differ in length: write "rolling 30 days"'),
        ("$5/rolling 2 months", 'write "rolling 60 days"'),
        ("$5/rolling year", 'write "rolling 365 days"'),
        ("$5/rolling", "no period 'rolling': say how long it is, as in \"rolling 24 hours\""),
        ("$5 rolling", "no period 'rolling': say how long it is, as in \"rolling 24 hours\""),
        ("rolling $5", 'a rolling period is a length of time, as in "$5/rolling 24 hours"'),
        ("$5/rolling 0 days", "at least 1 day"),
        ("$5/rolling day from 2026-01-15", 'write "$5/rolling day", or "$5/day from 2026-01-15"'),
        ("$5/rolling day, keep $1", 'write "$5/rolling day", or "$100/month, keep up to $50"'),
        ("$5, keep $1", 'what is left is kept when a period ends: write "$100/month, keep up to $50"'),
        ("$5/month, keep up to 50 calls", 'what it keeps is in its own unit: write "keep up to $50"'),
        ("50 calls/month, keep $5", 'what it keeps is in its own unit: write "keep up to 5 calls"'),
        ("50 calls/month, keep 5k tokens", 'what it keeps is in its own unit: write "keep up to 5k calls"'),
        ("60 rpm, keep 60 rpm", 'what it keeps is in its own unit: write "keep up to 60 calls"'),
        ("$5/month, keep -1", "its amount is negative"),
        ("$5/month, keep 0.5m", "millions of USD are written out"),
        ("5 calls/month, keep 0.5 calls", "calls come whole"),
        ("$5/month, keep half", 'as in "$100/month, keep up to $50"'),
        ("$5/month with rollover", 'as in "$100/month, keep up to $50"'),
        ("$5m/day", "millions of USD are written out"),
        ("$5/m", "no period 'm'"),
        ("$5/fortnight", "no period 'fortnight'"),
        ("$5/0 days", "at least 1 day"),
        ("$5/9999 years", "at most 1000 years"),
        ("$5 from 2026-01-15", "counting from a date needs a period"),
        ("$5/day from 2026-02-30", "periods are counted from a date such as"),
        ("$5/day on a on b", "'on' and 'from' may come once each"),
        ("$5/day, keep $1, keep $2", "'keep' may come once"),
        ("$5/day on a,b", "one pattern without spaces or commas"),
        ("$5/day + ten", "' ten' is none"),
        ("$5 +", ""),
        ("$5" + " " * 1000, "more than 1000 characters"),
    ],
)
def test_what_is_no_limit_is_a_value_error_that_quotes_it_and_shows_right_ones(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="cannot read the limit") as caught:
        Limit.parse_all(text)
    message = str(caught.value)
    assert repr(text)[:60] in message
    assert complaint in message
    assert 'write one such as "$10/day"' in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("$10/dya", "$10/day"),
        ("10 dolars/wek", "$10/week"),
        ("100 tokns/huor on gpt-5*", "100 tokens/hour on gpt-5*"),
        ("$10 dialy + 5 cals/mintue", "$10/day + 5 calls/minute"),
        ("20k inptu tokens/minute", "20,000 input tokens/minute"),
        ("5 tol calls", "5 tool calls"),
        ("$5/roling day", "$5/rolling day"),
        ("$100/month, kep up to $50", "$100/month, keep up to $50"),
        ("60 rpm, 100k tpm", "60 calls/minute + 100,000 tokens/minute"),
        ("$5/day and 20 tool calls", "$5/day + 20 tool calls"),
        ("$9/month, keep up to $2, 60 rpm", "$9/month, keep up to $2 + 60 calls/minute"),
    ],
)
def test_a_misspelt_limit_is_recognised(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match="did you mean") as caught:
        Limit.parse_all(text)
    assert f"did you mean {meant!r}?" in str(caught.value)


@pytest.mark.parametrize("value", [None, True, b"$5", {"daily": 5}, len], ids=repr)
def test_what_cannot_be_a_limit_is_a_type_error(value: object) -> None:
    with pytest.raises(TypeError, match="a limit must be a number of USD"):
        Limit.parse_all(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a limit must be a number of USD"):
        Limit(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), MAX_USD + 1, Decimal("sNaN")], ids=repr)
def test_a_number_out_of_range_is_a_value_error(value: float) -> None:
    with pytest.raises(ValueError, match=r"^a limit must"):
        Limit(value)


def test_the_parts_of_a_limit_may_be_given_apart() -> None:
    """As LiteLLM's methods have them: an amount, a duration, and when it was created."""
    assert Limit(20, "monthly") == Limit("$20/month") == Limit("$20", Period(1, "month"))
    assert Limit("$1", "30d", models="GPT-5*") == Limit("$1/30 days on gpt-5*")
    assert Limit("$1/day", anchor=dt.date(2026, 1, 15)) == Limit("$1/day from 2026-01-15")
    assert Limit("$1/day", anchor=dt.datetime(2026, 1, 15, 9)) == Limit("$1/day from 2026-01-15T09:00")  # noqa: DTZ001
    assert Limit(1, "day", anchor="2026-01-15T09:00Z") == Limit("$1/day from 2026-01-15T09:00Z")
    assert Limit(1, "day", anchor=1_768_467_600.7) == Limit("$1/day from 2026-01-15T09:00Z")


def test_a_part_given_twice_or_out_of_place_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"names its period itself, .*leave out period="):
        Limit("$5/day", "monthly")
    with pytest.raises(ValueError, match="names its models itself"):
        Limit("$5 on gpt-5", models="claude-*")
    with pytest.raises(ValueError, match="for ever is not counted from a date"):
        Limit(5, anchor="2026-01-15")
    with pytest.raises(ValueError, match="a rolling day ends now, so it is counted from no date"):
        Limit(5, "rolling day", anchor="2026-01-15")
    with pytest.raises(ValueError, match="no period 'sometimes'"):
        Limit(5, "sometimes")
    with pytest.raises(ValueError, match=r"one limit is wanted here, and .* is 2: Limit.parse_all"):
        Limit("$5/day + $20/month")


@pytest.mark.parametrize("models", ["", "a b", "a,b", "a\n", "\ud800", "x" * 257, "a+5"], ids=ascii)
def test_a_model_pattern_that_could_not_be_written_is_a_value_error(models: str) -> None:
    with pytest.raises(ValueError, match="models"):
        Limit(5, models=models)
    with pytest.raises(TypeError, match="models must be a str"):
        Limit(5, models=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "anchor",
    ["", "tomorrow", "0001-01-01", "3000-01-01", 1_768_467_600_000, float("nan"), float("inf"), 1e18, -(10**30)],
    ids=repr,
)
def test_an_anchor_that_is_no_time_is_a_value_error(anchor: str | float) -> None:
    with pytest.raises(ValueError, match="periods are counted from a date such as"):
        Limit(5, "day", anchor=anchor)
    with pytest.raises(TypeError, match="periods are counted from a date"):
        Limit(5, "day", anchor=True)


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        ("$5/day", ["$5/day"]),
        ("$5/day+$100/month", ["$5/day", "$100/month"]),
        ("$5/day + 60 calls/minute + 1k tokens", ["$5/day", "60 calls/minute", "1,000 tokens"]),
        ("$5/day on gpt-5*+$3", ["$5/day on gpt-5*", "$3"]),
        ("$5/day on command-r+ + 3", ["$5/day on command-r+", "$3"]),
        ("$5/day from 2026-01-15T09:00+0200+$3", ["$5/day from 2026-01-15T07:00Z", "$3"]),
        ("$0.50 + 20 calls+60 rpm", ["$0.50", "20 calls", "60 calls/minute"]),
        ("$9/day, keep $2 + $5/rolling day+5/s", ["$9/day, keep up to $2", "$5/rolling day", "5 calls/second"]),
        (5, ["$5"]),
        (Limit(5), ["$5"]),
        ((), []),
        (["$5/day + $6/week", 7, Limit("8 calls")], ["$5/day", "$6/week", "$7", "8 calls"]),
    ],
    ids=repr,
)
def test_several_limits_are_read_from_text_or_any_iterable(value: object, limits: list[str]) -> None:
    assert [str(limit) for limit in Limit.parse_all(value)] == limits  # type: ignore[arg-type]


def test_two_amounts_for_one_limit_are_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"two amounts for one limit: '\$5/day' and '\$6/day'"):
        Limit.parse_all("$5/day + $6 daily")
    with pytest.raises(ValueError, match="one limit is stated twice: '60 calls/minute' and '60 calls/minute'"):
        Limit.parse_all("60 rpm + 60/min")


def test_a_limit_is_a_value() -> None:
    limit = Limit("$5/day on gpt-5* from 2026-01-15T09:00Z")
    for same in (copy.copy(limit), copy.deepcopy(limit), pickle.loads(pickle.dumps(limit)), Limit(limit)):  # noqa: S301
        assert same == limit
        assert hash(same) == hash(limit)
        assert same.id == limit.id
    with pytest.raises(AttributeError):
        limit.amount = 6  # type: ignore[misc]


def test_a_new_amount_makes_another_value_of_the_same_limit() -> None:
    """The id is what spend is kept under."""
    limit = Limit("$5/day")
    raised = limit.with_amount(6 * NANO)
    assert raised == Limit("$6/day") != limit
    assert raised.id == limit.id
    for other in ("5/day", "5 tokens/day", "$5/week", "$5/day on gpt-5", "$5/day from 2026-01-15"):
        assert (Limit(other).id == limit.id) == (other == "5/day")


@pytest.mark.parametrize("amount", [-1, MAX_USD * NANO + 1])
def test_an_amount_out_of_range_is_a_value_error(amount: int) -> None:
    with pytest.raises(ValueError, match="an amount of nano-USD must be from 0 to"):
        Limit(5).with_amount(amount)
    with pytest.raises(ValueError, match="an amount of nano-USD must be from 0 to"):
        Limit.from_id("usd", amount)
    with pytest.raises(TypeError, match=r"an amount of nano-USD must be an int, got 5.0"):
        Limit(5).with_amount(5.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "id",
    ["", "eur", "usd/", "usd/1day", "usd/days", "usd/24hour", "usd@2026-01-15", "usd/day@x", "usd/day~GPT", "usd~"],
)
def test_an_id_that_no_limit_has_is_a_value_error(id: str) -> None:
    with pytest.raises(ValueError, match=r"id|period|date"):
        Limit.from_id(id, 5)


def test_models_are_matched_in_any_case() -> None:
    assert Limit("$5").matches("anything")
    assert Limit("$5 on GPT-5*").matches("gpt-5-mini")
    assert Limit("$5 on gpt-5*").matches("GPT-5")
    assert not Limit("$5 on gpt-5").matches("gpt-5-mini")
    assert Limit("$5 on */gpt-[45]").matches("openai/gpt-4")


def test_a_limit_knows_its_window() -> None:
    """The anchor's offset is kept: 09:00Z is ten o'clock in Berlin."""
    limit = Limit("$5/month from 2026-01-15T09:00Z")
    start, end = limit.window(dt.datetime(2026, 7, 15, 9, tzinfo=dt.UTC).timestamp(), zone("Europe/Berlin"))
    assert dt.datetime.fromtimestamp(start, dt.UTC) == dt.datetime(2026, 7, 15, 8, tzinfo=dt.UTC)
    assert dt.datetime.fromtimestamp(end, dt.UTC) == dt.datetime(2026, 8, 15, 8, tzinfo=dt.UTC)
    assert Limit("$5").window(0, dt.UTC) == (0, NEVER)


periods = st.builds(
    Period, st.integers(1, 500), st.sampled_from(["second", "minute", "hour", "day", "week", "month", "year"])
)
rolling = st.builds(
    Period,
    st.integers(1, 500),
    st.sampled_from(["second", "minute", "hour", "day", "week"]),
    rolling=st.just(True),
)
models = st.none() | st.from_regex(
    r"[\w*?\[\]!/:.@~%{}é-][\w*?\[\]!/:.@~%{}é+-]{0,9}[\w*?\[\]+-]", fullmatch=True
).filter(lambda text: text.isprintable() and not any(f"+{digit}" in text for digit in "$0123456789"))
anchors = (
    st.none()
    | st.dates(dt.date(1900, 1, 1), dt.date(2999, 12, 31))
    | st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2999, 12, 31))  # noqa: DTZ001
    | st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2999, 12, 31), timezones=st.just(dt.UTC))  # noqa: DTZ001
)


@st.composite
def any_limits(draw: st.DrawFn) -> Limit:
    """Every limit that there can be, of its parts."""
    period = draw(st.none() | periods | rolling)
    by_calendar = period is not None and not period.rolling
    amounts = st.integers(0, 10**15)
    whole = Limit.from_id(
        draw(st.sampled_from(["usd", "tokens", "calls", "input-tokens", "output-tokens", "tool-calls"])), draw(amounts)
    )
    made = Limit(whole, period, models=draw(models), anchor=draw(anchors) if by_calendar else None)
    return Limit.from_id(made.id, made.amount, draw(st.just(0) | amounts)) if by_calendar else made


limits = any_limits()


@given(limits)
def test_every_limit_can_be_written_and_read_again(limit: Limit) -> None:
    assert Limit(str(limit)) == limit
    assert str(Limit(str(limit))) == str(limit)
    assert Limit.from_id(limit.id, limit.amount, limit.keep) == limit
    assert limit.id.isascii()


@given(st.lists(limits, max_size=4, unique_by=lambda limit: limit.id))
def test_several_limits_can_be_written_and_read_again(several: list[Limit]) -> None:
    if several:
        assert Limit.parse_all(" + ".join(map(str, several))) == tuple(several)


WORDS = (
    "$5 5 60 20k 1m / + , , -3 keep up to rolling day 24 hours month rpm tpm input tool output tokens calls on a* from"
)


@given(
    st.text(max_size=40)
    | st.text("$5 /daytokensr+-.,on from2026", max_size=40)
    | st.lists(st.sampled_from(WORDS.split()), max_size=9).map(" ".join)
    | st.tuples(limits, st.lists(st.sampled_from(WORDS.split()), max_size=3)).map(
        lambda pair: " ".join([str(pair[0]), *pair[1]])
    )
)
def test_any_text_is_a_limit_or_a_value_error(text: str) -> None:
    """Never another exception, and never something that reads back differently."""
    try:
        several = Limit.parse_all(text)
    except ValueError:
        return
    assert Limit.parse_all(" + ".join(map(str, several))) == several
