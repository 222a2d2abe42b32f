"""How long a recording is at most, as far as the request that sends it tells: some models are billed by the time."""

from __future__ import annotations

import binascii
import io
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

LEAST_BYTES_PER_SECOND: Final = 750
"""Of a recording that is not WAV. Opus, which packs speech tightest, begins at 6 kbit/s (https://opus-codec.org).

An estimate: what is silence throughout can be packed tighter still.
"""

_HEAD: Final = 64
_FORMAT: Final = struct.Struct("<4sI4s4sIHHIIH")
_PCM: Final = (1, 3, 0xFFFE)
"""WAV's numbers for samples that are not packed: whole, floating, and either with more in its header."""


@runtime_checkable
class _File(Protocol):
    def read(self, size: int, /) -> object: ...

    def seek(self, offset: int, whence: int, /) -> int: ...

    def tell(self) -> int: ...


def most_milliseconds(file: object) -> int | None:
    """The longest that a recording can be, in milliseconds; None if its size cannot be seen.

    Args:
        file: as SDKs take them: bytes, an open file, a path, or a tuple of a name and one of these.
    """
    if isinstance(file, tuple) and len(file) > 1:
        file = file[1]
    if isinstance(file, (bytes, bytearray)):
        return _longest(bytes(file[:_HEAD]), len(file))
    try:
        if isinstance(file, os.PathLike):
            with Path(file).open("rb") as opened:
                return _longest(opened.read(_HEAD), os.fstat(opened.fileno()).st_size)
        if isinstance(file, _File):
            here = file.tell()
            head = file.read(_HEAD)
            size = file.seek(0, io.SEEK_END) - here
            file.seek(here, io.SEEK_SET)
            return _longest(head, size) if isinstance(head, bytes) else None
    except (OSError, ValueError):
        return None
    return None


def most_milliseconds_in(prompt: object) -> int | None:
    """The same for all the recordings in a prompt, in Base64 as OpenAI and Mistral have them; None if one is elsewhere.

    Args:
        prompt: a request's messages.
    """
    found = 0
    pending: list[object] = [prompt]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            sound = item.get("input_audio")
            if sound is not None:
                length = _of_base64(sound.get("data") if isinstance(sound, Mapping) else sound)
                if length is None:
                    return None
                found += length
            pending += item.values()
        elif isinstance(item, (list, tuple)):
            pending += item
    return found


def _of_base64(text: object) -> int | None:
    if not isinstance(text, str) or text.startswith(("http://", "https://")):
        return None
    data = text.partition(",")[2] if text.startswith("data:") else text
    try:
        head = binascii.a2b_base64(data[: _HEAD // 3 * 4])
    except ValueError:
        head = b""
    return _longest(head, len(data) * 3 // 4)


def _longest(head: bytes, size: int) -> int:
    rate = LEAST_BYTES_PER_SECOND
    if len(head) >= _FORMAT.size:
        riff, _, wave, chunk, _, kind, _, samples, _, frame = _FORMAT.unpack_from(head)
        if (riff, wave, chunk) == (b"RIFF", b"WAVE", b"fmt ") and kind in _PCM and samples * frame > 0:
            rate = samples * frame
    return -(-size * 1000 // rate)
