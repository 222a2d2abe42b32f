"""What ``from budgeted import ...`` offers, and how its signatures look."""

from __future__ import annotations

import inspect
from importlib import metadata
from types import ModuleType
from typing import Any

import pytest

import budgeted
from budgeted import BudgetManager

EXPORTED = """
    configure get_manager budget budgeted hold instrument uninstrument bind BudgetManager Limit Balance Usage Price
    register_price BudgetError BudgetExceededError UnattributedCallError UnpricedModelError UnknownUserError LedgerError
    LedgerUnavailableError LedgerLockedError LedgerCorruptError CarrierError BudgetStoppedError inject extract
    register_tool
"""


def defaults(fn: Any) -> dict[str, Any]:
    """The parameters of a function that have a default, in order."""
    parameters = inspect.signature(fn).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def test_exactly_the_public_names_are_exported() -> None:
    assert set(budgeted.__all__) == set(EXPORTED.split())
    assert budgeted.__all__ == sorted(budgeted.__all__)
    own = {name for name, value in vars(budgeted).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert own - {"annotations", "load_ipython_extension", "unload_ipython_extension"} == set(budgeted.__all__)


def test_the_public_names_are_all_that_dir_shows() -> None:
    import budgeted.testing  # an attribute of the package from now on

    assert dir(budgeted) == budgeted.__all__


def test_the_version_is_that_of_the_distribution() -> None:
    assert budgeted.__version__ == metadata.version("budgeted")


@pytest.mark.parametrize("name", EXPORTED.split())
def test_every_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(budgeted, name))


def test_the_managers_settings_and_their_defaults() -> None:
    assert defaults(BudgetManager) == {
        "project_name": "default",
        "client_type": "local",
        "api_base": None,
        "headers": None,
        "max_budget": None,
        "duration": None,
        "ledger": None,
        "default_user_limits": (),
        "unknown_users": "allow",
        "timezone": "UTC",
        "on_exceed": "clamp",
        "wait": 30.0,
        "fallback": (),
        "min_output_tokens": 4096,
        "unpriced": "deny",
        "unattributed": "warn",
        "unmetered": "deny",
        "unmetered_hosts": (),
        "on_ledger_error": "deny",
        "on_uncertain": "estimate",
        "hold_timeout": 900.0,
        "alerts": (0.8, 1.0),
        "alerts_to": (),
        "alerts_secret": None,
        "on_event": None,
        "metric_users": False,
        "metric_tags": (),
        "tags": None,
        "semconv": False,
        "fsync": "background",
        "clock": None,
    }
    parameters = inspect.signature(BudgetManager).parameters
    positional = [name for name, one in parameters.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert positional == ["project_name", "client_type", "api_base", "headers"]
    assert all(one.kind is not one.VAR_KEYWORD for one in parameters.values())


def test_the_settings_default_to_what_the_signature_shows() -> None:
    shown = defaults(BudgetManager)
    with BudgetManager(ledger="memory://") as manager:
        for name in ("unknown_users", "on_exceed", "wait", "fallback", "min_output_tokens", "hold_timeout", "alerts"):
            assert getattr(manager.settings, name) == shown[name]


def test_the_functions_and_their_defaults() -> None:
    policy = {"on_exceed": None, "fallback": None, "wait": None}
    own = {"repeat_limit": None, "reserve": False, "share": None}
    block = {"user": None, "cap": None, "key": None, "tags": None, "manager": None, **policy, "reraise": False, **own}
    assert defaults(budgeted.budget) == block
    decorated = {"user": None, "cap": None, "tags": None, "tool": None, "manager": None, **policy, **own}
    assert defaults(budgeted.budgeted) == decorated
    assert list(defaults(budgeted.hold))[:5] == ["model", "input", "max_output_tokens", "cost", "user"]
    assert list(defaults(budgeted.configure)) == ["max_budget", "duration", "project_name", "ledger"]
    for fn, count in (
        (budgeted.budget, 1),
        (budgeted.budgeted, 1),
        (budgeted.hold, 3),
        (budgeted.configure, 2),
    ):
        kinds = [one.kind for one in inspect.signature(fn).parameters.values()]
        assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) == count
    with BudgetManager(ledger="memory://") as manager:
        for name in ("budget", "budgeted", "hold"):
            ours = {key: value for key, value in defaults(getattr(budgeted, name)).items() if key != "manager"}
            assert defaults(getattr(manager, name)) == ours


LITELLM = {
    "create_budget": ["total_budget", "user", "duration", "created_at"],
    "projected_cost": ["model", "messages", "user"],
    "get_total_budget": ["user"],
    "update_cost": ["user", "completion_obj", "model", "input_text", "output_text"],
    "get_current_cost": ["user"],
    "get_model_cost": ["user"],
    "is_valid_user": ["user"],
    "get_users": [],
    "reset_cost": ["user"],
    "reset_on_duration": ["user"],
    "update_budget_all_users": [],
    "save_data": [],
    "load_data": [],
}


@pytest.mark.parametrize(("method", "parameters"), LITELLM.items(), ids=LITELLM)
def test_litellms_methods_take_the_same_arguments(method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(BudgetManager, method)).parameters)[1:] == parameters


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("set_limits", ["user", "limits"]),
        ("delete_user", ["user"]),
        ("balance", ["user"]),
        ("balances", ["user"]),
        ("accounts", ["prefix", "after", "count"]),
        ("report", ["by", "since", "until"]),
        ("suggest", ["days", "percentile"]),
        ("uncertain", []),
        ("reconcile", ["charge_id", "cost", "usage"]),
        ("flush", []),
        ("close", []),
    ],
)
def test_our_methods_on_top(method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(BudgetManager, method)).parameters)[1:] == parameters


def test_a_balance_has_the_documented_fields() -> None:
    with BudgetManager(ledger="memory://", max_budget=5) as manager:
        found = manager.balance()
    for name in ("limit", "spent", "held", "remaining", "period_start", "resets_at", "uncertain"):
        assert hasattr(found, name)
