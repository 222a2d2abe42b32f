"""The Lua scripts of the verbs, put together from the files in ``lua/``."""

from __future__ import annotations

import functools
import hashlib
import re
from importlib import resources

_PLAIN = ("common", "keys")
_GUARDED = (*_PLAIN, "same_state")
_BOOKING = (*_PLAIN, "limit_terms", "reservations", "booking")
_ONCE = (*_GUARDED, "same_answer_to_repeated_request")
_CHANGING = (*_ONCE, "limit_terms", "later_periods", "reservations", "changed_accounts")
_PARTS: dict[str, tuple[str, ...]] = {
    "open_ledger": _PLAIN,
    "find_standing": _PLAIN,
    "find_older_accounts": _PLAIN,
    "hold": ("common", "limit_terms", "later_periods", "reservations", "routing", "admit"),
    "settle": _BOOKING,
    "release": _BOOKING,
    "post": (*_BOOKING, "posted_charges", "later_periods", "routing"),
    "do_again": (*_BOOKING, "posted_charges", "later_periods"),
    "sweep": (*_GUARDED, "limit_terms", "reservations", "booking"),
    "correct": (*_ONCE, "limit_terms", "reservations", "booking"),
    "set_limits": _CHANGING,
    "amend": _CHANGING,
    "reset": (*_ONCE, "limit_terms"),
    "delete": _ONCE,
}
"""The files of ``lua/parts/`` that a verb's own file comes behind."""

_CONSTANTS = re.compile(r"^local ([A-Z][A-Z_, ]*) = (\d[\d, ]*?)(?: *--.*)?$", re.MULTILINE)


@functools.cache
def script(verb: str) -> tuple[str, bytes]:
    """A verb's script and its SHA-1, which is what Redis knows it by."""
    folder = resources.files("budgeted.ledger.redis") / "lua"
    files = *(f"parts/{part}.lua" for part in _PARTS.get(verb, _GUARDED)), f"{verb}.lua"
    text = "\n".join((folder / file).read_text(encoding="utf-8") for file in files)
    # Numbers instead of their names: each function that names a constant would have to capture it in every call.
    values: dict[str, str] = {}
    for names, numbers in _CONSTANTS.findall(text):
        values.update(zip(names.split(", "), numbers.split(", "), strict=True))
    text = re.sub(r"\b[A-Z][A-Z_]*\b", lambda word: values.get(word[0], word[0]), _CONSTANTS.sub("", text))
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode()
