"""What colours mean, wherever amounts are shown: on pages and charts, in notebooks and terminals, in Grafana."""

from __future__ import annotations

from typing import Final

SPENT: Final = "#2a9d8f"
"""What is settled; what is held has the same, hatched."""

UNCERTAIN: Final = "#e9a23b"
"""What nobody has confirmed, and a limit that is nearly used up."""

REFUSED: Final = "#d1495b"
"""What was refused, and a limit that is used up."""

OTHER: Final = "#7d8790"
"""What is none of these: all others together, calls that failed, the limit itself."""

NEARLY: Final = 0.8
"""The share of a limit from which on it is nearly used up."""


def of_share(share: float) -> str:
    """The colour of a limit of which so much is spent or held.

    Args:
        share: 1.0 is all of it.
    """
    return REFUSED if share >= 1 else UNCERTAIN if share >= NEARLY else SPENT
