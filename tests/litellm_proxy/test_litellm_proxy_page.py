"""What the page on the proxy shows is how the proxies of these tests are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from running_proxy import QUESTION, Proxy, settled, spent

if TYPE_CHECKING:
    from budgeted import BudgetManager
    from budgeted.testing import SimulatedProvider


def test_the_example_of_the_page_limits_whom_it_names(
    proxy: Proxy, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    assert manager.balance("alice").text == "$5/day"
    assert manager.balance("team:search").text == "$20/day"
    assert manager.balance("tag:key=ci").text == "$1/day"
    before = spent(manager, "tag:key=ci")
    assert proxy.post("/v1/chat/completions", {"model": "fast", **QUESTION}, key_alias="ci").status_code == 200
    assert settled(manager, provider) == spent(manager, "tag:key=ci") - before > 0
