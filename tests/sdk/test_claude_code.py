"""The program that claude-agent-sdk brings along, against the simulated provider: what it tells is what is billed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import claude_agent_sdk
import pytest
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from paying import Paying

    from budgeted.testing import SimulatedProvider

BUNDLED = Path(claude_agent_sdk.__file__).with_name("_bundled") / "claude"

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.slow,
    pytest.mark.skipif(not BUNDLED.exists(), reason="this platform's claude-agent-sdk brings no program along"),
]


@pytest.fixture
def options(
    provider: SimulatedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ClaudeAgentOptions]:
    """Makes options for a program that knows nothing but the simulated provider, and a home of its own."""
    for name in [name for name in os.environ if name.startswith(("ANTHROPIC_", "CLAUDE"))]:
        monkeypatch.delenv(name)
    environment = {
        "ANTHROPIC_BASE_URL": provider.anthropic_url,
        "ANTHROPIC_API_KEY": "any",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "HOME": str(tmp_path),
    }

    def make(**more: Any) -> ClaudeAgentOptions:
        return ClaudeAgentOptions(
            model="claude-sonnet-4-5", cli_path=BUNDLED, env=environment, cwd=tmp_path, tools=[], **more
        )

    return make


async def ask(options: ClaudeAgentOptions) -> Any:
    """The result of one query."""
    return [message async for message in claude_agent_sdk.query(prompt="Hello!", options=options)][-1]


def test_a_query_and_what_resumes_it_are_settled_at_their_bills(
    payer: Paying, options: Callable[..., ClaudeAgentOptions]
) -> None:
    async def main() -> None:
        first = await ask(options())
        await ask(options(resume=first.session_id))

    with payer.block():
        asyncio.run(main())
    payer.agrees(calls=2)


def test_each_turn_of_a_conversation_is_settled_at_its_bill(
    payer: Paying, options: Callable[..., ClaudeAgentOptions]
) -> None:
    async def main() -> None:
        async with ClaudeSDKClient(options()) as client:
            for prompt in ("One.", "Two.", "/clear", "Three."):
                await client.query(prompt)
                assert [message async for message in client.receive_response()]

    with payer.block():
        asyncio.run(main())
    assert payer.manager.uncertain() == []
    assert len(payer.provider.bill) == 3
    assert payer.spent == payer.provider.billed_nano()


def test_a_program_that_passes_its_limit_stays_within_what_is_held(
    paying: Callable[..., Paying], options: Callable[..., ClaudeAgentOptions], provider: SimulatedProvider
) -> None:
    payer = paying(max_budget=0.1)
    provider.reply(output_tokens=2500)  # 3.85 cents, of 5 that are held, after which 3.75 have been passed
    with payer.block(), pytest.raises(claude_agent_sdk.ClaudeSDKError, match="maximum budget"):
        asyncio.run(ask(options()))
    payer.agrees()
    assert payer.spent < 50_000_000
