"""A price that the application has registered: for what it is, and what of it counts where several are for a call."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from budgeted.pricing.bundled_price_list import same_provider
from budgeted.pricing.price_dimensions import Dimensions
from budgeted.pricing.price_entry import Entry

_EXACT, _WITH_PREFIX, _PATTERN, _NOTHING = 3, 2, 1, 0
_SIGNS: Final = frozenset("*?[")


class Registration(NamedTuple):
    """What is said of a price, and of which models.

    Attributes:
        model: a name or a glob, in lower case.
        provider: only for calls to this provider, if one is given.
        base_url: only for calls to addresses that begin so, if one is given.
        valid_from: from when on, in Unix seconds; None for always.
        dimensions: what is said.
    """

    model: str
    provider: str | None
    base_url: str | None
    valid_from: int | None
    dimensions: Dimensions

    @property
    def subject(self) -> tuple[str, str | None, str | None]:
        """What it is for, whenever that is."""
        return self.model, self.provider, self.base_url

    @property
    def is_pattern(self) -> bool:
        """Whether its name may stand for several models."""
        return not _SIGNS.isdisjoint(self.model)

    def match(self, model: str, provider: str | None, base_url: str | None) -> int:
        """Return how exactly it is for a call: 0 if it is not, and the more the better."""
        prefix, slash, _ = model.partition("/")
        if self.provider is not None and self.provider not in (provider, same_provider(prefix) if slash else None):
            return _NOTHING
        if self.base_url is not None and not directory(base_url or "").startswith(self.base_url):
            return _NOTHING
        name = model.lower()
        if self.model in (name, name.removeprefix("models/")):
            return _EXACT
        names = {_alike(each) for each in _spellings(name, provider)}
        if self.model in names or _alike(self.model) in names:
            return _WITH_PREFIX
        if self.is_pattern and any(fnmatch.fnmatchcase(each, self.model) for each in (name, *names)):
            return _PATTERN
        return _NOTHING

    def laid_over(self, entry: Entry | None, model: str) -> Entry | None:
        """Return an entry, if there is one, with this laid over it, for the name that was asked for."""
        whole = self.dimensions.whole or entry is None
        changed = self.dimensions.laid_over(entry, self.provider or "", model)
        if changed is None or not whole:
            return changed
        return changed._replace(provider=self.provider or "", model=model)

    def weight(self, match: int) -> tuple[int, int, int, bool]:
        """Return what is compared: exact names first, then long patterns, then those for one place or provider."""
        return match, len(self.model), len(self.base_url or ""), self.provider is not None


def directory(url: str) -> str:
    """End a URL with one slash, so that one is the beginning of another only at a boundary."""
    return url.strip().rstrip("/") + "/"


def _spellings(name: str, provider: str | None) -> Iterator[str]:
    """Yield the other names that a model is reached by: without what stands before it, and with its provider's name."""
    rest = name
    while "/" in rest:
        rest = rest.partition("/")[2]
        yield rest
    if provider is not None:
        yield f"{provider}/{name.removeprefix('models/')}"


def _alike(name: str) -> str:
    """Return a name whose prefix is spelt as the price list spells the provider's."""
    prefix, slash, rest = name.partition("/")
    return f"{same_provider(prefix)}/{rest}" if slash else name


def covering(
    registered: Iterable[Registration], model: str, provider: str | None, base_url: str | None
) -> list[list[Registration]]:
    """Return the registrations for a call by what they are for, the most exact first, and those by their date."""
    where = None if provider is None else same_provider(provider)
    found: dict[tuple[str, str | None, str | None], list[Registration]] = {}
    weights: dict[tuple[str, str | None, str | None], tuple[int, int, int, bool]] = {}
    for each in registered:
        match = each.match(model, where, base_url)
        if match:
            found.setdefault(each.subject, []).append(each)
            weights[each.subject] = each.weight(match)
    subjects = sorted(found, key=weights.__getitem__, reverse=True)
    return [sorted(found[subject], key=_begins) for subject in subjects]


def _begins(registration: Registration) -> tuple[bool, int]:
    """What puts registrations for the same models in order: those that hold always are first."""
    return registration.valid_from is not None, registration.valid_from or 0


def entry_of(groups: Sequence[Sequence[Registration]], model: str, listed: Callable[[], Entry | None]) -> Entry | None:
    """Return what registrations make of a model: the most exact ones, over the next whole price or what is listed.

    Args:
        groups: as `covering` returns them; at least one.
        model: the name that was asked for.
        listed: finds what the price list has.
    """
    winner = groups[0]
    whole = [group[0] for group in groups if group[0].dimensions.whole and group[0].valid_from is None]
    base = None
    if not whole:
        base = listed()
    elif whole[0] is not winner[0]:
        base = whole[0].laid_over(None, model)
    for registration in winner:
        base = registration.laid_over(base, model)
    return base
