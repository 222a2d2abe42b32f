"""The libraries of providers whose calls no SDK's hook sees, each as it is called, and how each is led to loopback.

Most have an option for their address. What leads the others is said where they are called. `CALLS` has all of them,
and the HTTP clients by hand.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import http_by_hand
import httpx
from net_calls import ANY, MAX_TOKENS, MESSAGES, QUESTION, NetCalls, text_of, text_of_awaited_chunks, text_of_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budgeted.testing import SimulatedProvider

CALLS = NetCalls()

ASK: dict[str, Any] = {"messages": MESSAGES, "max_tokens": MAX_TOKENS}
TEXTS = ["Lisbon is a city. " * 700, "So is Oslo. " * 700]
"""What is embedded, at more than 0.0001 USD."""


# -- Hugging Face: `base_url` is an address at its router, with the path of a provider behind it

ROUTED = "deepseek-ai/DeepSeek-V3.1"
FEATURES = "intfloat/multilingual-e5-large"
huggingface = CALLS.of("huggingface_together", ROUTED)


def _huggingface(provider: SimulatedProvider) -> Any:
    from huggingface_hub import InferenceClient

    return InferenceClient(base_url=f"{provider.url}/together/v1", api_key=ANY)


def _huggingface_async(provider: SimulatedProvider) -> Any:
    from huggingface_hub import AsyncInferenceClient

    return AsyncInferenceClient(base_url=f"{provider.url}/together/v1", api_key=ANY)


@huggingface
def huggingface_hub(provider: SimulatedProvider) -> str:
    with _huggingface(provider) as client:
        return text_of(client.chat_completion(model=ROUTED, **ASK))


@huggingface
def huggingface_hub_stream(provider: SimulatedProvider) -> str:
    with _huggingface(provider) as client:
        return text_of_chunks(client.chat_completion(model=ROUTED, stream=True, **ASK))


@huggingface
async def huggingface_hub_async(provider: SimulatedProvider) -> str:
    async with _huggingface_async(provider) as client:
        return text_of(await client.chat_completion(model=ROUTED, **ASK))


@huggingface
async def huggingface_hub_async_stream(provider: SimulatedProvider) -> str:
    async with _huggingface_async(provider) as client:
        return await text_of_awaited_chunks(await client.chat_completion(model=ROUTED, stream=True, **ASK))


@CALLS.of(None, FEATURES, "embeddings", tells=False)
def huggingface_hub_features(provider: SimulatedProvider) -> str:
    from huggingface_hub import InferenceClient

    where = f"{provider.url}/hf-inference/models/{FEATURES}/pipeline/feature-extraction"
    return str(InferenceClient(api_key=ANY).feature_extraction(QUESTION, model=where))


# -- Together: `base_url`

TOGETHER = "Qwen/Qwen3.5-9B"
together_chat = CALLS.of("together", TOGETHER)


@together_chat
def together(provider: SimulatedProvider) -> str:
    from together import Together

    with Together(api_key=ANY, base_url=f"{provider.url}/together", max_retries=0) as client:
        return text_of(client.chat.completions.create(model=TOGETHER, **ASK))


@together_chat
def together_stream(provider: SimulatedProvider) -> str:
    from together import Together

    with Together(api_key=ANY, base_url=f"{provider.url}/together", max_retries=0) as client:
        return text_of_chunks(client.chat.completions.create(model=TOGETHER, stream=True, **ASK))


@together_chat
async def together_async(provider: SimulatedProvider) -> str:
    from together import AsyncTogether

    async with AsyncTogether(api_key=ANY, base_url=f"{provider.url}/together", max_retries=0) as client:
        return text_of(await client.chat.completions.create(model=TOGETHER, **ASK))


@together_chat
async def together_async_stream(provider: SimulatedProvider) -> str:
    from together import AsyncTogether

    async with AsyncTogether(api_key=ANY, base_url=f"{provider.url}/together", max_retries=0) as client:
        return await text_of_awaited_chunks(await client.chat.completions.create(model=TOGETHER, stream=True, **ASK))


# -- Fireworks: `base_url`

FIREWORKS = "accounts/fireworks/models/glm-4p7"
fireworks_chat = CALLS.of("fireworks", FIREWORKS)


@fireworks_chat
def fireworks(provider: SimulatedProvider) -> str:
    from fireworks import Fireworks

    with Fireworks(api_key=ANY, base_url=f"{provider.url}/fireworks/inference", max_retries=0) as client:
        return text_of(client.chat.completions.create(model=FIREWORKS, **ASK))


@fireworks_chat
def fireworks_stream(provider: SimulatedProvider) -> str:
    from fireworks import Fireworks

    with Fireworks(api_key=ANY, base_url=f"{provider.url}/fireworks/inference", max_retries=0) as client:
        return text_of_chunks(client.chat.completions.create(model=FIREWORKS, stream=True, **ASK))


@fireworks_chat
async def fireworks_async(provider: SimulatedProvider) -> str:
    from fireworks import AsyncFireworks

    async with AsyncFireworks(api_key=ANY, base_url=f"{provider.url}/fireworks/inference", max_retries=0) as client:
        return text_of(await client.chat.completions.create(model=FIREWORKS, **ASK))


# -- Perplexity: `base_url`

PERPLEXITY = "sonar"
perplexity_chat = CALLS.of("perplexity", PERPLEXITY)


@perplexity_chat
def perplexity(provider: SimulatedProvider) -> str:
    from perplexity import Perplexity

    with Perplexity(api_key=ANY, base_url=f"{provider.url}/perplexity", max_retries=0) as client:
        return text_of(client.chat.completions.create(model=PERPLEXITY, **ASK))


@perplexity_chat
def perplexity_stream(provider: SimulatedProvider) -> str:
    from perplexity import Perplexity

    with Perplexity(api_key=ANY, base_url=f"{provider.url}/perplexity", max_retries=0) as client:
        return text_of_chunks(client.chat.completions.create(model=PERPLEXITY, stream=True, **ASK))


@perplexity_chat
async def perplexity_async(provider: SimulatedProvider) -> str:
    from perplexity import AsyncPerplexity

    async with AsyncPerplexity(api_key=ANY, base_url=f"{provider.url}/perplexity", max_retries=0) as client:
        return text_of(await client.chat.completions.create(model=PERPLEXITY, **ASK))


@CALLS.of("perplexity", "search", "search", tells=False)
def perplexity_search(provider: SimulatedProvider) -> str:
    from perplexity import Perplexity

    with Perplexity(api_key=ANY, base_url=f"{provider.url}/perplexity", max_retries=0) as client:
        return client.search.create(query=QUESTION).results[0].snippet


# -- Cerebras: `base_url`; without a first request that only opens the connection

CEREBRAS = "zai-glm-4.7"
cerebras_chat = CALLS.of("cerebras", CEREBRAS)


def _cerebras_options(provider: SimulatedProvider) -> dict[str, Any]:
    return {"api_key": ANY, "base_url": f"{provider.url}/cerebras", "warm_tcp_connection": False, "max_retries": 0}


@cerebras_chat
def cerebras(provider: SimulatedProvider) -> str:
    from cerebras.cloud.sdk import Cerebras

    with Cerebras(**_cerebras_options(provider)) as client:
        return text_of(client.chat.completions.create(model=CEREBRAS, **ASK))


@cerebras_chat
def cerebras_stream(provider: SimulatedProvider) -> str:
    from cerebras.cloud.sdk import Cerebras

    with Cerebras(**_cerebras_options(provider)) as client:
        return text_of_chunks(client.chat.completions.create(model=CEREBRAS, stream=True, **ASK))


@cerebras_chat
async def cerebras_async(provider: SimulatedProvider) -> str:
    from cerebras.cloud.sdk import AsyncCerebras

    async with AsyncCerebras(**_cerebras_options(provider)) as client:
        return text_of(await client.chat.completions.create(model=CEREBRAS, **ASK))


# -- Writer: `base_url`

WRITER = "palmyra-x5"
writer_chat = CALLS.of(None, WRITER)


@writer_chat
def writer(provider: SimulatedProvider) -> str:
    from writerai import Writer

    with Writer(api_key=ANY, base_url=f"{provider.url}/writer", max_retries=0) as client:
        return text_of(client.chat.chat(model=WRITER, **ASK))


@writer_chat
def writer_stream(provider: SimulatedProvider) -> str:
    from writerai import Writer

    with Writer(api_key=ANY, base_url=f"{provider.url}/writer", max_retries=0) as client:
        options: Any = {"include_usage": True}
        return text_of_chunks(client.chat.chat(model=WRITER, stream=True, stream_options=options, **ASK))


@writer_chat
async def writer_async(provider: SimulatedProvider) -> str:
    from writerai import AsyncWriter

    async with AsyncWriter(api_key=ANY, base_url=f"{provider.url}/writer", max_retries=0) as client:
        return text_of(await client.chat.chat(model=WRITER, **ASK))


@CALLS.of(None, WRITER, "completion", tells=False)
def writer_completions(provider: SimulatedProvider) -> str:
    from writerai import Writer

    with Writer(api_key=ANY, base_url=f"{provider.url}/writer", max_retries=0) as client:
        return client.completions.create(model=WRITER, prompt=QUESTION, max_tokens=MAX_TOKENS).choices[0].text


# -- OpenRouter: `server_url`

OPENROUTER = "amazon/nova-micro-v1"
openrouter_chat = CALLS.of("openrouter", OPENROUTER)


@openrouter_chat
def openrouter(provider: SimulatedProvider) -> str:
    from openrouter import OpenRouter

    with OpenRouter(api_key=ANY, server_url=f"{provider.url}/openrouter/api/v1") as client:
        return text_of(client.chat.send(model=OPENROUTER, **ASK))


@openrouter_chat
def openrouter_stream(provider: SimulatedProvider) -> str:
    from openrouter import OpenRouter

    with OpenRouter(api_key=ANY, server_url=f"{provider.url}/openrouter/api/v1") as client:
        return text_of_chunks(client.chat.send(model=OPENROUTER, stream=True, **ASK))


@openrouter_chat
async def openrouter_async(provider: SimulatedProvider) -> str:
    from openrouter import OpenRouter

    async with OpenRouter(api_key=ANY, server_url=f"{provider.url}/openrouter/api/v1") as client:
        return text_of(await client.chat.send_async(model=OPENROUTER, **ASK))


# -- Replicate: `base_url`. It is waited for, or asked for until it is there

REPLICATE = "meta/meta-llama-3-70b-instruct"
REPLICATE_INPUT = {"prompt": QUESTION, "max_tokens": MAX_TOKENS}
replicate_chat = CALLS.of(None, REPLICATE)


def _replicate(provider: SimulatedProvider) -> Any:
    import replicate

    client = replicate.Client(api_token=ANY, base_url=provider.url)
    client.poll_interval = 0.01
    return client


@replicate_chat
def replicate_run(provider: SimulatedProvider) -> str:
    return "".join(_replicate(provider).run(REPLICATE, input=REPLICATE_INPUT))


@replicate_chat
def replicate_polled(provider: SimulatedProvider) -> str:
    prediction = _replicate(provider).models.predictions.create(REPLICATE, input=REPLICATE_INPUT)
    prediction.wait()
    return "".join(prediction.output)


@replicate_chat
async def replicate_async(provider: SimulatedProvider) -> str:
    return "".join(await _replicate(provider).async_run(REPLICATE, input=REPLICATE_INPUT))


# -- Z.ai: `base_url`

ZAI = "glm-4.6"
zai_chat = CALLS.of("zai", ZAI)


@zai_chat
def zai(provider: SimulatedProvider) -> str:
    from zai import ZaiClient

    client = ZaiClient(api_key=ANY, base_url=f"{provider.url}/api/paas/v4", max_retries=0)
    text = text_of(client.chat.completions.create(model=ZAI, **ASK))
    client.close()
    return text


@zai_chat
def zai_stream(provider: SimulatedProvider) -> str:
    from zai import ZaiClient

    client = ZaiClient(api_key=ANY, base_url=f"{provider.url}/api/paas/v4", max_retries=0)
    text = text_of_chunks(client.chat.completions.create(model=ZAI, stream=True, **ASK))
    client.close()
    return text


# -- ElevenLabs: `base_url`

ELEVENLABS = "eleven_multilingual_v2"
elevenlabs_speech = CALLS.of(None, ELEVENLABS, "speech")


@elevenlabs_speech
def elevenlabs(provider: SimulatedProvider) -> str:
    from elevenlabs.client import ElevenLabs

    client = ElevenLabs(api_key=ANY, base_url=provider.url)
    pieces: Iterator[bytes] = client.text_to_speech.convert("rachel", text=QUESTION, model_id=ELEVENLABS)
    return b"".join(pieces).decode()


@elevenlabs_speech
def elevenlabs_stream(provider: SimulatedProvider) -> str:
    from elevenlabs.client import ElevenLabs

    client = ElevenLabs(api_key=ANY, base_url=provider.url)
    pieces: Iterator[bytes] = client.text_to_speech.stream("rachel", text=QUESTION, model_id=ELEVENLABS)
    return b"".join(pieces).decode()


@elevenlabs_speech
async def elevenlabs_async(provider: SimulatedProvider) -> str:
    from elevenlabs.client import AsyncElevenLabs

    client = AsyncElevenLabs(api_key=ANY, base_url=provider.url)
    pieces = client.text_to_speech.convert("rachel", text=QUESTION, model_id=ELEVENLABS)
    return b"".join([piece async for piece in pieces]).decode()


# -- watsonx.ai: it takes addresses of its own clouds alone, over https. It also takes the HTTP client to send by, whose
#    transport here sends to loopback whatever the address is: the exchange of the key for a token, and the calls

WATSONX = "ibm/granite-3-3-8b-instruct"
WATSONX_EMBEDDINGS = "ibm/slate-125m-english-rtrvr-v2"
watsonx_chat = CALLS.of(None, WATSONX)


class _ToLoopback(httpx.HTTPTransport):
    def __init__(self, provider: SimulatedProvider) -> None:
        super().__init__()
        self._base = httpx.URL(provider.url)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host=self._base.host, port=self._base.port)
        return super().handle_request(request)


class _ToLoopbackAsync(httpx.AsyncHTTPTransport):
    def __init__(self, provider: SimulatedProvider) -> None:
        super().__init__()
        self._base = httpx.URL(provider.url)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host=self._base.host, port=self._base.port)
        return await super().handle_async_request(request)


def _watsonx(provider: SimulatedProvider) -> Any:
    from ibm_watsonx_ai import APIClient, Credentials

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the project is not looked up
        return APIClient(
            Credentials(url="https://us-south.ml.cloud.ibm.com", api_key=ANY),
            project_id=ANY,
            scope_validation=False,
            httpx_client=httpx.Client(transport=_ToLoopback(provider)),
            async_httpx_client=httpx.AsyncClient(transport=_ToLoopbackAsync(provider)),
        )


def _watsonx_model(provider: SimulatedProvider) -> Any:
    from ibm_watsonx_ai.foundation_models import ModelInference

    return ModelInference(model_id=WATSONX, api_client=_watsonx(provider), validate=False, max_retries=0)


@watsonx_chat
def watsonx(provider: SimulatedProvider) -> str:
    answer = _watsonx_model(provider).chat(MESSAGES, params={"max_tokens": MAX_TOKENS})
    return str(answer["choices"][0]["message"]["content"])


@watsonx_chat
def watsonx_stream(provider: SimulatedProvider) -> str:
    chunks = _watsonx_model(provider).chat_stream(MESSAGES, params={"max_tokens": MAX_TOKENS})
    return "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks if chunk["choices"])


@watsonx_chat
async def watsonx_async(provider: SimulatedProvider) -> str:
    answer = await _watsonx_model(provider).achat(MESSAGES, params={"max_tokens": MAX_TOKENS})
    return str(answer["choices"][0]["message"]["content"])


@CALLS.of(None, WATSONX, "completion")
def watsonx_generation(provider: SimulatedProvider) -> str:
    return str(_watsonx_model(provider).generate_text(QUESTION, params={"max_new_tokens": MAX_TOKENS}))


@CALLS.of(None, WATSONX, "completion")
def watsonx_generation_stream(provider: SimulatedProvider) -> str:
    return "".join(_watsonx_model(provider).generate_text_stream(QUESTION, params={"max_new_tokens": MAX_TOKENS}))


@CALLS.of(None, WATSONX_EMBEDDINGS, "embeddings")
def watsonx_embeddings(provider: SimulatedProvider) -> str:
    from ibm_watsonx_ai.foundation_models import Embeddings

    return str(Embeddings(model_id=WATSONX_EMBEDDINGS, api_client=_watsonx(provider)).embed_documents(TEXTS))


# -- Voyage: `base_url`

VOYAGE, VOYAGE_RERANK, VOYAGE_MULTIMODAL = "voyage-3.5", "rerank-2.5", "voyage-multimodal-3.5"
voyage_embeddings = CALLS.of("voyageai", VOYAGE, "embeddings")


@voyage_embeddings
def voyage(provider: SimulatedProvider) -> str:
    from voyageai.client import Client

    return str(Client(ANY, base_url=f"{provider.url}/voyage/v1").embed(TEXTS, model=VOYAGE).embeddings)


@voyage_embeddings
async def voyage_async(provider: SimulatedProvider) -> str:
    from voyageai.client_async import AsyncClient

    client = AsyncClient(ANY, base_url=f"{provider.url}/voyage/v1")
    return str((await client.embed(TEXTS, model=VOYAGE)).embeddings)


@CALLS.of("voyageai", VOYAGE_RERANK, "rerank")
def voyage_rerank(provider: SimulatedProvider) -> str:
    from voyageai.client import Client

    ranked = Client(ANY, base_url=f"{provider.url}/voyage/v1").rerank(QUESTION, TEXTS, model=VOYAGE_RERANK)
    return str(ranked.results[0].document)


@CALLS.of("voyageai", VOYAGE_MULTIMODAL, "embeddings")
def voyage_multimodal(provider: SimulatedProvider) -> str:
    from voyageai.client import Client

    client = Client(ANY, base_url=f"{provider.url}/voyage/v1")
    return str(client.multimodal_embed([TEXTS[:1]], model=VOYAGE_MULTIMODAL).embeddings)


# -- DashScope: `base_address`, of each call

DASHSCOPE, DASHSCOPE_EMBEDDINGS = "qwen-plus", "text-embedding-v4"
dashscope_chat = CALLS.of(None, DASHSCOPE)


def _dashscope_options(provider: SimulatedProvider) -> dict[str, Any]:
    return {"api_key": ANY, "base_address": f"{provider.url}/api/v1", "result_format": "message", **ASK}


@dashscope_chat
def dashscope(provider: SimulatedProvider) -> str:
    from dashscope import Generation

    return text_of(Generation.call(DASHSCOPE, **_dashscope_options(provider)).output)


@dashscope_chat
def dashscope_stream(provider: SimulatedProvider) -> str:
    from dashscope import Generation

    options = {"stream": True, "incremental_output": True, **_dashscope_options(provider)}
    return "".join(text_of(part.output) for part in Generation.call(DASHSCOPE, **options))


@dashscope_chat
async def dashscope_async(provider: SimulatedProvider) -> str:
    from dashscope.aigc.generation import AioGeneration
    from dashscope.api_entities.aio_session import close_shared_aio_session

    answer = await AioGeneration.call(DASHSCOPE, **_dashscope_options(provider))
    await close_shared_aio_session()
    return text_of(answer.output)


@CALLS.of(None, DASHSCOPE_EMBEDDINGS, "embeddings")
def dashscope_embeddings(provider: SimulatedProvider) -> str:
    from dashscope import TextEmbedding

    where = f"{provider.url}/api/v1"
    return str(TextEmbedding.call(DASHSCOPE_EMBEDDINGS, TEXTS, api_key=ANY, base_address=where).output["embeddings"])


# -- Azure AI inference: `endpoint`

AZURE, AZURE_EMBEDDINGS = "phi-4", "text-embedding-3-small"
azure_chat = CALLS.of("azure", AZURE)


def _azure(provider: SimulatedProvider) -> Any:
    from azure.ai.inference import ChatCompletionsClient
    from azure.core.credentials import AzureKeyCredential

    return ChatCompletionsClient(f"{provider.url}/azure/models", AzureKeyCredential(ANY))


@azure_chat
def azure(provider: SimulatedProvider) -> str:
    with _azure(provider) as client:
        return text_of(client.complete(model=AZURE, **ASK))


@azure_chat
def azure_stream(provider: SimulatedProvider) -> str:
    options = {"stream_options": {"include_usage": True}}
    with _azure(provider) as client:
        return text_of_chunks(client.complete(model=AZURE, stream=True, model_extras=options, **ASK))


@azure_chat
async def azure_async(provider: SimulatedProvider) -> str:
    from azure.ai.inference.aio import ChatCompletionsClient
    from azure.core.credentials import AzureKeyCredential

    async with ChatCompletionsClient(f"{provider.url}/azure/models", AzureKeyCredential(ANY)) as client:
        return text_of(await client.complete(model=AZURE, **ASK))


@CALLS.of("azure", AZURE_EMBEDDINGS, "embeddings")
def azure_embeddings(provider: SimulatedProvider) -> str:
    from azure.ai.inference import EmbeddingsClient
    from azure.core.credentials import AzureKeyCredential

    with EmbeddingsClient(f"{provider.url}/azure/models", AzureKeyCredential(ANY)) as client:
        return str(client.embed(input=TEXTS, model=AZURE_EMBEDDINGS).data[0].embedding)


# -- Google's older libraries, over REST: `api_endpoint`, which may begin with http

GEMINI = "gemini-2.5-flash"
gemini = CALLS.of("google", GEMINI)


def _generativeai(provider: SimulatedProvider) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer one
        import google.generativeai as genai

    genai.configure(api_key=ANY, transport="rest", client_options={"api_endpoint": provider.url})
    return genai.GenerativeModel(GEMINI, generation_config={"max_output_tokens": MAX_TOKENS})


@gemini
def google_generativeai(provider: SimulatedProvider) -> str:
    return str(_generativeai(provider).generate_content(QUESTION).text)


@gemini
def google_generativeai_stream(provider: SimulatedProvider) -> str:
    parts = _generativeai(provider).generate_content(QUESTION, stream=True)
    return "".join(part.text for part in parts if part.parts)


def _vertexai(provider: SimulatedProvider) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a newer one
        import vertexai
        from google.auth.credentials import AnonymousCredentials
        from vertexai.generative_models import GenerationConfig, GenerativeModel

        vertexai.init(
            project=ANY,
            location="us-central1",
            api_endpoint=provider.url,
            api_transport="rest",
            credentials=AnonymousCredentials(),
        )
        return GenerativeModel(GEMINI, generation_config=GenerationConfig(max_output_tokens=MAX_TOKENS))


@gemini
def vertexai(provider: SimulatedProvider) -> str:
    return str(_vertexai(provider).generate_content(QUESTION).text)


@gemini
def vertexai_stream(provider: SimulatedProvider) -> str:
    return "".join(part.text for part in _vertexai(provider).generate_content(QUESTION, stream=True))


CALLS.extend(http_by_hand.CALLS)
