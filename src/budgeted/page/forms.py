"""Reading what a form sends, and making sure that it is one of ours."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from starlette.requests import Request

LONGEST = 64 * 1024
"""Bytes that a form may have."""

MOST_FIELDS = 100

FORM = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form.

    Raises:
        ValueError: it is none, too long, or has a field twice: nobody could tell which one counts.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        msg = f"a form is sent as {FORM}"
        raise ValueError(msg)
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > LONGEST:
            msg = f"a form may have {LONGEST} bytes"
            raise ValueError(msg)
    found = parse_qsl(
        data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="replace"
    )
    if len(dict(found)) < len(found):
        msg = "a form may have each field once"
        raise ValueError(msg)
    return {name: value.replace("\r\n", "\n") for name, value in found}


def is_from_elsewhere(request: Request) -> bool:
    """Whether a browser says that another site's page has sent this: asked beside the token that forms carry."""
    headers = request.headers
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()
