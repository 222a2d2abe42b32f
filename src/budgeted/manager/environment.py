"""Settings from ``BUDGETED_*`` variables."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from budgeted.ledger.urls import public
from budgeted.manager.unknown_keywords import ELSEWHERE
from budgeted.telemetry.webhooks.destinations import is_url
from budgeted.telemetry.webhooks.destinations import public as public_url
from budgeted.telemetry.webhooks.signatures import secret_of_environment
from budgeted.validation import shown

logger = logging.getLogger("budgeted")

_LISTS = {"alerts": float, "alerts_to": str, "fallback": str, "unmetered_hosts": str, "metric_tags": str}
_FLOATS = ("wait", "hold_timeout")
_TOKENS = ("min_output_tokens",)
_TEXTS = (
    "max_budget duration project_name ledger default_user_limits unknown_users timezone on_exceed unpriced "
    "unattributed unmetered on_ledger_error on_uncertain fsync alerts_secret"
).split()
GATEWAY_SETTINGS = (
    "host port open upstreams models free headers max_body connect_seconds silence_seconds metrics_token workers "
    "access_log header_seconds body_seconds unread_seconds grace_seconds max_connections max_connections_per_address "
    "trusted_proxies"
).split()
"""The settings of a gateway, each of which is also a variable: ``BUDGETED_GATEWAY_PORT``."""

OTHER_VARIABLES = (
    *(
        "home token read_token max_body max_projects threads session_seconds host port project "
        "header_seconds body_seconds answer_seconds max_connections max_connections_per_address "
        "trusted_proxies payers secret config run run_addresses alerts_secret_file"
    ).split(),
    *(f"gateway_{name}" for name in GATEWAY_SETTINGS),
)
"""Variables that are not about a manager's settings, in small letters and without ``BUDGETED_``."""

HIDDEN = "***"
"""What is shown of a value that is nobody's business."""

MANAGER_SETTINGS = (*_TEXTS, *_LISTS, *_FLOATS, *_TOKENS, "metric_users", "semconv", "tags")
"""The settings of a manager that can be stated outside its program, by the names of its keywords."""

_LIMITING = ("max_budget", "default_user_limits")

_SECRETS = frozenset({"token", "read_token", "secret", "payers", "run_addresses", "alerts_secret"})


def _public_urls(value: str) -> str:
    return ", ".join(public_url(one.strip()) for one in value.split(",") if one.strip())


_SHOWN: Mapping[str, Callable[[str], str]] = {"ledger": public, "alerts_to": _public_urls}
"""How the values of variables are shown that hold secrets among what is none."""

_PREFIX = "BUDGETED_"

YES_OR_NO: Mapping[str, bool] = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
"""What a variable may say for either, in small letters."""


def shown_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The ``BUDGETED_*`` variables that are set, as others may read them: without tokens and passwords.

    The value of one that nothing here reads is hidden, too: it may be a misspelt token.

    Args:
        environment: such as ``os.environ``.
    """
    readable = {}
    for variable, value in sorted(environment.items()):
        name = variable.removeprefix(_PREFIX).lower()
        if variable.startswith(_PREFIX) and value.strip():
            known = name in MANAGER_SETTINGS or name in OTHER_VARIABLES
            show = _SHOWN.get(name, str)
            readable[variable] = HIDDEN if name in _SECRETS or not known else show(value)
    return readable


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with each ``BUDGETED_*`` variable that nothing here reads: a sentence that names what was meant.

    Args:
        environment: such as ``os.environ``.
    """
    told = []
    for variable, value in environment.items():
        name = variable.removeprefix(_PREFIX).lower()
        if (
            variable.startswith(_PREFIX)
            and value.strip()
            and name not in MANAGER_SETTINGS
            and name not in OTHER_VARIABLES
        ):
            meant = _called_elsewhere(name) or difflib.get_close_matches(name, (*MANAGER_SETTINGS, *OTHER_VARIABLES), 1)
            hint = f"did you mean {_PREFIX}{meant[0].upper()}?" if meant else "nothing reads it"
            told.append(f"{variable} is not known; {hint}")
    return told


def warn_of_unknown(environment: Mapping[str, str]) -> None:
    """Log what :func:`unknown_variables` finds."""
    for problem in unknown_variables(environment):
        logger.warning("budgeted: %s", problem)


def variable_of(name: str, environment: Mapping[str, str]) -> str:
    """The variable that states a manager's setting."""
    variable = _PREFIX + name.upper()
    return variable if environment.get(variable, "").strip() else "BUDGETED_PROJECT"


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The keywords of ``configure()`` that ``BUDGETED_*`` variables give: ``BUDGETED_MAX_BUDGET='$10/day'``.

    Lists are separated by commas, as is ``BUDGETED_TAGS='feature=search,team=x'``. ``BUDGETED_METRIC_USERS`` is
    ``true``, ``false``, ``hash``, ``top 20`` or users' names, ``BUDGETED_SEMCONV`` is ``true`` or ``false``.
    ``BUDGETED_PROJECT``, which the command reads, stands in for ``BUDGETED_PROJECT_NAME``. Empty variables count as not
    set; those that are not known are logged as warnings.

    Args:
        environment: such as ``os.environ``.

    Raises:
        ValueError: a variable's value makes no sense, or its name is probably misspelt; the text quotes it.
    """
    warn_of_unknown(environment)
    return variables_of(environment)


def variables_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """The same as :func:`from_environment`, for who has told of what is not known."""
    found: dict[str, object] = {}
    for variable, value in {"BUDGETED_PROJECT_NAME": environment.get("BUDGETED_PROJECT", ""), **environment}.items():
        name = variable.removeprefix(_PREFIX).lower()
        if not variable.startswith(_PREFIX) or not value.strip():
            continue
        if name in MANAGER_SETTINGS:
            try:
                found[name] = _from_text(name, value.strip())
            except ValueError as error:
                quoted = HIDDEN if is_url(value) else shown(value)
                why = str(error) if name == "tags" else f"see {name!r} of budgeted.BudgetManager"
                msg = f"{variable}={quoted} makes no sense; {why}"
                raise ValueError(msg) from None
        elif name == "alerts_secret_file":
            found["alerts_secret"] = secret_of_environment(environment)
        elif name not in OTHER_VARIABLES:
            # Whoever means a limit is not to go on without one.
            meant = [ours for ours in _called_elsewhere(name) if ours in _LIMITING]
            meant += difflib.get_close_matches(name, MANAGER_SETTINGS, 1, 0.8)
            if meant:
                msg = f"{variable} is not known; write {_PREFIX}{meant[0].upper()}"
                raise ValueError(msg)
    return found


def _tags(value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in value.split(","):
        name, separator, tagged = (part.strip() for part in one.partition("="))
        if one.strip() and (not separator or name in found):
            problem = "has no value" if not separator else "is there twice"
            msg = f"{shown(one.strip())} {problem}; write such as 'feature=search,team=x'"
            raise ValueError(msg)
        if separator:
            found[name] = tagged
    return found


def _called_elsewhere(name: str) -> list[str]:
    """The settings that other packages, or our own command, call so: ``limit`` is ``max_budget``."""
    words = ELSEWHERE.get(name) or ELSEWHERE.get(name.removesuffix("s"), "")
    return [ours for ours in words.split() if ours in MANAGER_SETTINGS][:1]


def _from_text(name: str, value: str) -> object:
    if name in _LISTS:
        return tuple(_LISTS[name](one.strip()) for one in value.split(",") if one.strip())
    if name in _FLOATS:
        return float(value)
    if name in _TOKENS:
        return int(value)
    if name == "tags":
        return _tags(value)
    if name == "semconv":
        if value.lower() not in YES_OR_NO:
            raise ValueError
        return YES_OR_NO[value.lower()]
    if name == "metric_users" and value != "hash":
        if value.lower() in YES_OR_NO:
            return YES_OR_NO[value.lower()]
        return value if value.startswith("top ") else [one.strip() for one in value.split(",") if one.strip()]
    return value
