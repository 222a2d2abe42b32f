"""What coding agents are told by options, as no variable reaches them: Codex has none, Claude Code's settings win."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from budgeted.cli.run_addresses import USUAL, RunAddresses
from budgeted.gateway.known_providers import KNOWN
from budgeted.providers.unmetered_programs import agent_at

_OPENAI: Final = "openai_base_url"
_CODEX_OPTIONS: Final = ("-c", "--config")
_MANAGED: Final = {
    "darwin": Path("/Library/Application Support/ClaudeCode/managed-settings.json"),
    "win32": Path("C:/Program Files/ClaudeCode/managed-settings.json"),
}
_BEDROCK: Final = "CLAUDE_CODE_USE_BEDROCK"
_OF_BEDROCK: Final = "ANTHROPIC_BEDROCK_BASE_URL"
_ELSEWHERE: Final = {
    _BEDROCK: "Amazon Bedrock, whose region is not in AWS_REGION",
    "CLAUDE_CODE_USE_VERTEX": "Google's Vertex AI",
    "CLAUDE_CODE_USE_FOUNDRY": "Microsoft Foundry",
    "CLAUDE_CODE_USE_MANTLE": "Amazon Bedrock",
}
"""Variables that have Claude Code send to somebody who wants its requests signed, or finds them by region."""


class AgentOptions:
    """The options by which agents are sent to a run's gateway.

    Args:
        environment: of the run, as it would be without a gateway.
        folder: in which the run is started.
        addresses: of the gateway. What an agent's own files say becomes one more of its upstreams.

    Attributes:
        notes: what of an agent does not reach the gateway, in a sentence each.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path, addresses: RunAddresses) -> None:
        self._environment, self._folder, self._addresses = environment, folder, addresses
        self._home = Path(environment.get("HOME") or environment.get("USERPROFILE") or Path.home())
        self.notes: dict[str, list[str]] = {"claude": [], "codex": []}
        self._codex = self._of_codex_file()
        self._claude = self._of_claude_files()
        managed = self._variables(_MANAGED.get(sys.platform, Path("/etc/claude-code/managed-settings.json")))
        self._note_claude({**environment, **self._claude, **managed}, managed)

    def command(self, words: Sequence[str]) -> list[str]:
        """A command line with the options of the agent that it starts, if it starts one.

        Args:
            words: of the command line.
        """
        found = agent_at(words)
        if found is None or found[1] not in ("codex", "claude"):
            return [*words]
        at, agent = found
        before, after = words[: at + 1], words[at + 1 :]
        if agent == "codex":
            return [*before, *_as_options(self._codex), *self._redirected(after)]
        return [*before, *self._with_settings(after)]

    def scripts(self, where: Path, find: Callable[[str], str | None]) -> None:
        """Write programs of the agents' names that start them with their options, for what starts them by name.

        Args:
            where: the folder for them, to be looked into before others.
            find: finds the real ones.
        """
        if os.name == "nt":  # where programs are no scripts
            return
        options = {"codex": _as_options(self._codex), "claude": self._with_settings(())}
        for name, given in options.items():
            real = find(name)
            if real is not None and given:
                where.mkdir(exist_ok=True)
                script = where / name
                script.write_text(f'#!/bin/sh\nexec {shlex.join([real, *given])} "$@"\n', encoding="utf-8")
                script.chmod(0o700)

    def _of_codex_file(self) -> dict[str, str]:
        """The addresses that Codex gets, by the names of its settings."""
        home = self._environment.get("CODEX_HOME")
        folder = Path(home) if home else self._home / ".codex"
        stated: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):  # Codex says itself what is wrong with it
            stated = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
        subscribed = self._is_subscribed(folder)
        found = {_OPENAI: KNOWN["chatgpt"].url if subscribed else USUAL["OPENAI_BASE_URL"][1]}
        if isinstance(stated.get(_OPENAI), str):
            found[_OPENAI] = stated[_OPENAI]
        providers = stated.get("model_providers")
        for name, one in providers.items() if isinstance(providers, dict) else ():
            if isinstance(one, dict) and isinstance(one.get("base_url"), str):
                found[f"model_providers.{name}.base_url"] = one["base_url"]
        return {setting: reached for setting, url in found.items() if (reached := self._reached(setting, url))}

    def _is_subscribed(self, folder: Path) -> bool:
        """Whether Codex has no key, but somebody has logged in to ChatGPT: it then asks another address."""
        if self._environment.get("CODEX_API_KEY"):
            return False
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            login = _CODEX_LOGIN.decode((folder / "auth.json").read_bytes())
            return login.tokens is not None and not login.key
        return False

    def _reached(self, setting: str, url: str) -> str | None:
        try:
            if "." in setting.removeprefix("model_providers.").removesuffix(".base_url"):
                msg = "no option of Codex reaches a provider whose name has a dot"
                raise ValueError(msg)  # noqa: TRY301 - one text for all that stays as it is
            return self._addresses.of("openai", url, seen=True)
        except ValueError as error:
            self.notes["codex"].append(f"what Codex sends by {setting} is not metered: {error}")
            return None

    def _redirected(self, words: Sequence[str]) -> Iterator[str]:
        """The words of Codex's command line, with addresses that stand among its options replaced."""
        left = iter(words)
        for word in left:
            if word == "--":
                yield from (word, *left)
            elif word in _CODEX_OPTIONS:
                yield from (word, *(self._replaced(one) for one in (next(left, None),) if one is not None))
            elif word.startswith(("--config=", "-c")) and "=" in word:
                option = "--config=" if word.startswith("--config=") else "-c"
                yield option + self._replaced(word.removeprefix(option))
            else:
                yield word

    def _replaced(self, option: str) -> str:
        setting, equals, value = option.partition("=")
        setting = setting.strip()
        if not equals or not (setting == _OPENAI or (setting.startswith("model_providers.") and "base_url" in setting)):
            return option
        reached = self._reached(setting, value.strip().strip("\"'"))
        return option if reached is None else _option(setting, reached)

    def _of_claude_files(self) -> dict[str, str]:
        """The variables that Claude Code's settings set, which win over those of its environment."""
        stated = self._environment.get("CLAUDE_CONFIG_DIR")
        first = Path(stated) if stated else self._home / ".claude"
        found = dict[str, str]()
        for file in (
            first / "settings.json",
            *(self._folder / ".claude" / name for name in ("settings.json", "settings.local.json")),
        ):
            found |= self._variables(file)
        return found

    def _variables(self, file: Path) -> dict[str, str]:
        try:
            found = _CLAUDE.decode(file.read_bytes()).env
        except (OSError, msgspec.MsgspecError):  # Claude Code says itself what is wrong with it
            return {}
        return {name: str(value) for name, value in found.items() if isinstance(value, (str, int))}

    def _with_settings(self, words: Sequence[str]) -> list[str]:
        """The words of Claude Code's command line, with settings that lead where files of it lead elsewhere."""
        rest, text = list[str](), "{}"
        left = iter(words)
        for word in left:
            if word == "--settings":
                text = next(left, "")
            elif word.startswith("--settings="):
                text = word.removeprefix("--settings=")
            else:
                rest.append(word)
        given = self._settings(text)
        if given is None:  # Claude Code says itself what is wrong with them
            return [*words]
        variables = given.get("env")
        stated = {**self._claude, **(variables if isinstance(variables, dict) else {})}
        led = {name: reached for name in USUAL if (reached := self._led(name, stated.get(name)))}
        if led:
            given = {**given, "env": {**(variables if isinstance(variables, dict) else {}), **led}}
        elif not given:
            return [*words]
        return ["--settings", json.dumps(given), *rest]

    def _led(self, name: str, value: object) -> str | None:
        if not isinstance(value, str) or value.startswith(self._addresses.told.gateway):
            return None
        with contextlib.suppress(ValueError):
            return self._addresses.of(USUAL[name][0], value or USUAL[name][1], seen=True)
        return None

    def _settings(self, given: str) -> dict[str, Any] | None:
        """What ``--settings`` gives Claude Code: JSON, or a file of it; None if it is neither."""
        try:
            text = given if given.lstrip().startswith("{") else (self._folder / given).read_text(encoding="utf-8")
            found = json.loads(text)
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def _note_claude(self, variables: Mapping[str, str], managed: Mapping[str, str]) -> None:
        for name, place in _ELSEWHERE.items():
            reached = name == _BEDROCK and _OF_BEDROCK in self._addresses.told.variables
            if not reached and variables.get(name, "").strip().lower() in ("1", "true", "yes", "on"):
                self.notes["claude"].append(f"{name} has Claude Code send to {place}, and nothing of that is metered")
        if "ANTHROPIC_BASE_URL" in managed:
            text = "a managed setting of Claude Code says where it sends to, and nothing of that is metered"
            self.notes["claude"].append(text)


class _CodexLogin(msgspec.Struct):
    tokens: dict[str, Any] | None = None
    key: str | None = msgspec.field(name="OPENAI_API_KEY", default=None)


_CODEX_LOGIN: Final = msgspec.json.Decoder(_CodexLogin)


class _ClaudeSettings(msgspec.Struct):
    env: dict[str, object] = {}


_CLAUDE: Final = msgspec.json.Decoder(_ClaudeSettings)


def _option(setting: str, address: str) -> str:
    return f'{setting}="{address}"'


def _as_options(settings: Mapping[str, str]) -> list[str]:
    # What is compressed, as it is for those who have logged in, no gateway can read.
    given = ["features.enable_request_compression=false", *(_option(*one) for one in settings.items())]
    return [word for one in given for word in ("-c", one)]
