"""Whatever way LiteLLM is called, one call is one charge, equal to the bill to the nano-dollar."""

from __future__ import annotations

import asyncio
import gc
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import litellm
import pydantic
import pytest
from litellm import completion as imported_by_name
from litellm_marks import MARKS
from paying import MESSAGES
from ways import consumer_raises, each_way

import budgeted
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = MARKS


class City(pydantic.BaseModel):
    name: str
    people: int


class At:
    """Arguments that lead to the simulated provider."""

    def __init__(self, provider: SimulatedProvider) -> None:
        to_openai = {"api_base": provider.openai_url, "api_key": "any"}
        to_anthropic = {"api_base": provider.anthropic_url, "api_key": "any"}
        self.gpt = {"model": "openai/gpt-5-mini", "max_retries": 0, **to_openai}
        self.claude = {"model": "anthropic/claude-haiku-4-5", "max_tokens": 2000, **to_anthropic}
        self.instruct = {"model": "text-completion-openai/gpt-3.5-turbo-instruct", **to_openai}
        self.embedding = {"model": "openai/text-embedding-3-small", **to_openai}


@pytest.fixture
def at(provider: SimulatedProvider) -> At:
    return At(provider)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    litellm.suppress_debug_info = True
    litellm.in_memory_llm_clients_cache.flush_cache()  # its clients belong to event loops of earlier tests
    yield
    litellm.cache = None
    gc.collect()  # what it leaves open is collected here, where that is no error


def _completion(at: At) -> None:
    assert litellm.completion(**at.gpt, messages=MESSAGES).choices[0].message.content


def _completion_by_position(at: At) -> None:
    given = dict(at.gpt)
    litellm.completion(given.pop("model"), MESSAGES, 30, **given)


def _completion_imported_by_its_name(at: At) -> None:
    imported_by_name(**at.claude, messages=MESSAGES)


def _completion_of_its_module(at: At) -> None:
    litellm.main.completion(**at.claude, messages=MESSAGES)


def _several_answers(at: At) -> None:
    assert len(litellm.completion(**at.gpt, messages=MESSAGES, n=3).choices) == 3


def _structured(at: At) -> None:
    answer = litellm.completion(**at.gpt, messages=MESSAGES, response_format=City)
    City.model_validate_json(answer.choices[0].message.content)


def _stream(at: At) -> None:
    stream = litellm.completion(**at.gpt, messages=MESSAGES, stream=True)
    assert isinstance(stream, litellm.CustomStreamWrapper)
    assert not any(getattr(chunk, "usage", None) for chunk in stream)


def _stream_with_usage(at: At) -> None:
    stream = litellm.completion(**at.gpt, messages=MESSAGES, stream=True, stream_options={"include_usage": True})
    assert list(stream)[-1].usage.completion_tokens


def _stream_of_claude(at: At) -> None:
    assert len(list(litellm.completion(**at.claude, messages=MESSAGES, stream=True))) > 2


def _stream_with_next(at: At) -> None:
    stream = litellm.completion(**at.claude, messages=MESSAGES, stream=True)
    while next(stream, None) is not None:
        pass


def _text_completion(at: At) -> None:
    assert litellm.text_completion(**at.instruct, prompt="Once upon a time", max_tokens=20).choices[0].text


def _text_completion_stream(at: At) -> None:
    chunks = list(litellm.text_completion(**at.instruct, prompt="Once upon a time", max_tokens=20, stream=True))
    assert not any(getattr(chunk, "usage", None) for chunk in chunks)


def _text_completion_of_chat(at: At) -> None:
    assert litellm.text_completion(**at.claude, prompt="Once upon a time").choices[0].text


def _embedding(at: At) -> None:
    assert litellm.embedding(**at.embedding, input=["Hello", "there"]).data


def _responses(at: At) -> None:
    assert litellm.responses(**at.gpt, input="Hello there").output


def _responses_stream(at: At) -> None:
    events = list(litellm.responses(**at.gpt, input="Hello there", stream=True))
    assert events[-1].type == "response.completed"


def _responses_of_claude(at: At) -> None:
    given = {name: value for name, value in at.claude.items() if name != "max_tokens"}
    assert litellm.responses(**given, input="Hello there", max_output_tokens=300).output


def _router(at: At) -> None:
    router = litellm.Router(model_list=[{"model_name": "mini", "litellm_params": at.gpt}])
    assert router.completion("mini", MESSAGES).choices


def _router_stream(at: At) -> None:
    router = litellm.Router(model_list=[{"model_name": "claude", "litellm_params": at.claude}])
    assert list(router.completion("claude", MESSAGES, stream=True))


@each_way(globals())
def test_every_way_of_calling_is_one_exact_charge(way: Callable[[At], None], payer: Paying, at: At) -> None:
    payer.pays_once(way, at)


async def _completion_async(at: At) -> None:
    assert (await litellm.acompletion(**at.gpt, messages=MESSAGES)).choices


async def _completion_of_claude_async(at: At) -> None:
    assert (await litellm.acompletion(**at.claude, messages=MESSAGES)).choices


async def _stream_async(at: At) -> None:
    stream = await litellm.acompletion(**at.gpt, messages=MESSAGES, stream=True)
    assert isinstance(stream, litellm.CustomStreamWrapper)
    assert not any([getattr(chunk, "usage", None) async for chunk in stream])


async def _stream_of_claude_async(at: At) -> None:
    assert len([chunk async for chunk in await litellm.acompletion(**at.claude, messages=MESSAGES, stream=True)]) > 2


async def _text_completion_async(at: At) -> None:
    assert (await litellm.atext_completion(**at.instruct, prompt="Once", max_tokens=20)).choices


async def _text_completion_stream_async(at: At) -> None:
    stream = await litellm.atext_completion(**at.instruct, prompt="Once", max_tokens=20, stream=True)
    assert [chunk async for chunk in stream]


async def _embedding_async(at: At) -> None:
    assert (await litellm.aembedding(**at.embedding, input=["Hello", "there"])).data


async def _responses_async(at: At) -> None:
    assert (await litellm.aresponses(**at.gpt, input="Hello there")).output


async def _responses_stream_async(at: At) -> None:
    events = [event async for event in await litellm.aresponses(**at.gpt, input="Hello there", stream=True)]
    assert events[-1].type == "response.completed"


async def _router_async(at: At) -> None:
    router = litellm.Router(model_list=[{"model_name": "mini", "litellm_params": at.gpt}])
    assert (await router.acompletion("mini", MESSAGES)).choices


async def _router_stream_async(at: At) -> None:
    router = litellm.Router(model_list=[{"model_name": "claude", "litellm_params": at.claude}])
    assert [chunk async for chunk in await router.acompletion("claude", MESSAGES, stream=True)]


async def _router_embedding_async(at: At) -> None:
    router = litellm.Router(model_list=[{"model_name": "small", "litellm_params": at.embedding}])
    assert (await router.aembedding("small", input=["Hello"])).data


@each_way(globals(), suffix="_async")
def test_every_asynchronous_way_of_calling_is_one_exact_charge(way: Callable[[At], Any], payer: Paying, at: At) -> None:
    payer.awaits_once(way, nullcontext(at))


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_cached_at_the_provider_is_charged_at_its_own_rates(
    stream: bool, payer: Paying, at: At, provider: SimulatedProvider
) -> None:
    text = {"type": "text", "text": "Hello " * 2000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    provider.reply(input_tokens=9000, cache_write_tokens=3000, cache_write_1h_tokens=1000, cached_tokens=2500)
    with payer.block():
        list(litellm.completion(**at.claude, messages=[{"role": "user", "content": [text]}], stream=stream))
    payer.agrees()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_from_litellms_cache_costs_nothing(stream: bool, payer: Paying, at: At) -> None:
    litellm.cache = litellm.Cache(type="local")
    with payer.block() as block:
        for _ in range(3):
            list(litellm.completion(**at.gpt, messages=MESSAGES, caching=True, stream=stream))
    payer.agrees()
    assert block.calls == 1


def test_a_mocked_answer_costs_nothing(payer: Paying) -> None:
    with payer.block() as block:
        assert litellm.completion("gpt-5-mini", MESSAGES, mock_response="Hello").choices
    assert block.calls == payer.spent == 0


@pytest.mark.parametrize("model", ["gpt", "claude"])
@pytest.mark.parametrize("ending", ["break", "deleted", "exception", "dropped", "never_read"])
def test_a_stream_that_is_left_or_broken_is_an_estimate(
    ending: str, model: str, payer: Paying, at: At, provider: SimulatedProvider
) -> None:
    provider.reply(**({"drop_after": 2} if ending == "dropped" else {"gate_after": 2}))
    with payer.block():
        stream = litellm.completion(**getattr(at, model), messages=MESSAGES, stream=True)
        if ending == "dropped":
            with pytest.raises(Exception, match=r".+"):
                list(stream)
        elif ending == "exception":
            consumer_raises(stream)
        elif ending != "never_read":
            next(stream)
        del stream
    gc.collect()
    provider.release()
    payer.guessed()


def test_a_task_that_is_cancelled_while_it_reads_leaves_an_estimate(
    payer: Paying, at: At, provider: SimulatedProvider
) -> None:
    provider.reply(gate_after=2)

    async def read() -> None:
        async for _ in await litellm.acompletion(**at.gpt, messages=MESSAGES, stream=True):
            pass

    async def main() -> None:
        with payer.block():
            task = asyncio.create_task(read())
            await asyncio.to_thread(provider.wait_parked)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    payer.guessed()


def test_a_call_that_does_not_fit_is_refused_before_it_is_sent(
    paying: Callable[..., Paying], at: At, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.001")
    with payer.block():
        with pytest.raises(budgeted.BudgetExceededError):
            litellm.completion(**at.claude, messages=MESSAGES)
        with pytest.raises(budgeted.BudgetExceededError):
            asyncio.run(litellm.acompletion(**at.claude, messages=MESSAGES))
    assert provider.requests == []


def test_a_request_without_a_cap_gets_one_where_money_is_short(
    paying: Callable[..., Paying], at: At, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.10")
    with payer.block() as block:
        litellm.completion(**at.gpt, messages=MESSAGES)
        litellm.responses(**at.gpt, input="Hello")
    assert provider.requests[0].body["max_completion_tokens"] < 128_000
    assert provider.requests[1].body["max_output_tokens"] < 128_000
    assert block.clamped == 2
    payer.agrees(calls=2)


def test_a_fallback_may_be_of_another_provider(
    paying: Callable[..., Paying], at: At, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.005", fallback=("openai/gpt-5-mini",), wait=0)
    given = {**at.claude, "api_base": provider.openai_url}
    with payer.block():
        litellm.completion(**given, messages=MESSAGES)
    assert provider.requests[0].body["model"] == "gpt-5-mini"
    payer.agrees()


@pytest.mark.parametrize("model", ["gpt", "claude"])
def test_what_the_provider_refuses_costs_nothing(
    model: str, payer: Paying, at: At, provider: SimulatedProvider
) -> None:
    provider.reply(status=400)
    with payer.block(), pytest.raises(litellm.BadRequestError):
        litellm.completion(**getattr(at, model), messages=MESSAGES)
    payer.agrees(calls=0)


@pytest.mark.parametrize("model", ["gpt", "claude"])
@pytest.mark.parametrize("how", ["drop", "timeout"])
def test_a_call_that_was_cut_off_after_sending_is_uncertain(
    how: str, model: str, payer: Paying, at: At, provider: SimulatedProvider
) -> None:
    provider.reply(**({"drop": True} if how == "drop" else {"hang": True}))
    with payer.block(), pytest.raises(Exception, match=r".+"):
        litellm.completion(**getattr(at, model), messages=MESSAGES, timeout=0.3)
    with payer.block(), pytest.raises(Exception, match=r".+"):
        asyncio.run(litellm.acompletion(**getattr(at, model), messages=MESSAGES, timeout=0.3))
    provider.release()
    payer.guessed(calls=len(provider.bill))


def test_a_call_to_nowhere_costs_nothing(payer: Paying, at: At) -> None:
    with payer.block(), pytest.raises(Exception, match=r"(?i)connect"):
        litellm.completion(**at.gpt | {"api_base": "http://127.0.0.1:9/v1"}, messages=MESSAGES)
    payer.agrees(calls=0)


def test_each_attempt_of_the_router_holds_for_itself(payer: Paying, at: At, provider: SimulatedProvider) -> None:
    router = litellm.Router(model_list=[{"model_name": "mini", "litellm_params": at.gpt}], num_retries=1, retry_after=0)
    provider.queue(Reply(status=500))
    with payer.block() as block:
        assert router.completion("mini", MESSAGES).choices
    payer.agrees()
    assert block.calls == len(provider.requests) == 2


def test_a_model_that_nobody_priced_is_refused(payer: Paying, at: At, provider: SimulatedProvider) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="register_price"):
        litellm.completion(**at.gpt | {"model": "hosted_vllm/house-model"}, messages=MESSAGES)
    assert provider.requests == []


def test_a_background_response_is_refused_inside_a_budget(payer: Paying, at: At, provider: SimulatedProvider) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match="background"):
        litellm.responses(**at.gpt, input="Hello", background=True)
    assert provider.requests == []


CLAUDE: dict[str, Any] = {"model": "anthropic/claude-haiku-4-5", "messages": MESSAGES, "max_tokens": 9}
GEMINI: dict[str, Any] = {"model": "gemini/gemini-2.5-flash", "contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
DOCUMENT = {"type": "document_url", "document_url": "https://example.com/a.pdf"}
RERANK: dict[str, Any] = {"model": "cohere/rerank-v3.5", "query": "budgets", "documents": ["nice"]}
SENT_BY_ITSELF: dict[str, Callable[..., Any]] = {
    "rerank": lambda **to: litellm.rerank(**RERANK, **to),
    "arerank": lambda **to: asyncio.run(litellm.arerank(**RERANK, **to)),
    "pictures": lambda **to: litellm.image_generation("a budget", "vertex_ai/imagen-4", **to),
    "apictures": lambda **to: asyncio.run(litellm.aimage_generation("a budget", "bedrock/stability.sd3", **to)),
    "speech": lambda **to: litellm.speech("vertex_ai/chirp", "a budget", **to),
    "transcript": lambda **to: litellm.transcription("deepgram/nova-2", ("a.mp3", b"sound"), **to),
    "batch": lambda **to: litellm.create_batch("24h", "/v1/chat/completions", "file_1", "openai", **to),
    "video": lambda **to: litellm.video_generation("a budget", "openai/sora-2", **to),
    "search": lambda **to: litellm.search(query="budgets", search_provider="tavily", **to),
    "ocr": lambda **to: litellm.ocr("mistral/mistral-ocr-latest", DOCUMENT, **to),
    "aocr": lambda **to: asyncio.run(litellm.aocr("mistral/mistral-ocr-latest", DOCUMENT, **to)),
    "messages": lambda **to: asyncio.run(litellm.anthropic_messages(**CLAUDE, **to)),
    "sync messages": lambda **to: litellm.anthropic.messages.create(**CLAUDE, **to),
    "gemini": lambda **to: litellm.google_genai.generate_content(**GEMINI, **to),
    "agemini": lambda **to: asyncio.run(litellm.google_genai.agenerate_content(**GEMINI, **to)),
}


@pytest.mark.parametrize("send", SENT_BY_ITSELF.values(), ids=SENT_BY_ITSELF.keys())
def test_what_litellm_sends_by_itself_and_reports_in_other_words_is_refused(
    send: Callable[..., Any], payer: Paying, provider: SimulatedProvider
) -> None:
    with payer.block(), pytest.raises(budgeted.UnpricedModelError, match=r"budgeted\.hold\(cost=USD\)"):
        send(api_base=provider.url, api_key="any")
    assert provider.requests == []


def test_what_goes_through_a_hooked_sdk_or_litellms_completions_is_charged_there(
    payer: Paying, provider: SimulatedProvider
) -> None:
    to: dict[str, Any] = {"api_base": provider.openai_url, "api_key": "any"}
    with payer.block():
        litellm.image_generation(prompt="a budget", model="gpt-image-1", **to)
        asyncio.run(litellm.anthropic_messages(**{**CLAUDE, "model": "groq/llama-3.3-70b-versatile"}, **to))
        assert litellm.image_generation(prompt="a budget", model="vertex_ai/imagen-4", mock_response="one").data
    payer.agrees(calls=2)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_refusal_inside_other_functions_reaches_the_caller_as_it_is(
    asynchronous: bool, payer: Paying, provider: SimulatedProvider
) -> None:
    ask: dict[str, Any] = {"prompt": "a budget", "model": "gpt-image-1", "api_base": provider.openai_url}
    with payer.block(cap="0.000001"), pytest.raises(budgeted.BudgetExceededError):
        if asynchronous:
            asyncio.run(litellm.aimage_generation(**ask, api_key="any"))
        else:
            litellm.image_generation(**ask, api_key="any")
    assert provider.requests == []


def test_a_decorated_function_around_it_is_one_charge(payer: Paying, at: At) -> None:
    @payer.manager.budgeted("alice")
    def ask(model: str, messages: list[Any]) -> Any:
        return litellm.completion(**at.gpt | {"model": model}, messages=messages)

    assert ask("openai/gpt-5-mini", MESSAGES).choices
    payer.agrees()
    assert payer.manager.balance("alice").spent > 0


def test_it_can_be_taken_out_and_put_in_again(payer: Paying, at: At, provider: SimulatedProvider) -> None:
    budgeted.uninstrument()
    imported_by_name(**at.claude, messages=MESSAGES)
    budgeted.instrument()
    assert payer.charges() == 0
    assert len(provider.bill) == 1
    imported_by_name(**at.claude, messages=MESSAGES)
    assert payer.charges() == 1


# -- searches


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.5-flash"])
def test_searches_of_google_are_held_and_charged(
    model: str, stream: bool, payer: Paying, provider: SimulatedProvider
) -> None:
    provider.reply(searches=3)
    to = {"api_base": f"{provider.url}/v1beta/models/{model}", "api_key": "any", "num_retries": 0}
    ask = {"model": f"gemini/{model}", "messages": MESSAGES, "tools": [{"googleSearch": {}}], "max_tokens": 100, **to}
    with payer.block(cap="0.34"), pytest.raises(budgeted.BudgetExceededError):
        litellm.completion(**ask)
    assert provider.requests == []
    with payer.block():
        answer = litellm.completion(**ask, stream=stream)
        assert list(answer)
    payer.agrees()


def test_searches_of_anthropic_are_held_as_often_as_the_request_allows(
    payer: Paying, at: At, provider: SimulatedProvider
) -> None:
    provider.reply(searches=2)
    ask = {**at.claude, "messages": MESSAGES, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}
    with payer.block(cap="0.30"), pytest.raises(budgeted.BudgetExceededError):  # a window at 1.25, and ten searches
        litellm.completion(**ask)
    with payer.block(cap="0.30"):
        litellm.completion(**{**ask, "tools": [{**ask["tools"][0], "max_uses": 2}]})
    payer.agrees()


SOUND_DATA = {"data": "A" * 160_000, "format": "wav"}
SOUND = [{"role": "user", "content": [{"type": "input_audio", "input_audio": SOUND_DATA}]}]
KEPT = [{"type": "function", "function": {"name": "x" * 10_000}, "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize(
    ("ask", "cap"),
    [
        ({"model": "gemini/gemini-2.5-flash-image", "messages": MESSAGES, "max_tokens": 2_000}, "0.05"),
        ({"model": "gemini/gemini-2.5-flash", "messages": SOUND, "max_tokens": 1}, "0.009"),
        ({"model": "claude-sonnet-4-5", "messages": MESSAGES, "max_tokens": 1, "tools": KEPT}, "0.036"),
    ],
    ids=["pictures", "sound", "cache"],
)
def test_dearer_tokens_are_held_at_their_own_price(ask: dict[str, Any], cap: str, payer: Paying) -> None:
    with payer.block(cap=cap, wait=0), pytest.raises(budgeted.BudgetExceededError):
        litellm.completion(**ask, api_base="http://127.0.0.1:9", api_key="any")


@pytest.mark.parametrize(
    ("more", "sent"),
    [({}, 0), ({"reasoning_effort": "none"}, 1), ({"reasoning_effort": "minimal"}, 1)],
    ids=str,
)
def test_a_model_that_thinks_is_not_cut_so_low_that_no_answer_is_left(
    more: dict[str, Any], sent: int, paying: Callable[..., Paying], at: At, provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.006", wait=0)  # 3,000 tokens of output
    with payer.block(), suppress(budgeted.BudgetExceededError):
        litellm.completion(messages=MESSAGES, allowed_openai_params=list(more), **at.gpt, **more)
    assert len(provider.requests) == sent


@pytest.mark.parametrize(
    "reference",
    [{"previous_response_id": "resp_1"}, {"prompt": {"id": "pmpt_1"}}, {"extra_body": {"conversation": "c"}}],
)
def test_what_a_response_is_only_referred_to_is_held_at_the_context_window(
    reference: dict[str, Any], payer: Paying, at: At, provider: SimulatedProvider
) -> None:
    with payer.block(cap="0.06"), pytest.raises(budgeted.BudgetExceededError):
        litellm.responses(input="Go on.", max_output_tokens=100, **at.gpt, **reference)
    assert provider.requests == []
