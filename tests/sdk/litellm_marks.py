"""The marks of tests that call LiteLLM."""

from __future__ import annotations

import pytest

MARKS = [
    pytest.mark.sdk,
    # LiteLLM warns of its own serialisation, and leaves its clients open.
    pytest.mark.filterwarnings(
        "ignore:Pydantic serializer warnings",
        "ignore:unclosed",
        "ignore:coroutine 'Logging:RuntimeWarning",
        "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
        "ignore:.*:DeprecationWarning",
    ),
]
