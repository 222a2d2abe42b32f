"""The bodies of requests over HTTP, JSON or forms: as fields, and written again with others."""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from budgeted.wire.request_formats.http_request import FILES, Body

MOST_BYTES: Final = 2**28
"""Of a body that is read. A longer one is none that is understood."""

_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^";,]+)"|([^";,\s]+))', re.IGNORECASE)
_DISPOSITION: Final = re.compile(
    rb'(?i)content-disposition: *form-data; *name=(?:"([^"\r\n\\]*)"|([!#$&+.^_`|~0-9a-z\[\]-]+))'
    rb"( *; *filename\b[^\r\n]*)?"
)
_OTHER_HEADER: Final = re.compile(rb"(?i)(?!content-(?:disposition|transfer-encoding))[a-z0-9-]+:[^\r\n]*")
_PLAIN: Final = re.compile(rb"(?i)content-transfer-encoding: *(?:binary|7bit|8bit)")

_EOL: Final = b"\r\n"

_SEVERAL: Final = ("timestamp_granularities", "include", "known_speaker_names", "known_speaker_references")
"""Fields of forms that may be there more than once, beside those whose names end in ``[]``."""

JSON, FORM, QUERY = "application/json", "multipart/form-data", "application/x-www-form-urlencoded"

_LOOKED_AT: Final = 4_096
_BEFORE_JSON: Final = b" \t\r\n\0\xef\xbb\xbf\xff\xfe"
"""Blanks and byte order marks."""

encode = msgspec.json.Encoder().encode


def decoded(content: bytes, content_type: str = "") -> Body | None:
    """The fields of a body; None if it is none that is understood.

    Args:
        content: the body, not compressed.
        content_type: as its header says; "" if there is none.

    Returns:
        Its JSON object, or the fields of a form, whose files are under ``FILES``.
    """
    if len(content) > MOST_BYTES:
        return None
    kind = kind_of(content, content_type)
    if kind == FORM:
        return _of_form(content, content_type)
    if kind == QUERY:
        return dict(parse_qsl(content.decode("utf-8", "replace")))
    try:
        found = msgspec.json.decode(content)
    except ValueError:
        found = _of_python(content)
    except RecursionError:
        return None
    return found if isinstance(found, dict) else None


def encoded(content: bytes, content_type: str, body: Body) -> bytes:
    """A body with other fields.

    Args:
        content: as it was.
        content_type: as its header says.
        body: all its fields. Of a form, only those that it has are written: the model, say, but no cap.
    """
    kind = kind_of(content, content_type)
    if kind == QUERY:
        return urlencode(body).encode()
    if kind == JSON:
        return _json(body)
    pieces, end = [], 0
    for name, start, stop, is_file in _parts(content, content_type) or ():
        value = body.get(name)
        if not is_file and isinstance(value, (str, int)) and str(value).encode() != content[start:stop]:
            pieces += [content[end:start], str(value).encode()]
            end = stop
    return b"".join((*pieces, content[end:]))


def kind_of(content: bytes, content_type: str) -> str:
    """As what a body is read: ``JSON``, or a form of one of two kinds.

    What begins as JSON does is no form, whatever is said of it: curl says so of all that it is not told about.

    Args:
        content: the body, not compressed.
        content_type: as its header says.
    """
    kind = content_type.strip().lower()
    if content[:_LOOKED_AT].lstrip(_BEFORE_JSON).startswith(b"{"):
        return JSON
    if kind.startswith("multipart/"):
        return FORM
    return QUERY if kind.startswith("application/x-www-form-urlencoded") else JSON


def _json(body: Body) -> bytes:
    try:
        return encode(body)
    except (UnicodeEncodeError, OverflowError):  # half a character, which JSON can write and UTF-8 cannot
        return json.dumps(body).encode()


def _of_python(content: bytes) -> object:
    """What servers in Python read beyond the standard: NaN, other encodings than UTF-8, a byte order mark."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _of_form(content: bytes, content_type: str) -> Body | None:
    fields: dict[str, object] = {}
    files: list[object] = []
    for name, start, end, is_file in _parts(content, content_type) or ():
        if is_file:
            files.append(content[start:end])
            continue
        value = content[start:end].decode("utf-8", "replace")
        if fields.setdefault(name, value) != value and not (name.endswith("[]") or name in _SEVERAL):
            return None  # one of the two decides, and nobody knows which
    if files:
        fields[FILES] = files
    return fields or None


def _parts(content: bytes, content_type: str) -> list[tuple[str, int, int, bool]] | None:
    """The parts of a form: its name, where its content begins and ends, and whether it is a file.

    None for a form that two readers may take for two things: with another part where one of them sees a line's end.
    """
    boundaries = {quoted or plain for quoted, plain in _BOUNDARY.findall(content_type)}
    if len(boundaries) != 1:
        return None
    line = b"--" + boundaries.pop().encode("utf-8", "replace")
    found: list[tuple[str, int, int, bool]] = []
    at = len(line) if content.startswith(line) else -1
    while at > 0 and content[at : at + 2] == _EOL:
        head, end = content.find(_EOL * 2, at), content.find(_EOL + line, at)
        field = _field(content[at + 2 : head]) if 0 <= head <= end - 4 else None
        if field is None:
            return None
        found.append((field[0], head + 4, end, field[1]))
        at = end + 2 + len(line)
    # Where a line that is ended otherwise has the boundary, some see another part.
    whole = at > 0 and content[at:].rstrip(_EOL) == b"--" and content.count(line) == len(found) + 1
    return found if whole else None


def _field(head: bytes) -> tuple[str, bool] | None:
    """Whose name a part has, and whether it is a file, by its headers; None if any of them is another than usual."""
    lines = head.split(_EOL)
    dispositions = [match for one in lines if (match := _DISPOSITION.fullmatch(one))]
    others = [one for one in lines if _OTHER_HEADER.fullmatch(one) or _PLAIN.fullmatch(one)]
    if len(dispositions) != 1 or len(others) != len(lines) - 1:
        return None
    quoted, plain, file = dispositions[0].groups()
    return (plain if quoted is None else quoted).decode("utf-8", "replace"), file is not None
