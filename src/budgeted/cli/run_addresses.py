"""The variables by which programs are told where a provider is: what they hold while a run's gateway stands between."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from budgeted.gateway.known_providers import KNOWN
from budgeted.gateway.upstreams import Upstreams
from budgeted.providers.addresses_of_run import Address, Addresses
from budgeted.wire.provider_hosts import provider_at

USUAL: Final = {
    "OPENAI_BASE_URL": ("openai", "https://api.openai.com/v1"),
    "OPENAI_API_BASE": ("openai", "https://api.openai.com/v1"),
    "ANTHROPIC_BASE_URL": ("anthropic", "https://api.anthropic.com"),
    "ANTHROPIC_API_BASE": ("anthropic", "https://api.anthropic.com"),
    "GOOGLE_GEMINI_BASE_URL": ("gemini", "https://generativelanguage.googleapis.com"),
    "GEMINI_API_BASE": ("gemini", "https://generativelanguage.googleapis.com/v1beta"),
    "MISTRAL_API_BASE": ("mistral", "https://api.mistral.ai/v1"),
    "MISTRAL_AZURE_API_BASE": ("mistral", "https://api.mistral.ai/v1"),
    "CO_API_URL": ("cohere", "https://api.cohere.com"),
    "GROQ_BASE_URL": ("groq", "https://api.groq.com"),
    "GROQ_API_BASE": ("groq", "https://api.groq.com/openai/v1"),
    "DEEPSEEK_API_BASE": ("deepseek", "https://api.deepseek.com/beta"),
    "FIREWORKS_API_BASE": ("fireworks", "https://api.fireworks.ai/inference/v1"),
    "OPENROUTER_API_BASE": ("openrouter", "https://openrouter.ai/api/v1"),
    "PERPLEXITY_API_BASE": ("perplexity", "https://api.perplexity.ai"),
    "TOGETHER_AI_API_BASE": ("together", "https://api.together.xyz/v1"),
    "XAI_API_BASE": ("xai", "https://api.x.ai/v1"),
}
"""Variables that SDKs, LiteLLM and agents read: whose they are, and where those go who find none of them set."""

OF_AMAZON: Final = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "ANTHROPIC_BEDROCK_BASE_URL", "AWS_BEDROCK_RUNTIME_ENDPOINT")
"""Variables that Amazon's SDKs in every language, Anthropic's, Claude Code and LiteLLM read for Bedrock."""

_OTHERS: Final = re.compile(r"\w*(?:BASE_URL|API_BASE|API_URL|API_HOST|ENDPOINT)", re.IGNORECASE)
"""What variables are called that hold an address: where it is a provider's, it is one of these."""

_VERSION: Final = re.compile(r"v\d\w*")


class RunAddresses:
    """Where a run's gateway sends requests on, and what programs are told instead.

    Args:
        environment: of the run, as it would be without a gateway.
        gateway: what all its addresses begin with.
        seen: what those begin with that stand on command lines, which everybody on a machine can see.

    Attributes:
        told: for the programs.
        upstreams: for the gateway: addresses by name.
        left: variables that hold what nobody can send to, and are left as they are; each with what is wrong.

    Example:
        >>> found = RunAddresses({"OPENAI_BASE_URL": "https://llm.corp/v1"}, "http://127.0.0.1:1/run-x", "")
        >>> found.told.variables["OPENAI_BASE_URL"].gateway, found.upstreams
        ('http://127.0.0.1:1/run-x/openai-1/v1', {'openai-1': 'https://llm.corp/v1'})
    """

    def __init__(self, environment: Mapping[str, str], gateway: str, seen: str) -> None:
        self._gateway, self._seen = gateway, seen
        self._names = {one.url: name for name, one in KNOWN.items() if one.url}
        self.upstreams: dict[str, str] = {}
        self.left: dict[str, str] = {}
        found: dict[str, Address] = {}
        known = {**USUAL, **_of_amazon(environment)}
        for variable, (provider, usual) in {**known, **_of_providers(environment)}.items():
            own = environment.get(variable)
            try:
                unset = self.of(provider, usual) if variable in known else ""
                found[variable] = Address(self.of(provider, own or usual), own, provider, unset)
            except ValueError as error:
                self.left[variable] = str(error)
        self.told = Addresses(gateway, found)

    def of(self, provider: str, url: str, *, seen: bool = False) -> str:
        """The gateway's address for one of a provider, or of what speaks like it.

        Args:
            provider: as the gateway calls it.
            url: as an SDK takes it for a base URL.
            seen: whether it is for a command line.

        Raises:
            ValueError: it is no address, or one that has a password in it.
        """
        url = url.strip().rstrip("/")
        name = self._names.get(url)
        if name is None:
            name = f"{provider}-{len(self.upstreams) + 1}"
            if "@" in url:
                msg = "a user's name or password stands in it, which no gateway sends on"
                raise ValueError(msg)
            Upstreams({name: url})  # which looks at it
            self._names[url], self.upstreams[name] = name, url
        # Some clients look for a version at the end; the gateway knows one that is said twice.
        version = urlsplit(url).path.rpartition("/")[2]
        return f"{self._seen if seen else self._gateway}/{name}{f'/{version}' if _VERSION.fullmatch(version) else ''}"


def _of_amazon(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Variables for Bedrock, where a gateway can sign what it sends on: a caller's signature is of its own address."""
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if not region or importlib.util.find_spec("botocore") is None:
        return {}
    return dict.fromkeys(OF_AMAZON, ("bedrock", f"https://bedrock-runtime.{region}.amazonaws.com"))


def _of_providers(environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Variables of any other name that hold a provider's address; not Amazon's, where requests are signed for it."""
    found = {}
    for variable, value in environment.items():
        if (
            variable not in (*USUAL, *OF_AMAZON)
            and _OTHERS.fullmatch(variable)
            and value.startswith(("https://", "http://"))
        ):
            provider = provider_at(value)
            if provider not in ("", "aws"):
                found[variable] = (re.sub(r"[^a-z0-9]+", "-", provider), value)
    return found
