"""Where this machine has the files of tiktoken's encodings, which nothing here downloads."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

import pytest

O200K = hashlib.sha1(
    b"https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken", usedforsecurity=False
).hexdigest()


def kept_encodings() -> Path | None:
    """Where this machine has tiktoken's files: as it is told, or in LiteLLM's wheel, which brings them along."""
    told = os.environ.get("TIKTOKEN_CACHE_DIR")
    litellm = importlib.util.find_spec("litellm")
    brought = Path(litellm.origin or "").parent / "litellm_core_utils" / "tokenizers" if litellm else None
    places = [Path(told) if told else None, brought]
    return next((place for place in places if place is not None and (place / O200K).is_file()), None)


KEPT = kept_encodings()
needs_encodings = pytest.mark.skipif(KEPT is None, reason="no tiktoken files here; LiteLLM's wheel has them")
