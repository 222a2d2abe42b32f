"""What tells a request from others: a hash of its body, its model and where it goes. Nobody can read it back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import FunctionType

import msgspec

from budgeted.wire.normalized_request import Request
from budgeted.wire.sdk_object_fields import fields_of


def hash_of(request: Request) -> bytes | None:
    """The hash of a request; None where it cannot be told whether it is another one's.

    Such are those without a body, and those whose body holds what can be read only once, such as a file or a generator.

    Returns:
        16 bytes.
    """
    if not request.body:
        return None
    where = (request.provider, request.operation, request.model, request.base_url)
    whole = (*where, request.cap, request.n, request.tier, request.body)
    try:
        try:
            data = _encode(whole)
        except UnicodeEncodeError:  # a lone surrogate
            data = json.dumps(whole, sort_keys=True, default=_plain).encode()
    except Exception:  # noqa: BLE001 - a stranger's object, which may raise anything when it is looked at
        return None
    return hashlib.blake2b(data, digest_size=16).digest()


def _plain(value: object) -> object:
    """What tells an object from others that JSON does not know.

    Raises:
        TypeError: nothing that can be seen does.
    """
    if isinstance(value, type | FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if hasattr(value, "__next__") or hasattr(value, "read"):
        msg = "it can be read only once"
        raise TypeError(msg)
    if isinstance(value, Mapping):
        return dict(value)
    fields = fields_of(value)
    if not fields and not hasattr(value, "__dict__"):
        msg = "what it holds cannot be seen"
        raise TypeError(msg)
    return [type(value).__qualname__, dict(fields)]


_encode = msgspec.json.Encoder(enc_hook=_plain, order="sorted").encode
