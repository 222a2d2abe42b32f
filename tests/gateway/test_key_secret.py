"""The secret that keys are signed with, where nobody has stated one: made once, for its user alone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from budgeted.gateway import key_secret


def test_without_a_secret_in_the_environment_one_is_made_for_its_user_alone(budgeted_home: Path) -> None:
    assert key_secret.find({}) is None
    secret, made = key_secret.find_or_make({})
    assert made == budgeted_home / "gateway.secret"
    assert len(secret) >= 64
    assert made.stat().st_mode & 0o777 == 0o600
    assert key_secret.find_or_make({}) == (secret, None)
    assert os.listdir(budgeted_home) == ["gateway.secret"]


def test_of_those_who_make_a_secret_at_once_all_have_the_same(budgeted_home: Path) -> None:
    ready, found = threading.Barrier(8), []

    def make() -> None:
        ready.wait()
        found.append(key_secret.find_or_make({}))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len({secret for secret, _ in found}) == 1
    assert sum(made is not None for _, made in found) == 1
    assert os.listdir(budgeted_home) == ["gateway.secret"]


def test_a_secret_that_others_may_read_is_refused_with_what_to_do(budgeted_home: Path) -> None:
    secret, made = key_secret.find_or_make({})
    assert made is not None
    for mode in (0o640, 0o604, 0o620, 0o660):
        made.chmod(mode)
        with pytest.raises(key_secret.SecretError, match="chmod 600") as caught:
            key_secret.find({})
        assert secret.decode() not in str(caught.value)


def test_a_secret_that_is_a_link_or_not_whole_is_refused(budgeted_home: Path, tmp_path: Path) -> None:
    budgeted_home.mkdir()
    place = budgeted_home / "gateway.secret"
    for content in (b"", b"\n", b"short\n"):
        place.write_bytes(content)
        place.chmod(0o600)
        with pytest.raises(key_secret.SecretError, match="no whole secret"):
            key_secret.find_or_make({})
    place.unlink()
    (tmp_path / "elsewhere").write_text("x" * 64)
    (tmp_path / "elsewhere").chmod(0o600)
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(key_secret.SecretError, match="should be a file"):
        key_secret.find_or_make({})
    place.unlink()
    os.mkfifo(place, 0o600)  # which nobody writes to
    with pytest.raises(key_secret.SecretError, match="should be a file"):
        key_secret.find_or_make({})


def test_a_blank_secret_is_none() -> None:
    assert key_secret.find({"BUDGETED_SECRET": " \n"}) is None
    assert key_secret.find({"BUDGETED_SECRET": " a secret \n"}) == b"a secret"
