"""Collects this folder where the frameworks are, which not every environment has."""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("litestar") is None:
    collect_ignore_glob = ["*.py"]
