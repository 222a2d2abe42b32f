"""The Lua scripts of the verbs, put together from the files in ``lua/``."""

from __future__ import annotations

import functools
import hashlib
import re
from importlib import resources

_PLAIN = ("common", "keys")
_GUARDED = (*_PLAIN, "same_state")
_BOOKING = (*_PLAIN, "limit_terms", "reservations", "waiting_line", "booking")
_ONCE = (*_GUARDED, "same_answer_to_repeated_request")
_CHANGING = (*_ONCE, "limit_terms", "later_periods", "reservations", "waiting_line", "changed_accounts")
_PARTS: dict[str, tuple[str, ...]] = {
    "open_ledger": _PLAIN,
    "find_standing": _PLAIN,
    "find_older_accounts": _PLAIN,
    "hold": ("common", "limit_terms", "later_periods", "reservations", "waiting_line", "routing", "admit"),
    "settle": _BOOKING,
    "release": _BOOKING,
    "post": (*_BOOKING, "posted_charges", "later_periods", "routing"),
    "do_again": (*_BOOKING, "posted_charges", "later_periods"),
    "sweep": (*_GUARDED, "limit_terms", "reservations", "waiting_line", "booking"),
    "correct": (*_ONCE, "limit_terms", "reservations", "waiting_line", "booking"),
    "set_limits": _CHANGING,
    "amend": _CHANGING,
    "reset": (*_ONCE, "limit_terms", "waiting_line"),
    "delete": (*_ONCE, "waiting_line"),
    "restore": (*_GUARDED, "waiting_line"),
    "leave_waiting_line": (*_GUARDED, "waiting_line"),
    "together": (*_BOOKING, "posted_charges", "later_periods", "routing", "admit"),
}
"""The files of ``lua/parts/`` that a verb's own file comes behind."""

COMBINED = ("hold", "settle", "release", "post")
"""The verbs that :data:`TOGETHER` does: those of calls."""

TOGETHER = "together"
"""The script that does the verbs of several calls."""

_CONSTANTS = re.compile(r"^local ([A-Z][A-Z_, ]*) = (\d[\d, ]*?)(?: *--.*)?$", re.MULTILINE)


def _file(name: str) -> str:
    return (resources.files("budgeted.ledger.redis") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


@functools.cache
def script(verb: str) -> tuple[str, bytes]:
    """A verb's script and its SHA-1, which is what Redis knows it by."""
    pieces = [_file(f"parts/{part}") for part in _PARTS.get(verb, _GUARDED)]
    if verb == TOGETHER:
        pieces.append("local verbs = {}")
        pieces += (f"function verbs.{one}(arg)\n{_file(one)}\nend" for one in COMBINED)
    text = "\n".join((*pieces, _file(verb)))
    # Numbers instead of their names: each function that names a constant would have to capture it in every call.
    values: dict[str, str] = {}
    for names, numbers in _CONSTANTS.findall(text):
        values.update(zip(names.split(", "), numbers.split(", "), strict=True))
    text = re.sub(r"\b[A-Z][A-Z_]*\b", lambda word: values.get(word[0], word[0]), _CONSTANTS.sub("", text))
    return text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode()
