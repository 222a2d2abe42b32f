"""Malice: hostile names, texts, answers and requests, secrets that are looked for, and a look at the code itself.

Names go to every surface that takes one. Texts, answers and streams are made to be slow or large. Requests are broken
versions of what the server describes, and those that Schemathesis makes of its description. Bandit reads the code.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import subprocess
import sys
from contextlib import closing

from proof import ROOT
from proof.malice import bombs, described_requests, http_requests, names, secrets
from proof.trial import Case, Trial

SHORT, LONG = 16.0, 280.0

REQUESTS = 7_000
"""Requests of the long form, whatever time they take."""


def run(trial: Trial) -> None:
    """Try each kind for its share of the time, and in the long form so many requests as are promised."""
    logging.getLogger("budgeted").addHandler(logging.NullHandler())
    trial.each_case("secrets", secrets.PLANTED, secrets.attempt)
    trial.random_cases("names", names.attempt, 0.15)
    trial.random_cases("bombs", bombs.attempt, 0.15)
    with closing(http_requests.Target(trial.directory / "served")) as target:
        if described_requests.missing():
            trial.left_out("schemathesis is not installed: pip install --group proof")
        elif trial.wants("described"):
            described = described_requests.operations(target)
            trial.random_cases("described", lambda case: described_requests.attempt(case, target, described), 0.2)
        trial.each_case("requests", range(REQUESTS), lambda case, _: http_requests.attempt(case, target), most=150)
    if importlib.util.find_spec("bandit") is None:
        trial.left_out("bandit is not installed: pip install --group proof")
    else:
        trial.each_case("code", ["src"], _read_code)


def _read_code(case: Case, folder: str) -> None:
    """Bandit finds nothing of medium severity or more."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--recursive", folder, "-ll", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    problems = [
        f"{one['filename']}:{one['line_number']} {one['test_id']} {one['issue_text']}" for one in found["results"]
    ]
    if problems or found["errors"]:
        text = f"bandit: {problems or found['errors']}"
        raise AssertionError(text)
