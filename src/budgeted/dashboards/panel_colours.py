"""What panels are coloured in: by what is shown, never by the order in which Grafana happens to draw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypedDict

from budgeted.colours import OTHER, REFUSED, SPENT, UNCERTAIN

OUTCOMES: Final = {"settled": SPENT, "estimated": UNCERTAIN, "failed": OTHER, "refused": REFUSED}
"""Of calls, by how they ended."""

AMOUNTS: Final = {"spent": SPENT, "held": SPENT, "limit": OTHER}
"""Of a limit: what is held is dashed, where a bar would be hatched, and so is the limit itself."""

_DASHED: Final = ("held", "limit")


class Override(TypedDict):
    """What is different about some series of a panel."""

    matcher: dict[str, str]
    properties: list[dict[str, object]]


def shades(colour: str) -> dict[str, object]:
    """All series of a panel in shades of one colour, as names of models and users mean none.

    Args:
        colour: as ``#rrggbb``.
    """
    return {"mode": "shades", "fixedColor": colour}


def by_first_word(meanings: Mapping[str, str]) -> list[Override]:
    """Series in the colour of the word that their legend begins with.

    Args:
        meanings: colours by words.
    """
    return [
        {"matcher": {"id": "byRegexp", "options": f"/^{word}( |$)/"}, "properties": [*_properties(word, colour)]}
        for word, colour in meanings.items()
    ]


def _properties(word: str, colour: str) -> Iterable[dict[str, object]]:
    yield {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}
    if word in _DASHED:
        yield {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 4]}}


def steps(nearly: float, used_up: float) -> list[dict[str, object]]:
    """Colours from below: green to red where more is worse, red to green where less is.

    Args:
        nearly: where a limit counts as nearly used up.
        used_up: where it is used up.
    """
    if nearly < used_up:
        return _steps((SPENT, None), (UNCERTAIN, nearly), (REFUSED, used_up))
    return _steps((REFUSED, None), (UNCERTAIN, used_up), (SPENT, nearly))


def _steps(*each: tuple[str, float | None]) -> list[dict[str, object]]:
    return [{"color": colour, "value": value} for colour, value in each]
