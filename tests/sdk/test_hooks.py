"""Calls are caught whatever is imported, wrapped and unwrapped when; and the payer goes along into threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import importlib
import inspect
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anthropic
import openai
import pytest
import wrapt
from paying import MESSAGES

import budgeted
from budgeted.providers import HOOKS, monkeypatching

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = pytest.mark.sdk

ASK: dict[str, Any] = {"model": "gpt-5-mini", "messages": MESSAGES}


@pytest.fixture(autouse=True)
def hooks_as_they_were() -> Iterator[None]:
    client = openai._base_client.SyncAPIClient
    before = vars(client)["request"]
    yield
    client.request = before
    budgeted.instrument()


def _wrappers() -> int:
    """How many of our wrappers are around the SDK's function."""
    found, count = vars(openai._base_client.SyncAPIClient)["request"], 0
    while found is not None:
        count += isinstance(found, wrapt.FunctionWrapper)
        found = getattr(found, "__wrapped__", None)
    return count


def test_taken_out_and_put_in_again(payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider) -> None:
    for _ in range(3):
        budgeted.uninstrument()
        budgeted.uninstrument()
        assert _wrappers() == 0
        chat.chat.completions.create(**ASK)
        budgeted.instrument()
        budgeted.instrument()
        assert _wrappers() == 1
        chat.chat.completions.create(**ASK)
    assert payer.charges() == 3
    assert len(provider.bill) == 6


NEWER = {
    "openai.resources.beta.responses.responses",
    "openai.resources.live.forks",
    "openai.resources.live.live",
    "openai.resources.live.sideband",
    "openai.resources.realtime.translations.translations",
}
"""What some or all of openai 2 have not got."""

NOT_IN_EVERY_LITELLM = {
    "litellm.llms.anthropic.experimental_pass_through.messages.handler",
    "litellm.llms.anthropic.messages.native.handler",
    "litellm.llms.anthropic.pass_through.messages.handler",
    "litellm.ocr.main",
    "litellm.rust_bridge.runtime",
}
"""What was moved, or came later."""

WITH_THE_NET = ("cerebras", "curl_cffi", "fireworks", "grpc", "openrouter", "perplexity", "together", "writerai", "zai")
"""What the tests of the net at the HTTP clients are run with, in an environment of their own."""


def test_every_hook_is_in_place_and_none_is_missing() -> None:
    budgeted.instrument()
    absent = {hook for hook in HOOKS if not _imported(hook.module)}
    assert all(monkeypatching._is_in_place(hook) for hook in HOOKS if hook not in absent)
    assert not monkeypatching._missing
    missing = {hook.module for hook in absent} - NOT_IN_EVERY_LITELLM
    missing = {module for module in missing if not module.startswith(WITH_THE_NET)}
    assert missing <= NEWER if openai.__version__.startswith("2.") else not missing


def _imported(module: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what LiteLLM has moved, and keeps under its old name
        try:
            return importlib.import_module(module).__name__ == module  # else it is another one's old name
        except ModuleNotFoundError:
            return False


def test_a_stream_goes_on_being_metered_when_the_hooks_are_taken_out(payer: Paying, chat: openai.OpenAI) -> None:
    with payer.block():
        stream = chat.chat.completions.create(**ASK, stream=True)
        next(stream)
        budgeted.uninstrument()
        assert all(chunk.choices for chunk in stream)
    payer.agrees()


def test_a_call_in_flight_is_settled_when_the_hooks_are_taken_out(
    payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider
) -> None:
    provider.reply(hang=True)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(chat.chat.completions.create, **ASK)
        assert provider.wait_parked()
        budgeted.uninstrument()
        provider.release()
        asked.result()
    payer.agrees()


class Tool:
    """Another tool that wraps the same function: with wrapt, or with a plain closure."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.calls = 0
        self.owner = openai._base_client.SyncAPIClient

    def wrap(self) -> None:
        self.before = vars(self.owner)["request"]
        if self.kind == "wrapt":
            wrapt.wrap_function_wrapper(openai._base_client, "SyncAPIClient.request", self._call)
        elif self.kind == "functools":
            functools.wraps(self.before)(lambda *args, **kwargs: None)
            before = self.before

            @functools.wraps(before)
            def around(client: Any, *args: Any, **kwargs: Any) -> Any:
                self.calls += 1
                return before.__get__(client)(*args, **kwargs)

            self.owner.request = around
        else:
            before = self.before

            def bare(client: Any, *args: Any, **kwargs: Any) -> Any:
                self.calls += 1
                return before.__get__(client)(*args, **kwargs)

            self.owner.request = bare

    def _call(self, wrapped: Any, _: Any, args: Any, kwargs: Any) -> Any:
        self.calls += 1
        return wrapped(*args, **kwargs)

    def put_back(self) -> None:
        """As a careful tool does."""
        self.owner.request = self.before

    def pop(self) -> None:
        """As OpenTelemetry's `unwrap` does: whatever is outermost goes."""
        self.owner.request = vars(self.owner)["request"].__wrapped__


KINDS = pytest.mark.parametrize("kind", ["wrapt", "functools", "bare"])


@KINDS
def test_with_another_tool_around_it_each_call_is_one_charge(kind: str, payer: Paying, chat: openai.OpenAI) -> None:
    tool = Tool(kind)
    tool.wrap()
    chat.chat.completions.create(**ASK)
    budgeted.instrument()
    chat.chat.completions.create(**ASK)
    budgeted.uninstrument()
    chat.chat.completions.create(**ASK)
    budgeted.instrument()
    chat.chat.completions.create(**ASK)
    assert tool.calls == 4
    assert payer.charges() == 3
    tool.put_back()
    budgeted.instrument()
    chat.chat.completions.create(**ASK)
    assert payer.charges() == 4
    assert tool.calls == 4


@KINDS
def test_with_another_tool_inside_it_each_call_is_one_charge(
    kind: str, payer: Paying, chat: openai.OpenAI, provider: SimulatedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    budgeted.uninstrument()
    tool = Tool(kind)
    tool.wrap()
    budgeted.instrument()
    chat.chat.completions.create(**ASK)
    assert tool.calls == 1
    payer.agrees()
    tool.put_back()  # takes ours along
    with payer.manager.budget("bob"):
        chat.chat.completions.create(**ASK)
    assert "SyncAPIClient.request" in caplog.text
    payer.agrees(calls=2)


def test_a_tool_that_pops_our_wrapper_instead_of_its_own_does_not_end_metering(
    payer: Paying, chat: openai.OpenAI
) -> None:
    budgeted.uninstrument()
    tool = Tool("wrapt")
    tool.wrap()
    budgeted.instrument()
    tool.pop()
    assert _wrappers() == 1
    with payer.block():
        chat.chat.completions.create(**ASK)
    payer.agrees()


@KINDS
def test_whatever_other_tools_do_between_blocks_each_call_in_a_block_is_one_charge(
    kind: str, payer: Paying, chat: openai.OpenAI
) -> None:
    tools = [Tool(kind), Tool("wrapt")]
    steps = [
        tools[0].wrap,
        tools[1].wrap,
        tools[0].put_back,
        tools[1].put_back,
        tools[1].wrap,
        tools[1].pop,
        tools[1].pop if kind != "bare" else tools[0].put_back,
        lambda: setattr(tools[0].owner, "request", inspect.unwrap(vars(tools[0].owner)["request"])),
    ]
    for step in steps:
        step()
        with payer.block():
            chat.chat.completions.create(**ASK)
    payer.agrees(calls=len(steps))


def test_a_function_that_another_tool_deletes_is_left_to_whoever_calls_it(payer: Paying, chat: openai.OpenAI) -> None:
    place = openai._base_client.SyncAPIClient
    request = vars(place)["request"]
    with payer.block():
        del place.request
    with payer.block(), pytest.raises(AttributeError):
        chat.chat.completions.create(**ASK)
    place.request = request
    with payer.block():
        chat.chat.completions.create(**ASK)
    payer.agrees()


def test_taken_out_by_their_user_the_hooks_stay_out(payer: Paying, chat: openai.OpenAI) -> None:
    budgeted.uninstrument()
    with payer.block():
        chat.chat.completions.create(**ASK)
    assert payer.charges() == 0


def test_a_client_that_was_made_and_used_before_the_hooks_went_in_is_metered(
    payer: Paying, provider: SimulatedProvider
) -> None:
    budgeted.uninstrument()
    with openai.OpenAI(base_url=provider.openai_url, api_key="any") as early:
        create, raw = early.chat.completions.create, early.chat.completions.with_raw_response
        create(**ASK)
        provider.reset()
        budgeted.instrument()
        create(**ASK)
        raw.create(**ASK)
    payer.agrees(calls=2)


IMPORTS = {
    "before": "import openai, budgeted\nbudgeted.instrument()",
    "after": "import budgeted\nbudgeted.instrument()\nimport openai",
    "between": "import budgeted\nbudgeted.instrument()\nbudgeted.uninstrument()\nimport openai\nbudgeted.instrument()",
    "by a manager": "import budgeted\nbudgeted.configure(max_budget=2, ledger='memory://')\nimport openai",
    "in another thread": """
import threading, budgeted
def load():
    import openai, anthropic
threads = [threading.Thread(target=load) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(200): budgeted.instrument()
for thread in threads: thread.join()
import openai
budgeted.instrument()
""",
    "in another thread, with the hooks going in and out": """
import threading, budgeted
budgeted.instrument()
def load():
    import openai, anthropic
threads = [threading.Thread(target=load) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(200): budgeted.uninstrument(); budgeted.instrument()
for thread in threads: thread.join()
import openai
budgeted.instrument()
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("order", IMPORTS.values(), ids=IMPORTS)
def test_it_does_not_matter_when_the_sdk_is_imported(order: str, provider: SimulatedProvider) -> None:
    script = f"""{order}
manager = budgeted.configure(max_budget=2, ledger="memory://")
with budgeted.budget("alice") as block:
    openai.OpenAI(base_url={provider.openai_url!r}, api_key="any").chat.completions.create(**{ASK!r})
print(block.calls, round(manager.balance().spent * 1e9))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stderr == ""
    assert ran.stdout.split() == ["1", str(provider.billed_nano())]


@pytest.mark.slow
def test_importing_the_package_patches_nothing_and_imports_no_sdk() -> None:
    script = "import threading, sys; start = threading.Thread.start; import budgeted\n"
    script += "assert threading.Thread.start is start; print('openai' in sys.modules, 'anthropic' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split() == ["False", "False"]


def test_an_sdk_without_the_function_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    strange = monkeypatching.Hook("openai._base_client", "SyncAPIClient.no_such_method", lambda *_: None)
    absent = monkeypatching.Hook("no_such_sdk", "Client.request", lambda *_: None)
    for _ in range(3):
        monkeypatching.install([strange, absent])
    assert caplog.text.count("no_such_method are not metered") == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    monkeypatching.remove([strange, absent])
    monkeypatching._missing.pop(strange, None)


def test_a_function_is_found_by_the_name_that_older_versions_give_it(caplog: pytest.LogCaptureFixture) -> None:
    hook = monkeypatching.Hook(
        "openai._base_client", "make_new_name", lambda *_: None, formerly="make_request_options", watched=False
    )
    monkeypatching.install([hook])
    try:
        assert isinstance(openai._base_client.make_request_options, wrapt.FunctionWrapper)
        assert not caplog.records
    finally:
        monkeypatching.remove([hook])
        del monkeypatching._places[hook]
    assert not isinstance(openai._base_client.make_request_options, wrapt.FunctionWrapper)


# -- threads


def _ask(client: openai.OpenAI) -> None:
    client.chat.completions.create(**ASK)


def test_threads_are_paid_for_by_whoever_started_them(payer: Paying, chat: openai.OpenAI) -> None:
    class Worker(threading.Thread):
        def run(self) -> None:
            _ask(chat)

    with payer.block("alice"):
        started: list[threading.Thread] = [
            threading.Thread(target=_ask, args=(chat,)),
            Worker(),
            threading.Timer(0, _ask, [chat]),
        ]
        for thread in started:
            thread.start()
    for thread in started:
        thread.join()
    payer.agrees(calls=3)
    assert payer.manager.report("user")["alice"].calls == 3


def test_a_tool_may_take_a_threads_run_apart(payer: Paying, chat: openai.OpenAI, monkeypatch: Any) -> None:
    inner = threading.Thread.start.__wrapped__  # type: ignore[attr-defined]

    def start(thread: threading.Thread) -> None:
        run = thread.run.__func__  # type: ignore[attr-defined]
        thread.run = lambda: run(thread)  # type: ignore[method-assign]
        inner(thread)

    budgeted.uninstrument()
    monkeypatch.setattr(threading.Thread, "start", start)
    budgeted.instrument()
    with payer.block("alice"):
        thread = threading.Thread(target=_ask, args=(chat,))
        thread.start()
    thread.join()
    payer.agrees()
    assert set(payer.manager.report("user")) == {"alice"}
    budgeted.uninstrument()


def test_a_pools_tasks_are_paid_for_by_whoever_submitted_them(payer: Paying, chat: openai.OpenAI) -> None:
    with ThreadPoolExecutor(1) as pool:
        with payer.block("alice"):  # starts the one worker
            pool.submit(_ask, chat).result()
            list(pool.map(_ask, [chat]))
        with payer.block("bob"):
            pool.submit(_ask, chat).result()
        pool.submit(_ask, chat).result()
    payer.agrees(calls=4)
    assert {user: row.calls for user, row in payer.manager.report("user").items()} == {
        "alice": 2,
        "bob": 1,
        "(nobody)": 1,
    }


def test_executors_of_event_loops_carry_the_payer(payer: Paying, chat: openai.OpenAI) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with payer.block("alice"):
            await asyncio.to_thread(_ask, chat)
            await loop.run_in_executor(None, _ask, chat)
        async with payer.block("bob"):
            await loop.run_in_executor(None, _ask, chat)
        await loop.run_in_executor(None, _ask, chat)

    asyncio.run(main())
    payer.agrees(calls=4)
    assert {user: row.calls for user, row in payer.manager.report("user").items()} == {
        "alice": 2,
        "bob": 1,
        "(nobody)": 1,
    }


def test_tasks_keep_the_payer_they_were_made_with(payer: Paying, async_chat: openai.AsyncOpenAI) -> None:
    async def ask() -> None:
        await async_chat.chat.completions.create(**ASK)

    async def main() -> None:
        async with async_chat:
            with payer.block("alice"):
                task = asyncio.create_task(ask())
            with payer.block("bob"):
                await asyncio.gather(task, ask())

    asyncio.run(main())
    payer.agrees(calls=2)
    assert {user: row.calls for user, row in payer.manager.report("user").items()} == {"alice": 1, "bob": 1}


def test_a_bound_function_is_paid_for_wherever_it_runs(payer: Paying, chat: openai.OpenAI) -> None:
    with payer.block("alice"):
        bound = budgeted.bind(_ask)
    with payer.block("bob"):
        contextvars.Context().run(bound, chat)
        _ask(chat)
    payer.agrees(calls=2)
    assert {user: row.calls for user, row in payer.manager.report("user").items()} == {"alice": 1, "bob": 1}


def test_without_the_hooks_threads_are_left_alone() -> None:
    budgeted.uninstrument()
    assert not isinstance(vars(threading.Thread)["start"], wrapt.FunctionWrapper)
    assert not isinstance(vars(ThreadPoolExecutor)["submit"], wrapt.FunctionWrapper)


def test_both_sdks_are_told_apart(
    payer: Paying, chat: openai.OpenAI, claude: anthropic.Anthropic, provider: SimulatedProvider
) -> None:
    with payer.block():
        _ask(chat)
        claude.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=MESSAGES)
    payer.agrees(calls=2)
    assert set(payer.manager.report("provider")) == {"openai", "anthropic"}
