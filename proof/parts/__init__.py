"""The parts of the proof: each module is one, its name is the part's, its docstring's first line the title.

A part has ``run(trial)``. It may have ``SHORT`` and ``LONG``, the seconds it is to take in either form, and
``ALONE = True`` if no other part may run beside it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from proof.trial import Trial

SHORT, LONG = 10.0, 240.0


@dataclass(frozen=True)
class Part:
    """A part, as its module says."""

    name: str
    title: str
    run: Callable[[Trial], None]
    short: float
    long: float
    alone: bool

    def seconds(self, *, long: bool) -> float:
        """What it is to take, in seconds."""
        return self.long if long else self.short


def names() -> list[str]:
    """The parts there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def load(name: str) -> Part:
    """A part by its name."""
    module = importlib.import_module(f"{__name__}.{name}")
    title = (module.__doc__ or name).strip().splitlines()[0]
    return Part(
        name,
        title,
        module.run,
        getattr(module, "SHORT", SHORT),
        getattr(module, "LONG", LONG),
        getattr(module, "ALONE", False),
    )
