"""What costs nothing: what anybody with a key may have, and what belongs to whoever runs the gateway."""

from __future__ import annotations

import re
from typing import Final

_LISTS: Final = re.compile(
    r"(?!.*/projects/)(?:.*/)?models(?:/(?!predictions|versions)[^/:]+)*|.*/publishers/[^/]+/models(?:/[^/:]+)?|"
    r".*/(?:foundation-models|api/(?:tags|version|ps))"
)
"""Models that a provider has. At a cloud's projects, it is those alone that it has for everybody."""

_COUNTS: Final = re.compile(
    r".*/(?:count_tokens|count-tokens|input_tokens|tokenize|detokenize|api/show)|.*:(?:countTokens|computeTokens)|"
    r".*/count-tokens:rawPredict"
)

_CHECKS: Final = re.compile(r".*/moderations")
_CHECKS_FREELY: Final = ("openai", "azure")

_ASKED: Final = re.compile(
    r".*:\w*(?:[gG]enerate|[eE]mbed|[pP]redict)\w*|.*/(?:converse|converse-stream|invoke|invoke-with-[a-z-]*)|"
    r".*/(?:embeddings|embed|rerank|ocr|images/\w+|audio/\w+|messages|realtime|responses/compact|search)|"
    r".*/api/(?:chat|generate)|.*/text-to-speech/.*|.*/fim/completions"
)
"""What is paid for, and asked by POST: a GET of it is nobody's list."""

_THREADS: Final = re.compile(r".*/threads/[^/]+/messages")


def is_for_all(method: str, path: str, provider: str = "") -> bool:
    """Whether anybody with a key may have it: it tells nothing of what others keep at the provider.

    Args:
        method: of HTTP.
        path: as it goes to the upstream.
        provider: whose it is, as genai-prices names it.
    """
    path = path.rstrip("/")
    if method in ("GET", "HEAD"):
        return _LISTS.fullmatch(path) is not None
    if method != "POST":
        return False
    return _COUNTS.fullmatch(path) is not None or (provider in _CHECKS_FREELY and _CHECKS.fullmatch(path) is not None)


def is_paid_elsewise(method: str, path: str) -> bool:
    """Whether what is asked for is paid for, and asked for by another method: whoever answers that may bill it.

    Args:
        method: of HTTP.
        path: as it goes to the upstream.
    """
    path = path.rstrip("/")
    return method in ("GET", "HEAD") and _ASKED.fullmatch(path) is not None and _THREADS.fullmatch(path) is None
