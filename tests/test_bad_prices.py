"""Prices that make no sense: refused at the door, by a message that quotes them."""

from __future__ import annotations

import datetime as dt
import math
import sys
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from budgeted import register_price
from budgeted.pricing import price_registry

pytestmark = pytest.mark.usefixtures("nothing_registered")

AMOUNTS = """
    input output cached_input cache_write cache_write_1h audio_input cached_audio_input audio_output image_input
    image_output per_call per_search per_second
""".split()


@pytest.mark.parametrize("wrong", [-0.5, math.nan, math.inf, "-1", "NaN", "cheap", 10**12])
@pytest.mark.parametrize("name", AMOUNTS)
def test_an_absurd_price_is_refused(name: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=name):
        register_price("mine", **({"input": 1, "output": 1} | {name: wrong}))
    assert price_registry.find("mine") is None


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"input": True}, TypeError, "input must be a number of USD, such as 5, 0.25 or .*, got True"),
        ({"input": None}, TypeError, "input must be a number"),
        ({"model": ""}, ValueError, "model must have 1 to 512 characters, got ''"),
        ({"model": 5}, TypeError, "model must be a str, got 5"),
        ({"provider": 5}, TypeError, "provider must be a str, got 5"),
        ({"base_url": " "}, ValueError, "base_url must have 1 to 2048 characters"),
        ({"max_output_tokens": 0}, ValueError, "max_output_tokens must be a number from 1 to .*, got 0"),
        (
            {"max_output_tokens": True},
            ValueError,
            "max_output_tokens must be a number from 1 to .*, got True",
        ),
        (
            {"max_output_tokens": 10**30},
            ValueError,
            "max_output_tokens must be a number from 1 to 1,000,000,000, got 1",
        ),
    ],
)
def test_a_mistake_is_quoted(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    given: dict[str, Any] = {"model": "mine", "input": 1, "output": 1} | arguments
    with pytest.raises(error, match=text):
        register_price(**given)


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize("wrong", [True, [], {}, b"1", object()])
def test_what_is_no_amount_is_no_price(name: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a number"):
        register_price("mine", **({"input": 1, "output": 1} | {name: wrong}))
    assert price_registry.find("mine") is None


def test_a_price_that_says_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match=r"register_price\('mine'\) says no price: give input=\.\.\. and output=\.\.\."):
        register_price("mine")
    with pytest.raises(TypeError, match="says no price"):
        register_price("mine", valid_from="2026-12-01", provider="openai", base_url="http://localhost")


@pytest.mark.parametrize(
    "wrong", [0, -1, -0.5, "-2", math.nan, "NaN", math.inf, "Infinity", 1001, 10**30, "1e400", 1e-300, "a tenth", ""]
)
def test_an_absurd_multiplier_is_refused(wrong: Any) -> None:
    message = r"must be a number above 0 and up to 1,000, such as 1\.1 for a tenth more, got "
    for arguments in (
        {"multiplier": wrong},
        {"tiers": {"priority": wrong}},
        {"tiers": {"flex": {"multiplier": wrong}}},
    ):
        with pytest.raises(ValueError, match=message) as refused:
            register_price("mine", input=1, output=1, **arguments)
        assert repr(wrong) in str(refused.value)
    assert price_registry.find("mine") is None


@pytest.mark.parametrize("wrong", [True, [1.1], {}, b"1.1", object()])
def test_what_is_no_number_multiplies_nothing(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"multiplier must be a number such as 1\.1, got "):
        register_price("mine", input=1, output=1, multiplier=wrong)


@pytest.mark.parametrize("right", ["1.10", Decimal("1.1"), Fraction(11, 10), 1.1])
def test_a_multiplier_may_be_any_number(right: Any) -> None:
    price = register_price("mine", input=1, output=1, multiplier=right)
    assert price is not None
    assert price.bound(1000, 0) == (1_100_000, 1_100_000)


@pytest.mark.parametrize(
    ("tiers", "error", "text"),
    [
        ({"turbo": 2}, ValueError, "no provider has a service tier 'turbo'; there are annotated, batch, fast, flex, "),
        ({"priorty": 2}, ValueError, "no provider has a service tier 'priorty'"),
        ({"default": 2}, ValueError, "the tier 'default' is the standard one, whose rates input and output say"),
        ({"ON_DEMAND": 2}, ValueError, "the tier 'ON_DEMAND' is the standard one"),
        ({"priority": 1.8, "PRIORITY": 2}, ValueError, "tiers must name each tier once, got 'PRIORITY' again"),
        ({5: 2}, TypeError, "a service tier must be a str, got 5"),
        ({}, ValueError, "tiers must name a tier, such as .*, got {}"),
        ({"flex": {}}, ValueError, r"tiers\['flex'\] must say what the tier costs, such as 1.8, got {}"),
        ({"flex": {"inptu": 1}}, ValueError, r"tiers\['flex'\] knows input, output, .*, got 'inptu'"),
        ({"flex": {"input": -1}}, ValueError, r"input of tiers\['flex'\] must not be negative, got -1"),
        ({"flex": None}, TypeError, r"tiers\['flex'\] must be a number such as 1.1, got None"),
        (["priority"], TypeError, "tiers must be a mapping such as .*, got \\['priority'\\]"),
        (1.8, TypeError, "tiers must be a mapping such as .*, got 1.8"),
    ],
)
def test_a_tier_that_makes_no_sense_is_refused(tiers: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        register_price("mine", input=1, output=1, tiers=tiers)
    assert price_registry.find("mine") is None


@pytest.mark.parametrize(
    ("steps", "error", "text"),
    [
        ({0: {"input": 1}}, ValueError, "a step must be from 1 to 1,000,000,000 input tokens, got 0"),
        ({-5: {"input": 1}}, ValueError, "a step must be from 1 to .* input tokens, got -5"),
        ({10**12: {"input": 1}}, ValueError, "a step must be from 1 to .* input tokens, got 1000000000000"),
        ({"200k": {"input": 1}}, TypeError, "a step must be a number of input tokens, as in .*, got '200k'"),
        ({True: {"input": 1}}, TypeError, "a step must be a number of input tokens, as in .*, got True"),
        ({2e5: {"input": 1}}, TypeError, "a step must be a number of input tokens, as in .*, got 200000.0"),
        ({200_000: 2.5}, TypeError, r"steps\[200000\] must be rates, as in .*, got 2.5"),
        ({200_000: {}}, ValueError, r"steps\[200000\] must say a rate, as in .*, got {}"),
        ({200_000: {"input": "NaN"}}, ValueError, r"input of steps\[200000\] must be finite, got 'NaN'"),
        ({200_000: {"in": 1}}, ValueError, r"steps\[200000\] knows input, .*, got 'in'"),
        ({}, ValueError, "steps must have a step, such as .*, got {}"),
        ([200_000], TypeError, r"steps must be a mapping such as .*, got \[200000\]"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused(steps: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        register_price("mine", input=1, output=1, steps=steps)
    assert price_registry.find("mine") is None


@pytest.mark.parametrize("wrong", ["", "tomorrow", "2026-13-01", "2026-02-30", "01.12.2026", "2026-12-01T25:00"])
def test_what_is_no_date_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r'valid_from must be a date such as "2026-12-01".*, got ') as refused:
        register_price("mine", input=1, output=1, valid_from=wrong)
    assert repr(wrong) in str(refused.value)


@pytest.mark.parametrize("wrong", [1_800_000_000, 1.5, True, b"2026-12-01", [2026, 12, 1], dt.time(12)])
def test_what_is_neither_a_date_nor_text_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match='valid_from must be a date such as "2026-12-01", got '):
        register_price("mine", input=1, output=1, valid_from=wrong)


def test_a_price_by_the_second_is_for_sound() -> None:
    with pytest.raises(
        ValueError, match=r"per_second is for sound .* 'gpt-4o-mini' is listed without sound, got 0\.01; "
    ):
        register_price("gpt-4o-mini", per_second=0.01)
    with pytest.raises(ValueError, match=r"listed without sound, got '0\.01'"):
        register_price("claude-sonnet-4-5", input=1, output=1, per_second="0.01", provider="anthropic")
    for model in ("whisper-1", "gpt-audio", "my-own", "gpt-4o-audio-preview", "gpt-4o*", "gemini-2.5-flash"):
        register_price(model, per_second=0.01)


def test_numbers_of_thousands_of_digits_are_refused_and_not_written_out() -> None:
    long = 10 ** (sys.get_int_max_str_digits() + 1)
    for arguments in ({"input": long}, {"multiplier": long}, {"steps": {long: {"input": 1}}}):
        with pytest.raises(ValueError, match=r"input|multiplier|step") as refused:
            register_price("mine", **({"output": 1} | arguments))
        assert len(str(refused.value)) < 300
