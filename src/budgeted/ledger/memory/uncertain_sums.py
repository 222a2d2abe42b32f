"""What nobody has confirmed, summed per account, model and hour: a balance is told without going through all of it."""

from __future__ import annotations

from collections.abc import Iterable

HOUR = 3600

FEW = 50
"""Charges of an account that are gone through rather than summed."""


class Hours:
    """Nano-USD by the second that calls were opened in, summed by the hour."""

    __slots__ = ("_seconds", "_totals")

    def __init__(self) -> None:
        self._totals: dict[int, int] = {}
        self._seconds: dict[int, dict[int, int]] = {}

    def add(self, opened: int, usd: int) -> None:
        """Add so much, or take it off again."""
        hour = opened // HOUR
        seconds = self._seconds.setdefault(hour, {})
        seconds[opened] = seconds.get(opened, 0) + usd
        self._totals[hour] = self._totals.get(hour, 0) + usd
        if not seconds[opened]:
            del seconds[opened]
        if not seconds:
            del self._seconds[hour], self._totals[hour]

    def between(self, start: int, end: int) -> int:
        """The sum of those opened in a time."""
        found = 0
        for hour, total in self._totals.items():
            first = hour * HOUR
            if start <= first and first + HOUR <= end:
                found += total
            elif start < first + HOUR and first < end:
                found += sum(usd for opened, usd in self._seconds[hour].items() if start <= opened < end)
        return found

    def __bool__(self) -> bool:
        return bool(self._totals)


class UncertainSums:
    """Nano-USD that nobody has confirmed, per account and model."""

    __slots__ = ("_few", "_many")

    def __init__(self) -> None:
        # Most accounts have few such charges, which need no sums; the global one has them all. Tuples, since the
        # collector of garbage looks at what is in lists again and again.
        self._few: dict[str, tuple[tuple[str, int, int], ...]] = {}
        self._many: dict[str, dict[str, Hours]] = {}

    def add(self, accounts: Iterable[str], model: str, opened: int, usd: int) -> None:
        """Add a charge to the sums of its accounts."""
        for account in accounts:
            if account in self._many:
                self._sum(account, model, opened, usd)
                continue
            charges = (*self._few.get(account, ()), (model, opened, usd))
            if len(charges) <= FEW:
                self._few[account] = charges
                continue
            for charge in charges:
                self._sum(account, *charge)
            del self._few[account]

    def take_off(self, accounts: Iterable[str], model: str, opened: int, usd: int) -> None:
        """Take a charge off again."""
        for account in accounts:
            if account in self._many:
                self._sum(account, model, opened, -usd)
                continue
            charges = self._few[account]
            at = charges.index((model, opened, usd))
            if len(charges) == 1:
                del self._few[account]
            else:
                self._few[account] = (*charges[:at], *charges[at + 1 :])

    def _sum(self, account: str, model: str, opened: int, usd: int) -> None:
        models = self._many.setdefault(account, {})
        models.setdefault(model, Hours()).add(opened, usd)
        if not models[model]:
            del models[model]
        if not models:
            del self._many[account]

    def of(self, account: str, start: int, end: int) -> dict[str, int]:
        """The sums of an account's calls that were opened in a time, by model."""
        found = {model: hours.between(start, end) for model, hours in self._many.get(account, {}).items()}
        for model, opened, usd in self._few.get(account, ()):
            if start <= opened < end:
                found[model] = found.get(model, 0) + usd
        return found
