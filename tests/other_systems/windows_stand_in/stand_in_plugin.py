"""``-p stand_in_plugin``: the tests of a run, and what they start, do without what Windows lacks."""

from __future__ import annotations

import os

import pytest
import stand_in


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests() -> None:
    """After pytest's own plugins, and before anything of the package."""
    del os.environ["STAND_IN_LATER"]
    stand_in.take_away()
