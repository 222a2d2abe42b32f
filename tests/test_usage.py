"""What a call used: counts that make sense, and errors for those that do not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import msgspec
import pytest

from budgeted.pricing.usage import COUNTS, Usage
from budgeted.validation import shown

EVERYTHING = Usage(
    input_tokens=1000,
    output_tokens=500,
    cached_input_tokens=400,
    cache_write_tokens=300,
    cache_write_1h_tokens=100,
    reasoning_tokens=200,
    input_audio_tokens=50,
    cached_audio_tokens=20,
    output_audio_tokens=30,
    input_image_tokens=60,
    output_image_tokens=40,
    web_searches=2,
    service_tier="flex",
)


def test_input_and_output_make_the_total() -> None:
    """Subsets are in the totals already."""
    assert Usage(1200, 300, cached_input_tokens=1000, reasoning_tokens=300).total_tokens == 1500
    assert Usage().total_tokens == 0


def test_usage_is_a_value() -> None:
    assert pickle.loads(pickle.dumps(EVERYTHING)) == EVERYTHING == copy.deepcopy(EVERYTHING)  # noqa: S301
    assert len({EVERYTHING, copy.copy(EVERYTHING)}) == 1
    assert msgspec.json.decode(msgspec.json.encode(EVERYTHING), type=Usage) == EVERYTHING
    with pytest.raises(AttributeError):
        EVERYTHING.input_tokens = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("count", [True, False, 5.0, "5", None], ids=shown)
def test_a_count_that_is_no_int_is_a_type_error(name: str, count: object) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be an int, got {count!r}$"):
        Usage(**{"input_tokens": 10, "output_tokens": 10, name: count})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("count", [-1, 10**12 + 1, 10**5000], ids=shown)
def test_a_negative_or_absurd_count_is_a_value_error(name: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be from 0 to 1,000,000,000,000, got "):
        Usage(**{"input_tokens": 10, "output_tokens": 10, name: count})


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        ({"cached_input_tokens": 11}, "input_tokens"),
        ({"cached_input_tokens": 6, "cache_write_tokens": 5}, "input_tokens"),
        ({"input_audio_tokens": 6, "input_image_tokens": 5}, "input_tokens"),
        ({"reasoning_tokens": 11}, "output_tokens"),
        ({"output_audio_tokens": 6, "output_image_tokens": 5}, "output_tokens"),
        ({"cache_write_tokens": 5, "cache_write_1h_tokens": 6}, "cache_write_tokens"),
        ({"input_audio_tokens": 5, "cached_audio_tokens": 5}, "cached_input_tokens"),
        ({"cached_input_tokens": 5, "cached_audio_tokens": 5}, "input_audio_tokens"),
    ],
)
def test_parts_larger_than_their_total_are_refused(usage: dict[str, int], total: str) -> None:
    """Otherwise some tokens would be priced at less than nothing."""
    with pytest.raises(ValueError, match=f"^{total}=.* must include its parts"):
        Usage(**{"input_tokens": 10, "output_tokens": 10, **usage})


def test_a_service_tier_is_text() -> None:
    assert Usage(1, 1, service_tier="priority").service_tier == "priority"
    with pytest.raises(TypeError, match="service_tier must be a str or None, got 1"):
        Usage(1, 1, service_tier=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fees", ["maps", 5, ["maps"], (("maps",),), (("maps", True),), ((1, 1),), {"maps": 1}], ids=repr
)
def test_fees_that_are_no_pairs_are_told_as_they_are(fees: Any) -> None:
    with pytest.raises(TypeError, match=r"fees must be pairs such as .*, got "):
        Usage(1, 1, fees=fees)


@pytest.mark.parametrize("unread", ["abc", 5, [1], (1,)], ids=repr)
def test_unread_numbers_are_names(unread: Any) -> None:
    with pytest.raises(TypeError, match=r"unread must be names such as .*, got "):
        Usage(1, 1, unread=unread)
