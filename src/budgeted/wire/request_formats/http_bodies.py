"""The bodies of requests over HTTP, JSON or forms: as fields, and written again with others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from budgeted.wire.request_formats.http_request import FILES, Body

MOST_BYTES: Final = 2**28
"""Of a body that is read. A longer one is none that is understood."""

_BOUNDARY: Final = re.compile(r'boundary="?([^";,]+)')
_FIELD: Final = re.compile(rb'(?i)content-disposition:[^\r\n]*[; ]name="([^"\r\n]*)"(;[^\r\n]*filename)?')

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
    if content_type.startswith("multipart/"):
        return _of_form(content, content_type)
    if content_type.startswith("application/x-www-form-urlencoded"):
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
    if content_type.startswith("application/x-www-form-urlencoded"):
        return urlencode(body).encode()
    if not content_type.startswith("multipart/"):
        try:
            return encode(body)
        except UnicodeEncodeError:  # lone surrogates, which JSON has room for, and UTF-8 has not
            return json.dumps(body).encode()
    pieces, end = [], 0
    for name, start, stop, is_file in _parts(content, content_type):
        value = body.get(name)
        if not is_file and isinstance(value, (str, int)) and str(value).encode() != content[start:stop]:
            pieces += [content[end:start], str(value).encode()]
            end = stop
    return b"".join((*pieces, content[end:]))


def _of_python(content: bytes) -> object:
    """What servers in Python read beyond the standard: NaN, other encodings than UTF-8, a byte order mark."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _of_form(content: bytes, content_type: str) -> Body | None:
    fields: dict[str, object] = {}
    files: list[object] = []
    for name, start, end, is_file in _parts(content, content_type):
        if is_file:
            files.append(content[start:end])
        else:
            fields[name] = content[start:end].decode("utf-8", "replace")
    if files:
        fields[FILES] = files
    return fields or None


def _parts(content: bytes, content_type: str) -> Iterator[tuple[str, int, int, bool]]:
    """The parts of a form: its name, where its content begins and ends, and whether it is a file."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return
    line = b"--" + boundary[1].strip().encode("utf-8", "replace")
    begin = content.find(line)
    while begin >= 0:
        begin += len(line)
        head = content.find(b"\r\n\r\n", begin)
        end = content.find(b"\r\n" + line, begin)
        if head < 0 or end < 0:
            return
        field = _FIELD.search(content, begin, head)
        if field is not None and head + 4 <= end:
            yield field[1].decode("utf-8", "replace"), head + 4, end, field[2] is not None
        begin = content.find(line, end)
