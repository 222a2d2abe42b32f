"""Prices as a settings file states them: ``[prices."model"]`` and ``[tools."name"]``.

Their keys are the arguments of ``register_price`` and ``register_tool``.
"""

from __future__ import annotations

import difflib
import inspect
from typing import Any, Final

from budgeted.manager.settings_file import SettingsFile
from budgeted.pricing import price_registry, tool_prices
from budgeted.validation import shown

_OF_MODELS: Final = tuple(inspect.signature(price_registry.register_price).parameters)[1:]
_OF_TOOLS: Final = tuple(inspect.signature(tool_prices.register_tool).parameters)[1:]


def register_prices(file: SettingsFile) -> None:
    """Register the prices of a file. What the application has registered already wins.

    Raises:
        ValueError: one makes no sense; the text tells where.
    """
    models, tools = _table(file, "prices", "my-model"), _table(file, "tools", "my-tool")
    if models:
        own = price_registry.registered()
        for model, given in models.items():
            for one in given if isinstance(given, list) else [given]:
                _register(file, model, one)
        price_registry.take_over(own)
    if tools:
        prices = tool_prices.registered()
        for tool, given in tools.items():
            _register_tool(file, tool, given)
        tool_prices.take_over(prices)


def _table(file: SettingsFile, name: str, example: str) -> dict[str, object]:
    stated = file.table.get(name, {})
    if not isinstance(stated, dict):
        msg = f'{file.where(name)}: must be a table, as in [{name}."{example}"], got {shown(stated)}'
        raise ValueError(msg)  # noqa: TRY004 - as whatever is wrong in a file
    return stated


def _register(file: SettingsFile, model: str, given: object) -> None:
    arguments = _checked(file, ("prices", model), given, _OF_MODELS, "{ input = 1, output = 4 }")
    steps = arguments.get("steps")
    if isinstance(steps, dict):  # TOML's keys are text
        arguments["steps"] = {int(key) if _is_number(key) else key: rates for key, rates in steps.items()}
    try:
        price_registry.register_price(model, **arguments)
    except (ValueError, TypeError) as error:
        msg = f"{file.where('prices', model)}: {error}"
        raise ValueError(msg) from None


def _register_tool(file: SettingsFile, tool: str, given: object) -> None:
    arguments = _checked(file, ("tools", tool), given, _OF_TOOLS, "{ per_call = 0.01 }")
    try:
        tool_prices.register_tool(tool, **{"per_call": None, **arguments})
    except (ValueError, TypeError) as error:
        msg = f"{file.where('tools', tool)}: {error}"
        raise ValueError(msg) from None


def _checked(
    file: SettingsFile, keys: tuple[str, str], given: object, known: tuple[str, ...], example: str
) -> dict[str, Any]:
    """The arguments that a table states; what they may be is looked at where they are taken."""
    if not isinstance(given, dict):
        msg = f"{file.where(*keys)}: must be a table such as {example}, got {shown(given)}"
        raise ValueError(msg)  # noqa: TRY004 - as above
    for name in given:
        if name not in known:
            meant = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(known)}"
            msg = f"{file.where(*keys, name)}: is not known; {hint}"
            raise ValueError(msg)
    return dict(given)


def _is_number(key: str) -> bool:
    return key.isascii() and key.replace("_", "").isdecimal()
