"""What costs nothing: what anybody with a key may have, and what belongs to whoever runs the gateway."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

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


_PROJECTS: Final = re.compile(r".*/projects/(?!.*:cancel$).*")
_DEPLOYED: Final = re.compile(r".*/openai/deployments/[^/]+/.+")
"""What clouds have beside models' answers: jobs, machines that are rented, and whatever a deployment does."""


def is_for_all(method: str, path: str, provider: str = "") -> bool:
    """Whether anybody with a key may have it: it tells nothing of what others keep at the provider.

    Args:
        method: of HTTP.
        path: as it goes to the upstream.
        provider: whose it is, as genai-prices names it.
    """
    return all(_is_for_all(method, one, provider) for one in _readings(path))


def _is_for_all(method: str, path: str, provider: str) -> bool:
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
    if method not in ("GET", "HEAD"):
        return False
    return any(_ASKED.fullmatch(one) is not None and _THREADS.fullmatch(one) is None for one in _readings(path))


def is_rented(path: str, provider: str) -> bool:
    """Whether what is asked for with a body may be billed by the hour, or by what becomes of it, at a cloud.

    Args:
        path: as it goes to the upstream.
        provider: whose it is, as genai-prices names it.
    """
    if provider == "azure":
        return _DEPLOYED.fullmatch(path) is not None
    return provider == "google" and _PROJECTS.fullmatch(path) is not None and _COUNTS.fullmatch(path) is None


def _readings(path: str) -> tuple[str, ...]:
    """A path as it is written, and as whoever decodes it reads it."""
    path = path.rstrip("/")
    return (path, unquote(path)) if "%" in path else (path,)
