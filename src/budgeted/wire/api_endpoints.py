"""Which API a request over HTTP is for, by its host, its path, and what its body says."""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

from budgeted.wire.provider_hosts import provider_at
from budgeted.wire.request_formats.amazon_bedrock import Bedrock
from budgeted.wire.request_formats.anthropic_messages import Messages
from budgeted.wire.request_formats.cohere import Cohere
from budgeted.wire.request_formats.dashscope import DashScope
from budgeted.wire.request_formats.elevenlabs import ElevenLabs
from budgeted.wire.request_formats.google_gemini import Gemini
from budgeted.wire.request_formats.google_interactions import Interactions
from budgeted.wire.request_formats.http_request import Format, HTTPRequest
from budgeted.wire.request_formats.huggingface import PLACE, HuggingFace
from budgeted.wire.request_formats.mistral import Mistral
from budgeted.wire.request_formats.ollama import Ollama
from budgeted.wire.request_formats.openai import Groq, OpenAI
from budgeted.wire.request_formats.perplexity import Perplexity
from budgeted.wire.request_formats.replicate import Replicate
from budgeted.wire.request_formats.vertex_raw_predictions import RawPredictions
from budgeted.wire.request_formats.voyage import Voyage
from budgeted.wire.request_formats.watsonx import Watsonx
from budgeted.wire.request_formats.writer import Writer

_OPENAI: Final = OpenAI()

_BY_PROVIDER: Final[dict[str, Format]] = {
    "anthropic": Messages(),
    "cohere": Cohere(),
    "elevenlabs": ElevenLabs(),
    "google": Gemini(),
    "groq": Groq(),
    "mistral": Mistral(),
    "ollama": Ollama(),
    "perplexity": Perplexity(),
    "replicate": Replicate(),
    "voyageai": Voyage(),
    "writer": Writer(),
}
"""Whose own format is read first at their hosts."""

_SHAPES: Final[tuple[tuple[re.Pattern[str], Format], ...]] = tuple(
    (re.compile(pattern), read_by)
    for pattern, read_by in (
        (r".*:(?:(?:stream|batch)?[gG]enerateContent|(?:e|asyncBatchE|batchE)mbedContents?)", _BY_PROVIDER["google"]),
        (r".*:predict(?:LongRunning)?|.*/locations/[^/]+/(?:batchPrediction|tuning)Jobs", _BY_PROVIDER["google"]),
        (r".*/(?!count-tokens:)[^/]+:(?:r|streamR)awPredict", RawPredictions()),
        (r".*/model/[^/]+/(?:converse|converse-stream|invoke|invoke-with-response-stream)", Bedrock()),
        (r".*/ml/v1/(?:deployments/[^/]+/)?text/\w+", Watsonx()),
        (r".*/services/(?:aigc|embeddings|rerank)/.+", DashScope()),
        (r".*/chat/completions|.*/(?:completions|responses|responses/compact|embeddings)", _OPENAI),
        (r".*/(?:images/(?:generations|edits|variations)|audio/(?:speech|transcriptions|translations))", _OPENAI),
        (r".*/messages", _BY_PROVIDER["anthropic"]),
        (r".*/interactions", Interactions()),
        (PLACE.pattern, HuggingFace()),
        (r".*/v1/(?:models/[^/]+/[^/]+/|deployments/[^/]+/[^/]+/)?predictions", _BY_PROVIDER["replicate"]),
        (r".*/text-to-speech/[^/]+(?:/stream)?(?:/with-timestamps)?", _BY_PROVIDER["elevenlabs"]),
        (r".*/(?:multimodalembeddings|contextualizedembeddings)|.*/v1/rerank", _BY_PROVIDER["voyageai"]),
        (r".*/v2/(?:chat|embed|rerank)|.*/v1/(?:embed|rerank|generate|summarize|classify)", _BY_PROVIDER["cohere"]),
        (r".*/v1/chat", _BY_PROVIDER["writer"]),
        (r".*/(?:fim|agents)/completions|.*/conversations(?:/[^/]+(?:/restart)?)?|.*/ocr", _BY_PROVIDER["mistral"]),
        (r".*/api/(?:chat|generate|embed|embeddings)", _BY_PROVIDER["ollama"]),
    )
)
"""Paths by which an API is recognised, whoever's host it is. Where several match, each is tried in its turn."""

TOLD_BY: Final = frozenset(
    name for read_by in (*_BY_PROVIDER.values(), *(each for _, each in _SHAPES)) for name in read_by.told_by
)
"""Headers that change what some request costs, by their names in lower case."""

_IN_ANY: Final = re.compile(
    r"completions|responses|mbed|Jobs|images/|audio/|messages|interactions|[pP]redict|/chat|enerate|/converse|/invoke|"
    r"/ml/v1/text/|/services/|text-to-speech|rerank|summarize|classify|conversations|/ocr|hf-inference"
)
"""One of these is in each of them, and in few paths of a program's other requests."""

_API_HOSTS: Final = re.compile(
    r"(?:[a-z]+\.)?api\.openai\.com|[a-z0-9-]+\.openai\.azure\.com|api\.anthropic\.com|generativelanguage\.googleapis\.com|openrouter\.ai|api\.deepseek\.com|"
    r"api\.x\.ai|api\.together\.(?:xyz|ai)|api\.groq\.com|(?:api|codestral)\.mistral\.ai|api\.fireworks\.ai|"
    r"api\.perplexity\.ai|api\.cohere\.(?:com|ai)|api\.cerebras\.ai|api\.writer\.com|api\.voyageai\.com|"
    r"api\.replicate\.com|api(?:\.[a-z.]+)?\.elevenlabs\.io|[a-z-]+\.ml\.cloud\.ibm\.com|dashscope[a-z-]*\.aliyuncs\.com|"
    r"api\.z\.ai|open\.bigmodel\.cn|api\.moonshot\.(?:ai|cn)|router\.huggingface\.co|bedrock-runtime\.[a-z0-9-]+\.amazonaws\.com"
)
"""Hosts that serve models and little else: what is asked of them at an unknown path is probably paid for."""

_FREE: Final = re.compile(
    r".*/(?:files|uploads|moderations|assistants|threads|vector_stores|conversations|evals|containers|skills|webhooks|"
    r"organization|organizations|models|tokenize|detokenize|count_tokens|count-tokens|input_tokens|tokenizers|"
    r"check-api-key|"
    r"cancel|permissions|complete|parts|items|connectors|datasets|projects|workspaces|deployments|collections|graphs|"
    r"libraries|documents|agents|keys|auth|key|token|credits|generation|voices|history|pronunciation-dictionaries|"
    r"user|usage|oauth|cachedContents|corpora|tunedModels|operations|fine_tuning|fine-tuning|checkpoints|"
    r"chat/completions/[^/]+|voice_consents|content_provenance_checks|hangup|refer|reject|webhook_endpoints|characters|"
    r"compliance|environments|memory_stores|sessions|tunnels|user_profiles|vaults|archive|"
    r"search-indexes|observability|service-accounts|triggers|workflows|prompts)"
    r"(?:/[^/:]*)*|.*:(?:countTokens|computeTokens|cancel|register)|.*/count-tokens:rawPredict"
)
"""What is asked of them for nothing, or billed by the day: what is kept there, and what tells something of it."""


_STORED: Final = re.compile(r".*/threads/[^/]+/messages|.*/conversations(?:/[^/]+)?")
"""What OpenAI keeps for nothing at paths that others are paid for."""


class Endpoint(NamedTuple):
    """Where a request goes.

    Args:
        formats: by which it may be read; none if it is a provider's host, and nobody knows what is asked there.
        provider: whose host it is, as genai-prices names it; "" if nobody's that is known.
        known: whether the host serves models and little else, so that what is not understood is probably paid for.
    """

    formats: tuple[Format, ...]
    provider: str
    known: bool


def plain(path: str) -> str:
    """A path with its colons as colons: Google's methods stand behind one, and some write it otherwise.

    Args:
        path: as it is sent.
    """
    return path.replace("%3A", ":").replace("%3a", ":") if "%3" in path else path


# Remembered, as every POST asks for it.
@functools.lru_cache(maxsize=4096)
def endpoint(host: str, path: str, *, own: bool = False, provider: str = "") -> Endpoint | None:
    """Which API a POST is for; None if for none that is known to be paid for.

    Args:
        host: with its port, if it has one.
        path: without a query.
        own: whether it is one of the hosts that are said to serve models.
        provider: whose API it is, as genai-prices names it, whatever the host is called; "" if the host tells.
    """
    path = plain(path)
    known = own or _serves_models(host)
    if not known and _IN_ANY.search(path) is None:
        return None
    provider = provider or provider_at(f"{host}{path}")
    mine = _BY_PROVIDER.get(provider)
    shapes = [read_by for pattern, read_by in _SHAPES if pattern.fullmatch(path)]
    if provider in ("openai", "azure") and _STORED.fullmatch(path):
        return None
    if shapes:
        formats = [read_by for read_by in shapes if read_by is not mine]
        return Endpoint(tuple(formats if mine is None else (mine, *formats)), provider, known)
    if not known:
        return None
    # Others speak like OpenAI: what it bills by other means than its answers, they do not give away either.
    read_by = mine or _OPENAI
    unseen = read_by.read(HTTPRequest(path, {}, provider)) is not None
    if _FREE.fullmatch(path) and not unseen:
        return None
    return Endpoint((read_by,) if unseen or mine is not None else (), provider, known)


@functools.lru_cache(maxsize=4096)
def _serves_models(host: str) -> bool:
    return _API_HOSTS.fullmatch(host.partition(":")[0]) is not None
