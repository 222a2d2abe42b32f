"""Collects this folder where the packages are that it calls, which no other environment has; and who is called."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Iterator

import pytest

from budgeted.testing import SimulatedProvider

if importlib.util.find_spec("voyageai") is None:
    collect_ignore_glob = ["*.py"]
else:
    # Hugging Face's library would refuse to send, even to loopback.
    os.environ["HF_HUB_OFFLINE"] = "0"


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    """A provider of the test's own."""
    with SimulatedProvider() as simulated:
        yield simulated
    gc.collect()  # what a library leaves open is told of now, where it is ignored
