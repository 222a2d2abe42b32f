"""Where a gateway sends what it is asked: the providers' addresses, and which path leads to which of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec

from budgeted.validation import shown
from budgeted.wire.provider_hosts import provider_at


class Known(NamedTuple):
    """A provider that has paths of its own, or is known by its name.

    Args:
        url: its address, as its SDK takes it for a base URL; "" where each customer has another.
        provider: as genai-prices names it.
        scheme: how its key is sent: the name of a header, or ``bearer``; ``aws`` for a signature.
        keys: the variables that may hold its key, the first that is set.
    """

    url: str
    provider: str
    scheme: str
    keys: tuple[str, ...]


BEARER: Final = "bearer"
AWS: Final = "aws"

KNOWN: Final[dict[str, Known]] = {
    "openai": Known("https://api.openai.com/v1", "openai", BEARER, ("OPENAI_API_KEY",)),
    "anthropic": Known("https://api.anthropic.com", "anthropic", "x-api-key", ("ANTHROPIC_API_KEY",)),
    "gemini": Known(
        *("https://generativelanguage.googleapis.com", "google", "x-goog-api-key"), ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    ),
    "bedrock": Known("", "aws", AWS, ("AWS_BEARER_TOKEN_BEDROCK",)),
    "azure": Known("", "azure", "api-key", ("AZURE_OPENAI_API_KEY", "AZURE_API_KEY")),
    "mistral": Known("https://api.mistral.ai", "mistral", BEARER, ("MISTRAL_API_KEY",)),
    "cohere": Known("https://api.cohere.com", "cohere", BEARER, ("CO_API_KEY", "COHERE_API_KEY")),
    "ollama": Known("http://127.0.0.1:11434", "ollama", BEARER, ("OLLAMA_API_KEY",)),
    "openrouter": Known("https://openrouter.ai/api/v1", "openrouter", BEARER, ("OPENROUTER_API_KEY",)),
    "groq": Known("https://api.groq.com/openai/v1", "groq", BEARER, ("GROQ_API_KEY",)),
    "deepseek": Known("https://api.deepseek.com", "deepseek", BEARER, ("DEEPSEEK_API_KEY",)),
    "xai": Known("https://api.x.ai/v1", "x-ai", BEARER, ("XAI_API_KEY",)),
    "together": Known("https://api.together.xyz/v1", "together", BEARER, ("TOGETHER_API_KEY",)),
    "fireworks": Known("https://api.fireworks.ai/inference/v1", "fireworks", BEARER, ("FIREWORKS_API_KEY",)),
    "perplexity": Known("https://api.perplexity.ai", "perplexity", BEARER, ("PERPLEXITY_API_KEY", "PPLX_API_KEY")),
}
"""By the names under which their paths may also begin: ``/openrouter/...``."""

# What is asked at these paths goes there, whatever it is: their SDKs ask at no others.
_PATHS: Final = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"/v1/messages(?:/.*)?|/v1/complete", "anthropic"),
        (r"/v1(?:alpha|beta)[0-9]?/.*|/v1/models/[^/]+:\w+|/upload/v1beta/.*", "gemini"),
        (r"/model/.*|/guardrail/.*|/async-invoke.*", "bedrock"),
        (r"/openai/(?:deployments|v1|responses|models|files)(?:/.*)?", "azure"),
        (r"/v2/.*|/v1/(?:chat|embed|rerank|generate|summarize|classify|tokenize|detokenize)", "cohere"),
        (r"/v1/(?:fim/completions|ocr|agents/completions)", "mistral"),
        (r"/api/(?:chat|generate|embed|embeddings|tags|show|version|ps)", "ollama"),
        (r"/api/v1/.*", "openrouter"),
        (r"/v1/.*", "openai"),
    )
)

_OF_ANTHROPIC: Final = re.compile(r"/v1/(?:models|files|skills)(?:/.*)?")
"""Paths that Anthropic and OpenAI both have: a header tells whose SDK asks."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")
_UNRESERVED: Final = re.compile(r"%(?:2[dDeE]|3\d|[46][1-9a-fA-F]|[57][\daA]|5[fF]|7[eE])")
"""What need not be written so, and is, to be taken for something else: letters, digits, and ``-._~``."""


class Upstream(msgspec.Struct, frozen=True):
    """Whom requests are sent on to.

    Args:
        name: by which paths and settings name it.
        url: its address, without a slash at the end; what its SDK would take for a base URL.
        provider: whose prices apply, as genai-prices names it; "" where nobody knows.
        scheme: how its key is sent: the name of a header, ``bearer``, or ``aws`` for a signature.
        keys: the variables that may hold its key.
    """

    name: str
    url: str
    provider: str
    scheme: str
    keys: tuple[str, ...]

    @property
    def host(self) -> str:
        """Its host, with the port if its address has one."""
        return urlsplit(self.url).netloc

    @property
    def origin(self) -> str:
        """The scheme and the host."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def target(self, rest: str) -> str:
        """The path at the upstream for what is asked of it.

        Args:
            rest: the path behind its name. A version that its address ends with already is not repeated.
        """
        base = urlsplit(self.url).path
        version = base.rpartition("/")[2]
        if version and rest.startswith(f"/{version}/"):
            rest = rest[len(version) + 1 :]
        return base + rest


class NoRouteError(Exception):
    """A path leads nowhere, or is not one.

    Attributes:
        status: of the answer.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Upstreams:
    """All to whom a gateway sends requests on.

    Args:
        stated: addresses by name: of those that are known, instead of their own; others beside them.

    Raises:
        ValueError: a name or an address is none; the text quotes it.

    Example:
        >>> Upstreams({"openai": "http://127.0.0.1:9000/v1"}).route("/v1/chat/completions", b"")[1]
        '/v1/chat/completions'
    """

    def __init__(self, stated: Mapping[str, str] | None = None) -> None:
        self.by_name = {name: _of_known(name, one.url) for name, one in KNOWN.items() if one.url}
        for name, url in (stated or {}).items():
            self.by_name[name] = _stated(name, url)

    def route(self, path: str, version: bytes) -> tuple[Upstream, str]:
        """Who is asked for a path, and at which path of its own.

        Args:
            path: of the request, as it was sent, without a query.
            version: the header ``anthropic-version``; b"" if there is none.

        Raises:
            NoRouteError: it leads nowhere, or is written so that two readers may take it for two things.
        """
        _check(path)
        name, _, rest = path[1:].partition("/")
        if (upstream := self.by_name.get(name)) is not None:
            return upstream, upstream.target(f"/{rest}")
        if version and _OF_ANTHROPIC.fullmatch(path):
            found: str | None = "anthropic"
        else:
            found = next((one for pattern, one in _PATHS if pattern.fullmatch(path)), None)
        upstream = None if found is None else self.by_name.get(found)
        if upstream is None:
            known = f'; nobody has said where {found} is: [gateway.upstreams] {found} = "https://..."' if found else ""
            raise NoRouteError(404, f"{shown(path)} leads nowhere from here{known}")
        return upstream, upstream.target(path)


def _check(path: str) -> None:
    """Refuse a path that an upstream may read otherwise than it is read here."""
    for segment in path[1:].removesuffix("/").split("/") if path != "/" else ():
        if not segment or not _SEGMENT.fullmatch(segment) or _UNRESERVED.search(segment):
            raise NoRouteError(400, f"the path {shown(path)} is not written as paths are")
        if "%" in segment or segment in (".", ".."):
            plain = unquote(segment, errors="replace")
            if "\\" in plain or "%" in plain or not plain.isprintable() or {".", ".."}.intersection(plain.split("/")):
                raise NoRouteError(400, f"the path {shown(path)} is not written as paths are")


def _of_known(name: str, url: str) -> Upstream:
    known = KNOWN[name]
    return Upstream(name, url.rstrip("/"), known.provider, known.scheme, known.keys)


def _stated(name: str, url: str) -> Upstream:
    if not _NAME.fullmatch(name):
        msg = f"an upstream's name is of small letters, digits, - and _, got {shown(name)}"
        raise ValueError(msg)
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        valid = False
        parts = urlsplit("")
    if not valid or parts.query or parts.fragment or parts.username is not None or not url.isascii():
        msg = f"the upstream {name!r} must have an address such as https://api.openai.com/v1, got {shown(url)}"
        raise ValueError(msg)
    if name in KNOWN:
        return _of_known(name, url)
    variable = f"{name.upper().replace('-', '_')}_API_KEY"
    return Upstream(name, url.rstrip("/"), provider_at(url), BEARER, (variable,))
