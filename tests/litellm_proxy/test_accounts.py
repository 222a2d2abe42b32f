"""Who pays for a call of the proxy: everybody whom LiteLLM names, by limits of the ledger or of LiteLLM's own."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from running_proxy import CENTS, QUESTION, Proxy, settled, spent

if TYPE_CHECKING:
    from budgeted import BudgetManager
    from budgeted.testing import SimulatedProvider

CHAT = "/v1/chat/completions"
DIME = {"model": "dime", **QUESTION}


def test_everybody_whom_litellm_names_pays(proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider) -> None:
    told = {"team_id": "search", "org_id": "acme", "key_alias": "ci", "end_user_id": "c-7", "project_id": "p-1"}
    tags = {"tags": ["feature:chat", "nightly", "Ü ber"]}
    assert proxy.post(CHAT, {**DIME, "metadata": tags}, "anna", **told).status_code == 200
    assert settled(manager, provider) == CENTS
    names = ["anna", "team:search", "org:acme", "tag:key=ci", "tag:customer=c-7", "tag:project=p-1"]
    odd = hashlib.sha256("Ü ber".encode()).hexdigest()[:16]
    for name in [*names, "tag:feature=chat", "tag:nightly=true", f"tag:tag-{odd}=Ü ber"]:
        assert spent(manager, name) == CENTS, name


def test_a_key_without_an_alias_is_known_by_its_hash_and_never_by_itself(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    assert proxy.post(CHAT, DIME, "berta", api_key="my-secret").status_code == 200
    settled(manager, provider)
    assert spent(manager, f"tag:key={hashlib.sha256(b'my-secret').hexdigest()}") == CENTS
    assert not [one for one in manager.accounts() if "secret" in one.name]
    assert not [one for one in manager.accounts("tag:") if "secret" in one.name]


def test_nobody_pays_as_a_team_or_a_tag_whose_name_is_taken_as_a_users(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    for user in ("team:rich", "tag:feature=free", "x" * 300):
        assert proxy.post(CHAT, DIME, "carl", user_id=user).status_code == 200
    settled(manager, provider)
    names = [one.name for one in manager.accounts()]
    assert {"user:team:rich", "user:tag:feature=free"} <= set(names)
    assert "team:rich" not in names


def test_tags_of_a_request_do_not_take_the_place_of_those_of_its_key(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    body = {**DIME, "metadata": {"tags": ["env:dev", "key:mine"]}}
    assert proxy.post(CHAT, body, "dora", key_alias="doras", metadata={"tags": ["env:prod"]}).status_code == 200
    settled(manager, provider)
    assert spent(manager, "tag:env=prod") == spent(manager, "tag:key=doras") == CENTS
    assert not [one.name for one in manager.accounts("tag:env=dev")]


def test_more_tags_than_a_call_may_have_are_refused_in_words(proxy: Proxy, provider: SimulatedProvider) -> None:
    answer = proxy.post(CHAT, {**DIME, "metadata": {"tags": [f"t{n}:x" for n in range(20)]}})
    assert answer.status_code == 400
    assert "16 tags" in answer.json()["error"]["message"]
    assert provider.billed_nano() == 0


@pytest.mark.parametrize(
    ("account", "told"),
    [
        ("emil", {}),
        ("team:poor", {"team_id": "poor"}),
        ("org:poor", {"org_id": "poor"}),
        ("tag:key=poor", {"key_alias": "poor"}),
        ("tag:customer=poor", {"end_user_id": "poor"}),
    ],
)
def test_a_limit_in_the_ledger_refuses_whoever_it_is_for(
    account: str, told: dict[str, str], proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits(account, "$0.15/day")
    assert proxy.post(CHAT, DIME, "emil", **told).status_code == 200
    settled(manager, provider)
    refused = proxy.post(CHAT, DIME, "emil", **told)
    assert refused.status_code == 422
    assert "$0.15/day" in refused.json()["error"]["message"]
    assert settled(manager, provider) == CENTS
    manager.set_limits(account)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"key_alias": "k1", "max_budget": 0.15, "budget_duration": "1d"}, "$0.15/day"),
        ({"key_alias": "k2", "max_budget": 0.15}, "$0.15"),
        ({"key_alias": "k3", "budget_limits": [{"max_budget": 0.15, "budget_duration": "30d"}]}, "$0.15/month"),
        ({"user_id": "u1", "user_max_budget": 0.15}, "$0.15"),
        ({"team_id": "t1", "team_max_budget": 0.15}, "$0.15"),
        ({"org_id": "o1", "organization_max_budget": 0.15}, "$0.15"),
        ({"end_user_id": "e1", "end_user_max_budget": 0.15}, "$0.15"),
    ],
)
def test_a_budget_of_litellms_own_is_a_limit_of_the_ledger(
    told: dict[str, object], text: str, proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    assert proxy.post(CHAT, DIME, "fritz", **told).status_code == 200
    settled(manager, provider)
    refused = proxy.post(CHAT, DIME, "fritz", **told)
    assert refused.status_code == 422
    assert f"of {text}," in refused.json()["error"]["message"]
    assert settled(manager, provider) == CENTS
    assert proxy.post(CHAT, DIME, "fritz", **{**told, **raised(told)}).status_code == 200


def raised(told: dict[str, object]) -> dict[str, object]:
    """The same with a budget of a dollar."""
    windows = {"budget_limits": [{"max_budget": 1, "budget_duration": "30d"}]} if "budget_limits" in told else {}
    return {**{name: 1 for name in told if name.endswith("max_budget")}, **windows}


def test_what_an_operator_has_set_stays_whatever_litellm_allows(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    manager.set_limits("tag:key=gerda", "$0.15")
    told = {"key_alias": "gerda", "max_budget": 100}
    assert [proxy.post(CHAT, DIME, "gerda", **told).status_code for _ in range(2)] == [200, 422]
    assert settled(manager, provider) == CENTS
