"""Collects this folder where the packages are that it calls, which no other environment has."""

from __future__ import annotations

import importlib.util
import os

if importlib.util.find_spec("voyageai") is None:
    collect_ignore_glob = ["*.py"]
else:
    # Hugging Face's library would refuse to send, even to loopback.
    os.environ["HF_HUB_OFFLINE"] = "0"
