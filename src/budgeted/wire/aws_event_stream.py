"""AWS's event stream framing: what Amazon Bedrock sends where others send server-sent events.

A frame is the length of all of it, the length of its headers and a CRC-32 of these two, then headers, a payload, and a
CRC-32 of everything before (https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html). Whoever
reads the stream checks the sums; here only the payloads are looked for.
"""

from __future__ import annotations

import struct

MEDIA_TYPE = "application/vnd.amazon.eventstream"

_LENGTHS = struct.Struct(">II")
_PRELUDE = 12
_LEAST = 16
_MOST = 2**25
"""AWS allows 16 MiB; what is longer is no frame."""


def payloads(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the payloads of the whole frames in ``data``, and the bytes that are left over.

    What is no frame ends it: nothing is left over, and nothing after it can be understood.
    """
    found: list[bytes] = []
    start, size = 0, len(data)
    while size - start >= _PRELUDE:
        length, headers = _LENGTHS.unpack_from(data, start)
        if not _LEAST + headers <= length <= _MOST:
            return found, b""
        if length > size - start:
            break
        found.append(data[start + _PRELUDE + headers : start + length - 4])
        start += length
    return found, data[start:]
