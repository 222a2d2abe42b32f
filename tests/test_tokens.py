"""Token counts: exact when they can be had at once, and never downloaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiktoken
from encodings_on_disk import KEPT, O200K, needs_encodings
from hypothesis import given
from hypothesis import strategies as st

from budgeted.pricing import tiktoken_counting


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing loaded yet, and an empty directory as tiktoken's cache."""
    assert tiktoken_counting.wait_loaded(30)  # or else what another test had loaded would come in here
    for name in ("_loaded", "_encodings"):
        monkeypatch.setattr(tiktoken_counting, name, {})
    monkeypatch.setattr(tiktoken_counting, "_absent", set())
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def o200k() -> tiktoken.Encoding:
    """The encoding as tiktoken itself loads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(KEPT))
        return tiktoken.get_encoding("o200k_base")


@needs_encodings
def test_the_first_count_loads_in_the_background_and_the_next_is_exact(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(KEPT))
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    assert tiktoken_counting.count("hello world", "gpt-5") is None
    assert tiktoken_counting.wait_loaded(60)
    assert tiktoken_counting.count("hello world", "gpt-5") == 2


@needs_encodings
@given(text=st.text(st.characters(exclude_categories=())))
def test_a_count_is_what_tiktoken_counts_and_never_above_the_bytes(text: str, o200k: tiktoken.Encoding) -> None:
    counted = tiktoken_counting.count(text, "gpt-4o")
    assert counted == len(o200k.encode_ordinary(text))
    assert counted <= len(text.encode("utf-8", "surrogatepass"))


@needs_encodings
@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("<|endoftext|>", 4, 13),
        ("\ud800", 1, 3),
        (" " * 1_000_000, 900_000, 1_000_000),
        ("一" * 100_000, 200_000, 300_000),
        ("a" * 100_000, 1, 100_000),
    ],
)
def test_texts_that_break_tokenisers_are_counted(text: str, least: int, most: int, o200k: tiktoken.Encoding) -> None:
    assert o200k.name == "o200k_base"
    counted = tiktoken_counting.count(text, "o3-mini")
    assert counted is not None
    assert least <= counted <= most


@needs_encodings
@pytest.mark.parametrize(
    "model",
    ["gpt-5", "gpt-5.1-codex", "gpt-4.1-mini", "o1", "o4-mini", "openai/gpt-4o", "ft:gpt-4.1-mini-2025-04-14:acme::x"],
)
def test_openai_models_are_known_by_any_of_their_names(model: str, o200k: tiktoken.Encoding) -> None:
    assert tiktoken_counting.count("hello world", model) == len(o200k.encode_ordinary("hello world"))


@pytest.mark.parametrize(
    "model", ["", "claude-sonnet-4-5", "gemini-2.5-pro", "gpt-99-unheard-of", "o9", "x" * 10_000, "\0"]
)
def test_other_models_have_no_count(model: str) -> None:
    assert tiktoken_counting.count("hello", model) is None


def test_a_damaged_file_is_neither_used_nor_removed(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    (fresh / O200K).write_bytes(b"damaged")
    assert tiktoken_counting.count("hello", "gpt-5") is None
    assert tiktoken_counting.wait_loaded(60)
    assert tiktoken_counting.count("hello", "gpt-5") is None
    assert [file.read_bytes() for file in fresh.iterdir()] == [b"damaged"]


WITHOUT_A_FILE = """
import os, sys
sys.addaudithook(lambda event, args: event.startswith("socket.") and os._exit(3))
from budgeted.pricing import tiktoken_counting as tokens
assert "tiktoken" not in sys.modules
for model in ("gpt-5", "gpt-4", "gpt-3.5-turbo-instruct", "text-davinci-003", "gpt2"):
    for _ in range(3):
        assert tokens.count("hello", model) is None
        assert tokens.wait_loaded(60)
"""


@pytest.mark.parametrize("cache", ["empty", ""])
def test_nothing_is_ever_downloaded(cache: str, tmp_path: Path) -> None:
    environment = os.environ | {"TIKTOKEN_CACHE_DIR": cache and str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", WITHOUT_A_FILE], env=environment, check=False, timeout=120)
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == []
