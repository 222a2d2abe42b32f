"""Where a gateway sends what it is asked: the providers' addresses, and which path leads to which of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from budgeted.gateway.known_providers import AWS, BEARER, KNOWN, SCHEMES
from budgeted.gateway.settings import UpstreamSettings
from budgeted.validation import shown
from budgeted.wire.provider_hosts import provider_at

# What is asked at these paths goes there, whatever it is: their SDKs ask at no others.
_PATHS: Final = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        (r"/v1/messages(?:/.*)?|/v1/complete", "anthropic"),
        (r"/v1(?:beta1)?/(?:projects|publishers)/.*", "vertex"),
        (
            r"/v1(?:alpha|beta)[0-9]?/.*|/v1/models/[^/:]+:(?:predict|[a-z]+[A-Z]\w*)|/(?:up|down)load/v1\w*/.*",
            "gemini",
        ),
        (r"/v1/(?:interactions|cachedContents|tunedModels|fileSearchStores|auth_tokens|operations)(?:/.*)?", "gemini"),
        (r"/model/.*|/guardrail(?:-checks)?/.*|/async-invoke.*", "bedrock"),
        (r"/v2/.*|/v1/(?:chat|embed|rerank|generate|summarize|classify|tokenize|detokenize)", "cohere"),
        (r"/v1/(?:fim/completions|ocr|agents/completions)", "mistral"),
        (r"/api/(?:chat|generate|embed|embeddings|tags|show|version|ps)", "ollama"),
        (r"/api/v1/.*", "openrouter"),
        (r"/v1/.*", "openai"),
    )
)

_LOCATION: Final = re.compile(r"/v1\w*/projects/[^/]+/locations/([a-z]+-[a-z]+[0-9]+|us|eu)/")
_VERSION: Final = re.compile(r"v\d\w*")
_OF_OPENAI: Final = re.compile(r"/v1/(?:chat|responses|completions|embeddings|images|audio|moderations)(?:/.*)?")
"""What is OpenAI's, or of who imitates it, whichever headers a request has."""

_ASKERS: Final = {
    b"anthropic-version": "anthropic",
    b"x-goog-api-client": "gemini",
    b"x-goog-api-key": "gemini",
    b"x-fern-sdk-name": "cohere",
}
"""Headers by which SDKs are known that ask below the same ``/v1/`` as OpenAI's."""

LONGEST: Final = 4096
"""Characters of a path: where it leads is remembered, and the longest that a provider has is half as long."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SEGMENT: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*")
_TAKEN: Final = frozenset(
    "v1 v2 v1alpha v1beta v1beta1 api model guardrail async-invoke upload budget health metrics page".split()
)
"""What paths begin with that lead elsewhere."""

_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OF_CONNECTIONS: Final = frozenset(
    "accept-encoding connection content-encoding content-length content-type expect host keep-alive te trailer "
    "transfer-encoding upgrade".split()
)
"""Headers that are about a connection or a body, and no setting's business."""

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
        headers: that each request to it gets, by names in lower case, instead of the caller's own.
    """

    name: str
    url: str
    provider: str
    scheme: str
    keys: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()

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
            rest: the path behind its name. What its address ends with already is not repeated: SDKs take the version
                for a part of the address, or of the path.
        """
        base, asked = urlsplit(self.url).path.split("/")[1:], rest.split("/")[1:]
        if base and asked:
            base = base[: _kept(base, asked)]
        return "/" + "/".join((*base, *asked))


def _kept(base: list[str], asked: list[str]) -> int:
    """How much of an address stands before a path that may repeat its end, or has another version."""
    versioned = _VERSION.fullmatch(base[-1]) is not None
    for start in range(len(base) if versioned or base[-1] == "openai" else 0):
        if asked[: len(base) - start] == base[start:]:
            return start
    if asked[0] == "openai" and "openai" in base:
        return base.index("openai")
    return len(base) - (versioned and _VERSION.fullmatch(asked[0]) is not None)


def asker(headers: Mapping[bytes, bytes], query: bytes) -> str:
    """Whose SDK asks, where that tells what a path means that several providers have; "" where nothing tells.

    Args:
        headers: of the request, by names in lower case.
        query: of its address.
    """
    for header, name in _ASKERS.items():
        if header in headers and (name != "cohere" or headers[header] == b"cohere"):
            return name
    return "azure" if b"api-key" in headers or b"api-version=" in query else ""


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
        stated: addresses by name, or tables with them: of those that are known, instead of their own; others beside
            them.

    Raises:
        ValueError: a name or an address is none; the text quotes it.

    Example:
        >>> Upstreams({"openai": "http://127.0.0.1:9000/v1"}).route("/v1/chat/completions")[1]
        '/v1/chat/completions'
    """

    def __init__(self, stated: Mapping[str, str | UpstreamSettings] | None = None) -> None:
        self.by_name = {name: _of_known(name, one.url) for name, one in KNOWN.items() if one.url}
        for name, given in (stated or {}).items():
            self.by_name[name] = stated_upstream(name, given)

    def route(self, path: str, asker: str = "") -> tuple[Upstream, str]:
        """Who is asked for a path, and at which path of its own.

        Args:
            path: of the request, as it was sent, without a query.
            asker: whose SDK asks, as :func:`asker` tells it.

        Raises:
            NoRouteError: it leads nowhere, or is written so that two readers may take it for two things.
        """
        _check(path)
        name, _, rest = path[1:].partition("/")
        if name == "openai" and (rest.startswith("deployments/") or (asker == "azure" and "azure" in self.by_name)):
            name, rest = "azure", path[1:]  # whose own paths begin with OpenAI's name
        if (upstream := self.by_name.get(name)) is not None:
            return _located(upstream, upstream.target(f"/{rest}"))
        found: str | None = name
        if name not in KNOWN:
            found = next((one for pattern, one in _PATHS if pattern.fullmatch(path)), None)
            if found == "openai" and asker in _ASKERS.values() and not _OF_OPENAI.fullmatch(path):
                found = asker
        upstream = None if found is None else self.by_name.get(found)
        if upstream is None:
            known = f'; nobody has said where {found} is: [gateway.upstreams] {found} = "https://..."' if found else ""
            raise NoRouteError(404, f"{shown(path)} leads nowhere from here{known}")
        return _located(upstream, upstream.target(path))


def _located(upstream: Upstream, target: str) -> tuple[Upstream, str]:
    """The same at the place that a path names: each of Google's has a host of its own, and prices."""
    place = _LOCATION.match(target) if upstream.url == KNOWN["vertex"].url else None
    if place is not None:
        here = place[1]
        host = f"{here}-aiplatform.googleapis.com" if "-" in here else f"aiplatform.{here}.rep.googleapis.com"
        upstream = msgspec.structs.replace(upstream, url=f"https://{host}")
    return upstream, target


def _check(path: str) -> None:
    """Refuse a path that an upstream may read otherwise than it is read here, or that none has."""
    if len(path) > LONGEST:
        raise NoRouteError(414, f"a path may have {LONGEST} characters here, and this one has {len(path)}")
    for segment in path[1:].removesuffix("/").split("/") if path != "/" else ():
        if not _SEGMENT.fullmatch(segment) or _UNRESERVED.search(segment) or not _is_name(segment):
            raise NoRouteError(400, f"the path {shown(path)} is not written as paths are")


def _is_name(segment: str) -> bool:
    """Whether a part of a path is a name to whoever reads it: ``..`` leads elsewhere, and to some, ``..;x`` does."""
    plain = segment
    if "%" in segment:
        try:
            plain = unquote(segment, errors="strict")
        except UnicodeDecodeError:
            return False
        if "\\" in plain or "%" in plain or not plain.isprintable():
            return False
    return bool(plain) and all(one.partition(";")[0].strip(". ") for one in plain.split("/") if one)


def _of_known(name: str, url: str) -> Upstream:
    known = KNOWN[name]
    return Upstream(name, url.rstrip("/"), known.provider, known.scheme, known.keys)


def stated_upstream(name: str, given: str | UpstreamSettings) -> Upstream:
    """An upstream as somebody has stated it.

    Args:
        name: of it.
        given: its address, or what else there is to say of it.

    Raises:
        ValueError: the name, the address or a header is none; the text quotes it, but for what may be secret in it.

    Example:
        >>> stated_upstream("vllm", "http://10.0.0.7:8000/v1/").url
        'http://10.0.0.7:8000/v1'
    """
    if not _NAME.fullmatch(name):
        msg = f"an upstream's name is of small letters, digits, - and _, got {shown(name)}"
        raise ValueError(msg)
    if name in _TAKEN:
        msg = f"no upstream can be called {name!r}, as paths that lead elsewhere begin so; give it another name"
        raise ValueError(msg)
    stated = given if isinstance(given, UpstreamSettings) else UpstreamSettings(given)
    url = _checked_url(name, stated.url)
    headers = tuple((header.lower(), _checked_header(name, header, value)) for header, value in stated.headers.items())
    found = _of_known(name, url) if name in KNOWN else _of_other(name, url)
    keys = (stated.key_env,) if stated.key_env else found.keys
    return msgspec.structs.replace(found, keys=keys, headers=headers)


def _of_other(name: str, url: str) -> Upstream:
    variable = f"{name.upper().replace('-', '_')}_API_KEY"
    provider = provider_at(url)
    scheme = SCHEMES.get(provider, BEARER)
    if scheme == AWS and "bedrock" not in urlsplit(url).netloc:  # it is somebody's own service there
        scheme = BEARER
    return Upstream(
        name, url.rstrip("/"), provider, scheme, (variable, *(KNOWN["bedrock"].keys if scheme == AWS else ()))
    )


def _checked_url(name: str, url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        valid = False
        parts = urlsplit("")
    readable = url.isascii() and url.isprintable() and " " not in url
    if not valid or parts.query or parts.fragment or not readable or "@" in url:
        # Of what looks like credentials, or a key in a query, only what stands around them is quoted.
        quoted = shown(re.sub(r"//[^/]*@", "//***@", url.partition("?")[0]))
        msg = f"the upstream {name!r} must have an address such as https://api.openai.com/v1, got {quoted}"
        raise ValueError(msg)
    return url


def _checked_header(name: str, header: str, value: str) -> str:
    if not _HEADER.fullmatch(header) or header.lower() in _OF_CONNECTIONS:
        msg = f"the upstream {name!r} cannot be sent the header {shown(header)}; name one such as x-team"
        raise ValueError(msg)
    if not value.isascii() or not value.isprintable() or value != value.strip():
        msg = f"the header {header} of the upstream {name!r} must be printable ASCII without blanks around it"
        raise ValueError(msg)
    return value
