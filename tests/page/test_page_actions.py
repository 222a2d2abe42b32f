"""What a person does on the page: each thing is shown before, done once, told once, and logged once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import READER, TOKEN, Serving
from visiting import Page, Visitor

from budgeted import BudgetExceededError, BudgetManager
from budgeted.ledger.memory.ledger import MemoryLedger

HOSTILE = ("<script>alert(1)</script>", '"; DROP TABLE', " a ", "a&amp;b", "tag:feature=<b>", "\u202eecila", "ü/?#%")

FORMS_ALONE = ("/page/stop", "/page/resume", "/page/assign", "/page/reset", "/page/uncertain")
ACTIONS = ("/page/limits", "/page/top-up", *FORMS_ALONE)


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("default", ledger=MemoryLedger(), max_budget="$100/day") as made:
        yield made


@pytest.fixture
def serving(manager: BudgetManager) -> Iterator[Serving]:
    with Serving(ledger=manager.ledger, tokens=(TOKEN,), read_tokens=(READER,)) as one:
        yield one


@pytest.fixture
def visitor(serving: Serving) -> Iterator[Visitor]:
    with Visitor(serving.url, TOKEN) as one:
        yield one


def spend(manager: BudgetManager, usd: float, user: str | None = None) -> None:
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)


def leave_uncertain(manager: BudgetManager, usd: float, user: str) -> str:
    with manager.hold(cost=usd, user=user) as held:
        pass  # nobody says what it has cost
    return held.id


def limits(manager: BudgetManager, account: str | None) -> str:
    return " + ".join(balance.text for balance in manager.balances(account))


def user_page(visitor: Visitor, name: str) -> Page:
    return visitor.get("/page/user", name=name)


# -- limits


def test_new_limits_are_shown_before_they_are_set(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$10/day + 60 calls/minute")
    spend(manager, 6, "alice")
    edit = visitor.get(user_page(visitor, "alice").links["Edit limits"])
    assert edit.form("/page/limits").fields["text"] == "$10/day + 60 calls/minute"
    preview = visitor.send(edit.form("/page/limits"), 200, text="$5/day + $100/month")
    for told in ("refuses", "every call that counts in it is refused at once", "New", "Goes away", "$6.00"):
        assert told in preview.text
    assert limits(manager, "alice") == "$10/day + 60 calls/minute"
    done = visitor.send(preview.form("/page/limits"), 303)
    assert "The limits of “alice” are now: $5/day + $100/month" in done.text
    assert limits(manager, "alice") == "$5/day + $100/month"
    assert "are now" not in user_page(visitor, "alice").text  # it is told once


def test_the_limits_of_everything_together_are_edited_from_the_overview(
    visitor: Visitor, manager: BudgetManager
) -> None:
    edit = visitor.get(visitor.get("/").links["Edit limits"])
    visitor.send(visitor.send(edit.form("/page/limits"), text="$7/day").form("/page/limits"), 303)
    assert limits(manager, None) == "$7/day"


def test_text_that_is_no_limit_is_quoted_with_a_right_one_and_kept_to_be_mended(visitor: Visitor) -> None:
    edit = visitor.get("/page/limits", account="alice")
    wrong = visitor.send(edit.form("/page/limits"), 422, text="<b>$10/dya")
    assert "cannot read the limit '<b>$10/dya'" in wrong.text
    assert '"$10/day"' in wrong.text
    assert wrong.form("/page/limits").fields["text"] == "<b>$10/dya"


def test_a_change_by_somebody_else_in_between_is_shown_instead_of_undone(
    visitor: Visitor, serving: Serving, manager: BudgetManager
) -> None:
    manager.set_limits("alice", "$10/day")
    mine = visitor.send(visitor.get("/page/limits", account="alice").form("/page/limits"), text="$1/day")
    with Visitor(serving.url, TOKEN) as other:
        theirs = other.send(other.get("/page/limits", account="alice").form("/page/limits"), text="$50/day")
        other.send(theirs.form("/page/limits"), 303)
    again = visitor.send(mine.form("/page/limits"), 409)
    assert "somebody else has changed these limits" in again.text
    assert limits(manager, "alice") == "$50/day"
    assert "$50/day" in again.text
    visitor.send(again.form("/page/limits"), 303)
    assert limits(manager, "alice") == "$1/day"


def test_all_limits_may_be_taken_away_and_that_is_said(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$10/day")
    preview = visitor.send(visitor.get("/page/limits", account="alice").form("/page/limits"), text="  ")
    assert "Without limits" in preview.text
    assert "no limits" in visitor.send(preview.form("/page/limits"), 303).text
    assert limits(manager, "alice") == ""


def test_the_same_limits_again_change_nothing_and_there_is_nothing_to_agree_to(
    visitor: Visitor, manager: BudgetManager
) -> None:
    manager.set_limits("alice", "$10/day")
    preview = visitor.send(visitor.get("/page/limits", account="alice").form("/page/limits"))
    assert "nothing would change" in preview.text
    assert not preview.form("/page/limits").buttons


# -- top-ups


def test_a_top_up_shows_the_new_limit_before_and_ends_with_the_period(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    spend(manager, 1, "alice")
    preview = visitor.send(user_page(visitor, "alice").form("/page/top-up"), 200, amount="5")
    assert "$5 more for “alice”" in preview.text
    assert "$6.00 in this period" in preview.text
    assert manager.balance("alice").limit == 1
    done = visitor.send(preview.form("/page/top-up"), 303)
    assert "“alice” may spend $5 more until the limit's period ends" in done.text
    assert manager.balance("alice").limit == 6


def test_a_second_click_tops_up_no_second_time(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    form = visitor.send(user_page(visitor, "alice").form("/page/top-up"), amount="5").form("/page/top-up")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: visitor.post(form), range(8)))
    assert {answer.status_code for answer in answers} == {303}
    assert manager.balance("alice").limit == 6


def test_two_who_saw_the_same_top_up_needed_do_not_both_give_it(
    visitor: Visitor, serving: Serving, manager: BudgetManager
) -> None:
    manager.set_limits("alice", "$1/day")
    mine = visitor.send(user_page(visitor, "alice").form("/page/top-up"), amount="5")
    with Visitor(serving.url, TOKEN) as other:
        other.send(other.send(user_page(other, "alice").form("/page/top-up"), amount="5").form("/page/top-up"), 303)
    again = visitor.send(mine.form("/page/top-up"), 409)
    assert "somebody else" in again.text
    assert manager.balance("alice").limit == 6


@pytest.mark.parametrize(("stated", "amount"), [("$1", "5"), ("$1/day", "x"), ("$1/day", "5 calls"), ("$1/day", "-5")])
def test_a_top_up_that_cannot_be_says_what_to_do(
    visitor: Visitor, manager: BudgetManager, stated: str, amount: str
) -> None:
    manager.set_limits("alice", stated)
    wrong = visitor.send(user_page(visitor, "alice").form("/page/top-up"), 422, amount=amount)
    assert wrong.form("/page/top-up").fields["amount"] == amount
    assert "problem" in wrong.html


# -- stopping


def test_whoever_is_stopped_is_refused_with_the_reason_until_resumed(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    question = visitor.send(user_page(visitor, "alice").form("/page/stop"), 200, reason="her <key> has leaked")
    assert "Stop all calls of “alice”?" in question.text
    assert "her <key> has leaked" in question.text
    spend(manager, 0.1, "alice")
    assert "Stopped: all calls of “alice” are refused" in visitor.send(question.form("/page/stop"), 303).text
    with pytest.raises(BudgetExceededError, match="her <key> has leaked"):
        spend(manager, 0.1, "alice")
    spend(manager, 0.1, "bob")
    question = visitor.send(user_page(visitor, "alice").form("/page/resume"))
    assert "Calls of “alice” go on" in visitor.send(question.form("/page/resume"), 303).text
    spend(manager, 0.1, "alice")


def test_everything_can_be_stopped(visitor: Visitor, manager: BudgetManager) -> None:
    visitor.send(visitor.send(visitor.get("/").form("/page/stop")).form("/page/stop"), 303)
    with pytest.raises(BudgetExceededError):
        spend(manager, 0.1)
    visitor.send(visitor.send(visitor.get("/").form("/page/resume")).form("/page/resume"), 303)
    spend(manager, 0.1)


# -- resets and teams


def test_a_reset_wants_the_name_typed(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    spend(manager, 1, "alice")
    question = visitor.send(user_page(visitor, "alice").form("/page/reset"))
    for typed in ("", "bob", "ALICE"):
        question = visitor.send(question.form("/page/reset"), 422, typed=typed)
        assert "nothing was reset" in question.text
    assert manager.balance("alice").spent == 1
    visitor.send(question.form("/page/reset"), 303, typed="alice")
    assert manager.balance("alice").spent == 0


def test_a_user_belongs_to_a_team_after_its_limits_were_shown(visitor: Visitor, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    manager.set_limits("team:search", "$50/month")
    question = visitor.send(user_page(visitor, "alice").form("/page/assign"), team="search")
    assert "did you mean “team:search”?" in question.text
    question = visitor.send(user_page(visitor, "alice").form("/page/assign"), team="team:search")
    assert "$50/month" in question.text
    assert "“alice” belongs to “team:search”" in visitor.send(question.form("/page/assign"), 303).text
    spend(manager, 1, "alice")
    assert manager.balance("team:search").spent == 1
    circle = visitor.send(user_page(visitor, "team:search").form("/page/assign"), team="alice")
    assert "cannot belong to" in visitor.send(circle.form("/page/assign"), 422).text


# -- uncertain charges


def test_an_uncertain_charge_is_reconciled_with_what_it_cost(visitor: Visitor, manager: BudgetManager) -> None:
    leave_uncertain(manager, 4, "alice")
    page = visitor.get("/page/uncertain")
    assert "alice" in page.links
    assert "$4.00" in page.text
    wrong = visitor.send(page.form("/page/uncertain"), 422, cost="four")
    assert "'four'" in wrong.text
    done = visitor.send(wrong.form("/page/uncertain"), 303, cost="$1.25")
    assert "cost $1.25 instead of $4.00" in done.text
    assert "There are none" in done.text
    assert manager.balance(None).spent == 1.25


def test_what_somebody_else_has_reconciled_is_not_replaced_unseen(visitor: Visitor, manager: BudgetManager) -> None:
    id = leave_uncertain(manager, 4, "alice")
    page = visitor.get("/page/uncertain")
    manager.reconcile(id, cost=2)
    assert "not uncertain any more: nothing was changed" in visitor.send(page.form("/page/uncertain"), cost="1").text
    assert "is recorded at $2.00" in visitor.send(page.form("/page/uncertain"), cost="2").text
    assert manager.balance(None).spent == 2


def test_more_than_was_held_is_asked_once_more(visitor: Visitor, manager: BudgetManager) -> None:
    leave_uncertain(manager, 4, "alice")
    question = visitor.send(visitor.get("/page/uncertain").form("/page/uncertain"), 200, cost="40")
    assert "Only $4.00 was held" in question.text
    assert manager.balance(None).spent == 4
    visitor.send(question.form("/page/uncertain"), 303)
    assert manager.balance(None).spent == 40


def test_very_many_uncertain_charges_come_page_by_page_the_oldest_first(
    visitor: Visitor, manager: BudgetManager
) -> None:
    manager.set_limits(None)
    ids = [leave_uncertain(manager, 0.001, f"user {i}") for i in range(120)]
    first, last = visitor.get("/page/uncertain"), visitor.get("/page/uncertain", page="3")
    shown = [[form.fields["id"] for form in page.forms if "id" in form.fields] for page in (first, last)]
    assert (shown[0], shown[1]) == (ids[:50], ids[100:])
    assert "120 charges" in first.text
    assert "Next" in first.text or "Newer" in first.links
    for odd in ("0", "-1", "99999999999", "x", "²"):
        visitor.get("/page/uncertain", page=odd)


# -- who may


def test_who_may_only_look_sees_no_button_and_changes_nothing(serving: Serving, manager: BudgetManager) -> None:
    manager.set_limits("alice", "$1/day")
    leave_uncertain(manager, 0.5, "alice")
    with Visitor(serving.url, READER) as reader:
        for path in ("/", "/page/user?name=alice", "/page/uncertain", "/page/limits?account=alice", "/page/spend"):
            page = reader.get(path)
            assert [form.action for form in page.forms if form.method == "post"] == ["/page/logout"]
        token = page.form("/page/logout").fields["form_token"]
        for path in ACTIONS:
            sent = {"account": "alice", "agreed": "yes", "text": "", "amount": "5", "typed": "alice"}
            assert reader.client.post(path, data={**sent, "form_token": token}).status_code == 403
    assert (limits(manager, "alice"), manager.balance("alice").spent) == ("$1/day", 0.5)


def test_a_form_of_another_session_or_site_does_nothing(
    visitor: Visitor, serving: Serving, manager: BudgetManager
) -> None:
    manager.set_limits("alice", "$1/day")
    form = visitor.send(user_page(visitor, "alice").form("/page/stop")).form("/page/stop")
    with Visitor(serving.url, TOKEN) as other:
        assert other.post(form).status_code == 403
    assert visitor.client.post(form.action, data=form.fields, headers={"origin": "http://evil"}).status_code == 403
    assert visitor.client.post(form.action, data={"account": "alice", "agreed": "yes"}).status_code == 403
    spend(manager, 0.1, "alice")


@pytest.mark.parametrize("path", [path for path in ACTIONS if path != "/page/uncertain"])
@pytest.mark.parametrize("agreed", [{}, {"agreed": "yes"}], ids=["asked", "agreed"])
def test_a_form_without_its_account_is_not_one_about_everything(
    visitor: Visitor, manager: BudgetManager, path: str, agreed: dict[str, str]
) -> None:
    form = visitor.get("/").form("/page/stop")
    del form.fields["account"]
    form.action = path
    page = visitor.send(form, 422, amount="5", text="$1", typed="default", **agreed)
    assert "does not say whose account" in page.text
    assert limits(manager, None) == "$100/day"
    with manager.hold(cost=1) as held:
        held.settle(cost=1)
    assert manager.balance().spent == 1


def test_a_form_with_a_field_twice_does_nothing(visitor: Visitor, manager: BudgetManager) -> None:
    form = visitor.get("/").form("/page/stop")
    sent = {**form.fields, "account": ["alice", ""], "agreed": "yes"}
    answer = visitor.client.post(form.action, data=sent)
    assert (answer.status_code, "each field once" in answer.text) == (400, True)
    with manager.hold(cost=1) as held:
        held.settle(cost=1)


@pytest.mark.parametrize("path", FORMS_ALONE)
def test_looking_at_where_a_form_goes_does_nothing(visitor: Visitor, manager: BudgetManager, path: str) -> None:
    manager.set_limits("alice", "$1/day")
    visitor.get(path, account="alice", agreed="yes", typed="alice")
    assert (limits(manager, "alice"), manager.accounts()[0].stopped) == ("$1/day", "")


@pytest.mark.parametrize("name", HOSTILE)
def test_accounts_may_be_called_anything(visitor: Visitor, manager: BudgetManager, name: str) -> None:
    manager.set_limits(name, "$1/day")
    page = user_page(visitor, name)
    assert "script" not in page.tags[page.tags.index("body") :]
    visitor.send(visitor.send(page.form("/page/top-up"), amount="1").form("/page/top-up"), 303)
    preview = visitor.send(visitor.get(page.links["Edit limits"]).form("/page/limits"), text="$3/day")
    assert " ".join(name.split()) in visitor.send(preview.form("/page/limits"), 303).text
    visitor.send(visitor.send(page.form("/page/stop"), reason=name).form("/page/stop"), 303)
    [info] = [one for one in (*manager.accounts(), *manager.accounts("tag:")) if one.name == name]
    assert (info.balances[0].limit, info.stopped) == (4, name.strip())
    visitor.send(visitor.send(page.form("/page/reset")).form("/page/reset"), 303, typed=name)


def test_each_action_is_logged_once_with_who_did_it(
    visitor: Visitor, manager: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    manager.set_limits("alice", "$1/day")
    with caplog.at_level(logging.WARNING, "budgeted"):
        question = visitor.send(user_page(visitor, "alice").form("/page/top-up"), amount="5")
        assert caplog.messages == []
        for _ in range(3):
            visitor.send(question.form("/page/top-up"), 303)
    [line] = caplog.messages
    assert "with a token that may write" in line
    assert "in 'default': top-up of 'alice' by 5" in line
    assert TOKEN not in line
