"""What costs nothing and belongs to nobody: lists of models, and counts of tokens."""

from __future__ import annotations

import re
from typing import Final

_LISTS: Final = re.compile(r".*/models(?:/[^/:]+)*|.*/(?:foundation-models|api/(?:tags|version|ps))")
_COUNTS: Final = re.compile(
    r".*/(?:count_tokens|input_tokens|tokenize|detokenize|api/show)|.*:(?:countTokens|computeTokens)"
)


def is_for_all(method: str, path: str) -> bool:
    """Whether anybody with a key may have it: it tells nothing of what others keep at the provider.

    Args:
        method: of HTTP.
        path: as it goes to the upstream.
    """
    if method in ("GET", "HEAD"):
        return _LISTS.fullmatch(path) is not None
    return method == "POST" and _COUNTS.fullmatch(path) is not None
