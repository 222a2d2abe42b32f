"""Claude's agents: the SDK is real, the program that it starts is simulated, and writes its bill to a file."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import claude_agent_sdk
import pytest
import trio
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage

import budgeted
from budgeted import BudgetExceededError, UnpricedModelError, hold

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from paying import Paying

pytestmark = pytest.mark.sdk

NANO = 1_000_000_000


class Claude:
    """The simulated program, and what it has noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "claude"
        script = Path(__file__).with_name("simulated_claude.py")
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{script}" --folder "{folder}" "$@"\n')
        self.program.chmod(0o755)

    def options(self, **more: Any) -> ClaudeAgentOptions:
        return ClaudeAgentOptions(cli_path=self.program, **more)

    def noted(self, what: str) -> list[dict[str, Any]]:
        bill = self.folder / "bill"
        lines = bill.read_text().splitlines() if bill.exists() else []
        return [line for line in map(json.loads, lines) if line["what"] == what]

    @property
    def billed(self) -> int:
        """Nano-USD, over all programs."""
        return sum(round(line["usd"] * NANO) for line in self.noted("request"))

    @property
    def limits(self) -> list[float | None]:
        """What each program was told that it may spend."""
        return [line["limit"] for line in self.noted("started")]

    async def ask(self, options: ClaudeAgentOptions | None = None, **prompt: Any) -> list[Any]:
        """All messages of one query."""
        query = claude_agent_sdk.query(prompt=json.dumps(prompt), options=options or self.options())
        return [message async for message in query]


@pytest.fixture
def claude(tmp_path: Path) -> Claude:
    return Claude(tmp_path)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def to_the_end() -> Any:
        async with asyncio.timeout(60):
            try:
                return await main
            finally:  # the SDK closes what was left in tasks of its own, and warns if the loop ends before
                await asyncio.sleep(0)
                while others := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(others)

    return asyncio.run(to_the_end())


def settled(payer: Paying, claude: Claude, calls: int = 1) -> None:
    """So many charges were recorded, for certain, and they are what was billed."""
    assert payer.manager.uncertain() == []
    assert payer.charges() == calls
    assert payer.spent == claude.billed > 0


def guessed(payer: Paying, calls: int = 1) -> Any:
    """So many charges are uncertain; the last of them."""
    gc.collect()
    payer.manager.flush()
    found = payer.manager.uncertain()
    assert len(found) == calls
    return found[-1]


async def answer(client: ClaudeSDKClient, prompt: str = "{}", **wanted: Any) -> ResultMessage:
    """The result of one turn of a conversation."""
    await client.query(json.dumps(wanted) if wanted else prompt)
    messages = [message async for message in client.receive_response()]
    assert isinstance(messages[-1], ResultMessage)
    return messages[-1]


# -- one question


def test_a_query_is_settled_at_what_its_result_says(payer: Paying, claude: Claude) -> None:
    with payer.block() as block:
        messages = run(claude.ask(requests=3, usd=0.012))
    assert messages[-1].total_cost_usd == pytest.approx(0.036)
    settled(payer, claude)
    assert (block.calls, block.held) == (1, 0)
    [row] = payer.manager.report("model").values()
    assert (row.input_tokens, row.output_tokens) == (270, 30)


def test_a_query_is_settled_by_trio_as_well(payer: Paying, claude: Claude) -> None:
    with payer.block():
        trio.run(claude.ask)
    settled(payer, claude)


def test_what_is_asked_while_a_query_is_under_way_pays_for_itself(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async for _ in claude_query(claude):
            with hold(cost=0.5, user="bob") as held:
                held.settle(cost=0.001)

    with payer.block("alice"):
        run(main())
    spent = {user: row.spent for user, row in payer.manager.report("user").items()}
    assert spent == {"alice": 0.013, "bob": 0.003}


def test_what_is_granted_is_what_the_program_is_told_and_less_than_what_is_held(
    paying: Callable[..., Paying], claude: Claude
) -> None:
    payer = paying(max_budget=4)

    async def main() -> None:
        with payer.block():
            held = [payer.manager.balance().held async for _ in claude_query(claude)]
            assert held[0] == 1

    run(main())
    assert claude.limits == [0.75]
    assert payer.blocks[0].clamped == 1


def claude_query(claude: Claude, **wanted: Any) -> Any:
    return claude_agent_sdk.query(prompt=json.dumps(wanted), options=claude.options())


def test_a_query_that_does_not_fit_starts_no_program(payer: Paying, claude: Claude) -> None:
    with payer.block(cap=0.0001) as block, pytest.raises(BudgetExceededError) as refused:
        run(claude.ask())
    assert refused.value.account_kind == "block"
    assert refused.value.max_output_tokens is None
    assert block.refused == 1
    assert claude.noted("started") == []


def test_the_limit_that_options_name_is_held_whole_and_left_as_it_is(
    paying: Callable[..., Paying], claude: Claude
) -> None:
    payer = paying(max_budget=1, wait=0)
    with payer.block():
        run(claude.ask(claude.options(max_budget_usd=0.9)))
        assert claude.limits == [0.9]
        with pytest.raises(BudgetExceededError):
            run(claude.ask(claude.options(max_budget_usd=1.1)))
    assert len(claude.noted("started")) == 1
    settled(payer, claude)


def test_what_passes_the_limit_by_one_request_is_within_what_is_held(
    paying: Callable[..., Paying], claude: Claude
) -> None:
    payer = paying(max_budget=4)
    with payer.block(), pytest.raises(claude_agent_sdk.ClaudeSDKError):
        run(claude.ask(requests=100, usd=0.2))
    settled(payer, claude)
    assert claude.billed == 0.8 * NANO  # it was told 75 cents, and held a dollar


def test_twenty_queries_at_once_never_pass_the_limit(paying: Callable[..., Paying], claude: Claude) -> None:
    payer = paying(max_budget=1, wait=30)

    async def main() -> list[Any]:
        with payer.block():
            asked = (claude.ask(requests=50, usd=0.02) for _ in range(20))
            return await asyncio.gather(*asked, return_exceptions=True)

    ended = run(main())
    assert all(isinstance(one, (BudgetExceededError, claude_agent_sdk.ClaudeSDKError)) for one in ended)
    assert claude.billed <= NANO
    assert payer.spent == claude.billed
    assert payer.manager.uncertain() == []
    assert len(claude.noted("started")) > 3


def test_a_query_left_early_is_uncertain_and_charged_what_was_held(
    paying: Callable[..., Paying], claude: Claude
) -> None:
    payer = paying(max_budget=4)

    async def main() -> None:
        async with contextlib.aclosing(claude_query(claude, hang=True)) as messages:
            async for _ in messages:
                break

    with payer.block():
        run(main())
    charge = guessed(payer)
    assert charge.cost == charge.held == 1
    assert charge.model == "claude"


def test_a_query_that_nobody_closes_holds_nothing_when_its_loop_has_ended(payer: Paying, claude: Claude) -> None:
    """Alone in a process: the SDK leaves its streams open if its loop ends in the midst of it, and Python says so."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, str(claude.program)], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == [0, 1]


LEFT_OPEN = """
import asyncio, json, sys
from claude_agent_sdk import ClaudeAgentOptions, query
from budgeted import BudgetManager
async def main():
    async for _ in query(prompt='{"hang": true}', options=ClaudeAgentOptions(cli_path=sys.argv[1])):
        break
manager = BudgetManager(ledger="memory://", max_budget=4)
asyncio.run(main())
manager.flush()
print(json.dumps([manager.balance().held, manager.balance().spent]))
"""


def test_a_query_left_at_its_result_is_settled(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async with contextlib.aclosing(claude_query(claude)) as messages:
            async for message in messages:
                if isinstance(message, ResultMessage):
                    break

    with payer.block():
        run(main())
    settled(payer, claude)


def test_a_program_that_dies_leaves_an_uncertain_charge(paying: Callable[..., Paying], claude: Claude) -> None:
    payer = paying(max_budget=4)
    with payer.block(), pytest.raises(claude_agent_sdk.ClaudeSDKError):
        run(claude.ask(die=True))
    assert guessed(payer).cost == 1


def test_a_cancelled_query_is_uncertain(paying: Callable[..., Paying], claude: Claude) -> None:
    payer = paying(max_budget=4)

    async def main() -> None:
        heard = asyncio.Event()

        async def read() -> None:
            async for _ in claude_query(claude, hang=True):
                heard.set()

        task = asyncio.create_task(read())
        await heard.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with payer.block():
        run(main())
    assert guessed(payer).cost == 1


def test_an_error_is_settled_at_what_was_spent_before_it(payer: Paying, claude: Claude) -> None:
    with payer.block(), pytest.raises(claude_agent_sdk.ClaudeSDKError):
        run(claude.ask(requests=2, fail=529))
    settled(payer, claude)


def test_a_query_that_the_provider_refuses_costs_nothing(payer: Paying, claude: Claude) -> None:
    with payer.block() as block, pytest.raises(claude_agent_sdk.ClaudeSDKError):
        run(claude.ask(requests=0, fail=401))
    assert payer.spent == payer.charges() == block.held == 0


def test_a_program_that_is_not_there_costs_nothing(payer: Paying, claude: Claude) -> None:
    options = ClaudeAgentOptions(cli_path="/no/such/program")
    with payer.block() as block, pytest.raises(claude_agent_sdk.CLINotFoundError):
        run(claude.ask(options))
    assert payer.spent == payer.charges() == block.held == 0


def test_a_limit_that_is_no_amount_is_quoted(payer: Paying, claude: Claude) -> None:
    with payer.block(), pytest.raises(ValueError, match=r"max_budget_usd.*-1"):
        run(claude.ask(claude.options(max_budget_usd=-1)))
    assert claude.noted("started") == []


def test_without_a_limit_nothing_is_told_to_the_program(paying: Callable[..., Paying], claude: Claude) -> None:
    payer = paying(max_budget=None)
    with payer.block() as block:
        run(claude.ask(claude.options(model="opus")))
    assert claude.limits == [None]
    settled(payer, claude)
    assert list(payer.manager.report("model")) == ["claude-opus"]
    assert block.clamped == 0


def test_raise_changes_no_request_and_so_wants_a_limit_in_the_options(payer: Paying, claude: Claude) -> None:
    with payer.block(on_exceed="raise"):
        with pytest.raises(UnpricedModelError, match="max_budget_usd"):
            run(claude.ask())
        run(claude.ask(claude.options(max_budget_usd=0.5)))
    assert claude.limits == [0.5]
    settled(payer, claude)


def test_warn_lets_everything_through(paying: Callable[..., Paying], claude: Claude) -> None:
    payer = paying(max_budget=0.001, on_exceed="warn")
    with payer.block():
        run(claude.ask())
    assert claude.limits == [None]
    settled(payer, claude)


def test_a_query_that_is_never_read_starts_nothing(payer: Paying, claude: Claude) -> None:
    with payer.block() as block:
        claude_query(claude)
        gc.collect()
        assert block.held == 0
    assert claude.noted("started") == []


def test_a_query_is_charged_to_whoever_made_it(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        with payer.block("alice"):
            messages = claude_query(claude)
        with payer.block("bob"):
            assert [message async for message in messages]

    run(main())
    assert list(payer.manager.report("user")) == ["alice"]
    settled(payer, claude)


def test_a_hold_by_hand_pays_for_what_is_asked_inside(payer: Paying, claude: Claude) -> None:
    with payer.block(), hold(cost=0.5) as held:
        held.settle(run(claude.ask())[-1])
    assert claude.limits == [None]
    settled(payer, claude)


def test_a_resumed_session_is_charged_what_has_come_to_it(payer: Paying, claude: Claude) -> None:
    with payer.block():
        session = run(claude.ask(requests=2))[-1].session_id
        run(claude.ask(claude.options(resume=session)))
        run(claude.ask(claude.options(resume=session, max_budget_usd=1), requests=2))
    settled(payer, claude, calls=3)
    assert claude.limits[1] == claude.limits[0] + 0.02  # the program counts what was spent before


def test_a_session_that_another_process_began_is_uncertain_at_all_that_it_tells(payer: Paying, claude: Claude) -> None:
    (claude.folder / "elsewhere.total").write_text("[0.5, 1000]")
    with payer.block():
        run(claude.ask(claude.options(resume="elsewhere")))
    assert guessed(payer).cost == 0.51


def test_a_session_that_forgot_what_it_had_spent_is_charged_what_it_tells(payer: Paying, claude: Claude) -> None:
    with payer.block():
        session = run(claude.ask())[-1].session_id
        (claude.folder / f"{session}.total").unlink()
        run(claude.ask(claude.options(resume=session), usd=0.03))
    settled(payer, claude, calls=2)


# -- a conversation


def test_each_turn_of_a_conversation_is_one_call(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async with ClaudeSDKClient(claude.options()) as client:
            with payer.block("alice"):
                await answer(client, requests=2)
            with payer.block("bob"):
                await answer(client)
                await answer(client, usd=0.05)

    with payer.block("carol"):
        run(main())
    settled(payer, claude, calls=3)
    spent = {user: row.spent for user, row in payer.manager.report("user").items()}
    assert spent == {"alice": 0.02, "bob": 0.06, "carol": 0.08}


def test_a_conversation_that_waits_holds_nothing(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async with ClaudeSDKClient(claude.options()) as client:
            assert payer.manager.balance().held == 0
            await client.query("{}")
            assert payer.manager.balance().held > 0
            assert [message async for message in client.receive_response()]
            assert payer.manager.balance().held == 0

    with payer.block():
        run(main())
    settled(payer, claude)
    assert claude.limits == [8.0]


def test_a_conversation_that_does_not_fit_starts_no_program(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async with ClaudeSDKClient(claude.options()):
            pass

    with payer.block(cap=0.0001), pytest.raises(BudgetExceededError):
        run(main())
    assert claude.noted("started") == []


def test_a_turn_is_refused_when_others_have_taken_what_the_program_may_spend(
    paying: Callable[..., Paying], claude: Claude
) -> None:
    payer = paying(max_budget=1)

    async def main() -> None:
        async with ClaudeSDKClient(claude.options(max_budget_usd=0.9)) as client:
            await answer(client)
            with hold(cost=0.2) as held:
                held.settle(cost=0.2)
            with pytest.raises(BudgetExceededError):
                await client.query("{}")

    with payer.block():
        run(main())
    assert len(claude.noted("request")) == 1


def test_the_options_of_a_client_are_left_as_they_were(payer: Paying, claude: Claude) -> None:
    options = claude.options()

    async def main() -> None:
        async with ClaudeSDKClient(options) as client:
            assert client.options is options
            assert options.max_budget_usd is None

    with payer.block():
        run(main())


def test_a_cleared_conversation_begins_at_nothing(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async with ClaudeSDKClient(claude.options()) as client:
            await answer(client, requests=3)
            await answer(client, "/clear")
            await answer(client, requests=4)

    with payer.block():
        run(main())
    assert payer.manager.uncertain() == []
    assert payer.spent == claude.billed


def test_a_prompt_that_is_given_when_connecting_is_a_turn(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        client = ClaudeSDKClient(claude.options())
        await client.connect("{}")
        assert payer.manager.balance().held > 0
        assert [message async for message in client.receive_response()]
        await client.disconnect()

    with payer.block():
        run(main())
    settled(payer, claude)


def test_an_interrupted_turn_is_uncertain(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async with ClaudeSDKClient(claude.options(max_budget_usd=0.4)) as client:
            await client.query('{"hang": true}')
            messages = client.receive_response()
            await anext(messages)
            await client.interrupt()
            assert [message async for message in messages]

    with payer.block():
        run(main())
    assert guessed(payer).cost == 0.8  # the limit, and one request more


def test_a_conversation_that_is_left_before_its_result_is_uncertain(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async with ClaudeSDKClient(claude.options(max_budget_usd=0.4)) as client:
            await client.query("{}")

    with payer.block():
        run(main())
    assert guessed(payer).reason == "it was disconnected before its result was read"


def test_a_program_that_dies_in_a_conversation_leaves_an_uncertain_charge(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async with ClaudeSDKClient(claude.options()) as client:
            await answer(client)
            with pytest.raises(claude_agent_sdk.ClaudeSDKError):
                await answer(client, die=True)

    with payer.block():
        run(main())
    guessed(payer)
    assert payer.charges() == 2


def test_turns_that_were_asked_for_at_once_are_all_charged(payer: Paying, claude: Claude) -> None:
    async def main() -> None:
        async with ClaudeSDKClient(claude.options()) as client:
            for _ in range(3):
                await client.query("{}")
            for _ in range(3):
                assert [message async for message in client.receive_response()]

    with payer.block():
        run(main())
    settled(payer, claude, calls=3)


def test_a_client_that_was_connected_outside_every_budget_pays_by_its_own_limit(payer: Paying, claude: Claude) -> None:
    async def main(**options: Any) -> None:
        async with ClaudeSDKClient(claude.options(**options)) as client:
            with payer.block():
                await answer(client)

    budgeted.uninstrument()
    try:
        asyncio.run(connected_unseen(payer, claude))
    finally:
        budgeted.instrument()
    settled(payer, claude)


async def connected_unseen(payer: Paying, claude: Claude) -> None:
    """Two clients that nobody saw connecting: one has a limit, the other has none."""
    bounded = ClaudeSDKClient(claude.options(max_budget_usd=0.5))
    unbounded = ClaudeSDKClient(claude.options())
    async with bounded, unbounded:
        budgeted.instrument()
        with payer.block():
            await answer(bounded)
            with pytest.raises(UnpricedModelError, match="connected without a limit"):
                await unbounded.query("{}")
