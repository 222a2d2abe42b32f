"""Receivers can tell what was signed with their secret, and just now, from all else."""

from __future__ import annotations

import hashlib
import hmac
import math
from typing import Any

import pytest

from budgeted.integrations.webhooks import verify
from budgeted.telemetry.webhooks.signatures import signature

BODY, SECRET, NOW = b'{"kind":"alert"}', "s3cret", 1_795_564_800
HEADER = signature(BODY, SECRET, NOW)


def test_the_signature_is_what_the_documentation_says() -> None:
    tag = hmac.new(SECRET.encode(), b"%d." % NOW + BODY, hashlib.sha256).hexdigest()
    assert f"t={NOW},v1={tag}" == HEADER


@pytest.mark.parametrize("body", [BODY, BODY.decode(), bytearray(BODY), memoryview(BODY)], ids=range(4))
def test_what_was_signed_just_now_is_taken(body: Any) -> None:
    assert verify(body, HEADER, SECRET, now=NOW + 300)
    assert verify(body, HEADER, SECRET, now=NOW - 300)
    assert verify(body, HEADER, ["the next one", SECRET], now=NOW)
    assert verify(body, HEADER, SECRET, math.inf)


@pytest.mark.parametrize(
    ("body", "header", "secret", "now"),
    [
        (BODY, HEADER, SECRET, NOW + 301),
        (BODY, HEADER, SECRET, NOW - 301),
        (BODY, HEADER, SECRET, math.nan),
        (BODY, HEADER, "another", NOW),
        (BODY + b" ", HEADER, SECRET, NOW),
        (BODY, HEADER.replace(f"t={NOW}", f"t={NOW + 1}"), SECRET, NOW),
        (BODY, HEADER.replace("v1=", "v0="), SECRET, NOW),
        (BODY, HEADER + f",t={NOW}", SECRET, NOW),
        (BODY, HEADER[:-1], SECRET, NOW),
        (BODY, HEADER.replace("t=", "t=-"), SECRET, NOW),
        (BODY, f"t={NOW}", SECRET, NOW),
        (BODY, f"t={'9' * 5000},v1=00", SECRET, NOW),
        (BODY, f"t={NOW},v1=\udcff€", SECRET, NOW),
        (BODY, "t=²,v1=00", SECRET, NOW),
        (BODY, "", SECRET, NOW),
        (BODY, ",,=,", SECRET, NOW),
        (BODY, None, SECRET, NOW),
    ],
    ids=range(17),
)
def test_all_else_is_not(body: bytes, header: str | None, secret: str, now: float) -> None:
    assert not verify(body, header, secret, now=now)


@pytest.mark.parametrize("secret", ["", [], [""], ["right", ""], None, 5], ids=range(6))
def test_nothing_can_be_checked_without_a_secret(secret: Any) -> None:
    with pytest.raises(ValueError, match="secret must be text"):
        verify(BODY, HEADER, secret)


def test_a_body_that_was_read_already_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="body must be the bytes that came"):
        verify({"kind": "alert"}, HEADER, SECRET)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tolerance"):
        verify(BODY, HEADER, SECRET, -1)
