"""Prices as a settings file states them: ``[prices."model"]``, with the arguments of ``register_price``."""

from __future__ import annotations

import difflib
import inspect
from typing import Any, Final

from budgeted.manager.settings_file import SettingsFile
from budgeted.pricing import price_registry
from budgeted.validation import shown

_ARGUMENTS: Final = tuple(inspect.signature(price_registry.register_price).parameters)[1:]


def register_prices(file: SettingsFile) -> None:
    """Register the prices of a file. What the application has registered already wins.

    Raises:
        ValueError: one makes no sense; the text tells where.
    """
    stated = file.table.get("prices", {})
    if not isinstance(stated, dict):
        msg = f'{file.where("prices")}: must be a table, as in [prices."my-model"], got {shown(stated)}'
        raise ValueError(msg)  # noqa: TRY004 - as whatever is wrong in a file
    if not stated:
        return
    own = price_registry.registered()
    for model, given in stated.items():
        for one in given if isinstance(given, list) else [given]:
            _register(file, model, one)
    price_registry.take_over(own)


def _register(file: SettingsFile, model: str, given: object) -> None:
    if not isinstance(given, dict):
        msg = f"{file.where('prices', model)}: must be a table such as {{ input = 1, output = 4 }}, got {shown(given)}"
        raise ValueError(msg)  # noqa: TRY004 - as above
    for name in given:
        if name not in _ARGUMENTS:
            meant = difflib.get_close_matches(name, _ARGUMENTS, 1)
            hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(_ARGUMENTS)}"
            msg = f"{file.where('prices', model, name)}: is not known; {hint}"
            raise ValueError(msg)
    arguments: dict[str, Any] = dict(given)  # which it looks at itself
    steps = arguments.get("steps")
    if isinstance(steps, dict):  # TOML's keys are text
        arguments["steps"] = {int(key) if _is_number(key) else key: rates for key, rates in steps.items()}
    try:
        price_registry.register_price(model, **arguments)
    except (ValueError, TypeError) as error:
        msg = f"{file.where('prices', model)}: {error}"
        raise ValueError(msg) from None


def _is_number(key: str) -> bool:
    return key.isascii() and key.replace("_", "").isdecimal()
