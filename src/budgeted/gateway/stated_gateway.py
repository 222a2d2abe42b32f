"""What is stated of a gateway: ``[gateway]`` of the settings file, then ``BUDGETED_GATEWAY_*`` variables, then options.

Nothing here needs the packages that a gateway runs on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

import msgspec

from budgeted.gateway import setting_checks
from budgeted.gateway.known_providers import KNOWN
from budgeted.gateway.settings import GatewaySettings, KeyDefaults, ListenSettings, UpstreamSettings
from budgeted.gateway.upstreams import stated_upstream
from budgeted.manager import settings_file
from budgeted.manager.environment import GATEWAY_SETTINGS, YES_OR_NO
from budgeted.manager.settings_file import SettingsFile
from budgeted.validation import shown

PREFIX: Final = "BUDGETED_GATEWAY_"

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_Values: TypeAlias = dict[str, object]
_Sources: TypeAlias = dict[str, str]
_Merged: TypeAlias = tuple[_Values, dict[str, "str | UpstreamSettings"], _Sources]


class StatedGateway(msgspec.Struct, frozen=True):
    """All that is stated of a gateway.

    Args:
        settings: what it forwards, and for whom.
        listening: where it listens.
        keys: what new keys have.
        sources: where each setting stands that is stated: a variable, an option, or a file with line and key; of
            upstreams and of keys, each as ``"upstreams.NAME"`` and ``"keys.limit"``.
    """

    settings: GatewaySettings
    listening: ListenSettings
    keys: KeyDefaults
    sources: dict[str, str]

    def value(self, name: str) -> object:
        """What is stated, by its name in ``sources``."""
        table, _, inner = name.partition(".")
        if table == "upstreams":
            return self.settings.upstreams[inner]
        where = self.keys if table == "keys" else self.settings if hasattr(self.settings, name) else self.listening
        return getattr(where, inner or name)


def stated_gateway(environment: Mapping[str, str], options: Mapping[str, object] | None = None) -> StatedGateway:
    """What is stated of a gateway here and now.

    Args:
        environment: such as ``os.environ``.
        options: of the command line, by the names of settings; None for one that was not given.

    Raises:
        ValueError: something makes no sense, or is known to nobody; the text tells where it stands, quotes it unless it
            may be secret, and says what was meant.

    Example:
        >>> stated_gateway({"BUDGETED_GATEWAY_PORT": "9000", "BUDGETED_CONFIG": "/dev/null"}).listening.port
        9000
    """
    file = settings_file.find_file(environment)
    values, upstreams, sources = ({}, {}, {}) if file is None else _by_file(file)
    keys = _keys(file, sources) if file is not None else KeyDefaults()
    for more in (_by_variables(environment), _by_options(options or {})):
        values |= more[0]
        upstreams |= more[1]
        sources |= more[2]
    mine = {name: values.pop(name) for name in ListenSettings.__struct_fields__ if name in values}
    settings = msgspec.structs.replace(GatewaySettings(upstreams=upstreams), **values)
    return StatedGateway(settings, msgspec.structs.replace(ListenSettings(), **mine), keys, sources)


def missing_key(stated: StatedGateway, name: str, environment: Mapping[str, str]) -> str | None:
    """What is wrong with an upstream whose key is said to be in a variable: that is not set; None if nothing is.

    Only who starts the gateway has to have it.

    Args:
        stated: what is stated of the gateway.
        name: of the upstream.
        environment: such as ``os.environ``.
    """
    upstream = stated.settings.upstreams.get(name)
    variable = upstream.key_env if isinstance(upstream, UpstreamSettings) else ""
    if not variable or environment.get(variable, "").strip():
        return None
    return (
        f"{stated.sources[f'upstreams.{name}']}: key_env names {variable}, which is not set; set it, or leave key_env "
        f"out where callers have keys of their own for {name}"
    )


def _by_file(file: SettingsFile) -> _Merged:
    values: _Values = {}
    sources: _Sources = {}
    table = _table(file, ("gateway",), file.table.get("gateway", {}), "port = 8788")
    _refuse_unknown(file, ("gateway",), table, (*GATEWAY_SETTINGS, "keys"))
    for name, value in table.items():
        if name not in ("upstreams", "keys"):
            values[name], sources[name] = (
                _checked(name, value, file.where("gateway", name)),
                file.where("gateway", name),
            )
    upstreams: dict[str, str | UpstreamSettings] = {}
    example = 'openai = "https://api.openai.com/v1"'
    for name, given in _table(file, ("gateway", "upstreams"), table.get("upstreams", {}), example).items():
        where = file.where("gateway", "upstreams", name)
        upstreams[name] = _upstream(where, name, _of_table(file, name, given))
        sources[f"upstreams.{name}"] = where
    return values, upstreams, sources


def _table(file: SettingsFile, keys: tuple[str, ...], given: object, example: str) -> dict[str, object]:
    if not isinstance(given, dict):
        msg = f"{file.where(*keys)}: must be a table, as in [{'.'.join(keys)}] with {example}, got {shown(given)}"
        raise ValueError(msg)  # noqa: TRY004 - as whatever is wrong in a file
    return given


def _refuse_unknown(file: SettingsFile, keys: tuple[str, ...], given: Iterable[str], known: tuple[str, ...]) -> None:
    for name in given:
        if name not in known:
            meant = difflib.get_close_matches(name, known, 1)
            if keys == ("gateway",) and name in KNOWN:
                hint = f'upstreams are in a table of their own: [gateway.upstreams] {name} = "https://..."'
            else:
                hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(known)}"
            msg = f"{file.where(*keys, name)}: is not known; {hint}"
            raise ValueError(msg)


def _of_table(file: SettingsFile, name: str, given: object) -> UpstreamSettings | object:
    """An upstream's table, of which only what kind of thing each is has been looked at."""
    if not isinstance(given, dict):
        return given
    keys = ("gateway", "upstreams", name)
    _refuse_unknown(file, keys, given, UpstreamSettings.__struct_fields__)
    where = file.where(*keys)
    if "url" not in given:
        if name not in KNOWN or not KNOWN[name].url:
            msg = f'{where}: has no url; write {name} = {{ url = "https://..." }}'
            raise ValueError(msg)
        given = {"url": KNOWN[name].url, **given}
    key_env = given.get("key_env", "")
    if not isinstance(key_env, str) or (key_env and not _VARIABLE.fullmatch(key_env)):
        msg = (
            f'{file.where(*keys, "key_env")}: must be the name of a variable that has the key, such as "VLLM_API_KEY", '
            f"and what is there is none"  # not quoted, as it may be the key itself
        )
        raise ValueError(msg)
    headers = given.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        msg = f'{file.where(*keys, "headers")}: must be a table of text such as {{ x-team = "search" }}'
        raise ValueError(msg)
    url = given["url"]
    return UpstreamSettings(url, key_env, headers) if isinstance(url, str) else url


def _upstream(where: str, name: str, given: object) -> str | UpstreamSettings:
    """An upstream that makes sense."""
    if not isinstance(given, (str, UpstreamSettings)):
        msg = f"{where}: must be an address such as https://api.openai.com/v1, got {shown(given)}"
        raise ValueError(msg)  # noqa: TRY004 - as the others
    try:
        stated_upstream(name, given)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from None
    return given


def _keys(file: SettingsFile, sources: _Sources) -> KeyDefaults:
    keys = ("gateway", "keys")
    table = file.table.get("gateway")
    given = _table(file, keys, table.get("keys", {}) if isinstance(table, dict) else {}, 'limit = "$5/day"')
    _refuse_unknown(file, keys, given, KeyDefaults.__struct_fields__)
    found: _Values = {}
    for name, value in given.items():
        where = sources[f"keys.{name}"] = file.where(*keys, name)
        found[name] = _checked(name, value, where)
    return msgspec.structs.replace(KeyDefaults(), **found)


def _by_variables(environment: Mapping[str, str]) -> _Merged:
    values: _Values = {}
    sources: _Sources = {}
    upstreams: dict[str, str | UpstreamSettings] = {}
    plain = _defaults()
    for name in GATEWAY_SETTINGS:
        variable = PREFIX + name.upper()
        text = environment.get(variable, "").strip()
        if not text:
            continue
        if name == "upstreams":
            upstreams = _addresses(variable, text.split(","), sources)
        else:
            values[name], sources[name] = _checked(name, _from_text(text, plain[name]), variable), variable
    return values, upstreams, sources


def _by_options(options: Mapping[str, object]) -> _Merged:
    sources: _Sources = {}
    given = {name: value for name, value in options.items() if value is not None}
    listed = given.pop("upstreams", ())
    upstreams = _addresses("--upstream", listed if isinstance(listed, tuple) else (), sources)
    values: _Values = {}
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        values[name], sources[name] = _checked(name, value, option), option
    return values, upstreams, sources


def _addresses(where: str, pairs: Iterable[str], sources: _Sources) -> dict[str, str | UpstreamSettings]:
    """Upstreams as text has them: ``openai=https://api.openai.com/v1``."""
    found: dict[str, str | UpstreamSettings] = {}
    for pair in filter(None, (one.strip() for one in pairs)):
        name, equals, url = (part.strip() for part in pair.partition("="))
        if not equals:
            quoted = shown(re.sub(r"//[^/]*@", "//***@", pair))
            msg = f"{where}: must be like openai=https://api.openai.com/v1, got {quoted}"
            raise ValueError(msg)
        found[name] = _upstream(where, name, url)
        sources[f"upstreams.{name}"] = where
    return found


def _checked(name: str, value: object, where: str) -> object:
    try:
        return setting_checks.checked(name, value)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise ValueError(msg) from None


def _from_text(text: str, plain: object) -> object:
    """What a variable means, by what a setting is where nobody states it; text where it is no such thing."""
    if isinstance(plain, bool):
        return YES_OR_NO.get(text.lower(), text)
    if isinstance(plain, tuple):
        return [one.strip() for one in text.split(",") if one.strip()]
    if isinstance(plain, (int, float)):
        try:
            return type(plain)(text)
        except ValueError:
            return text
    return text


def _defaults() -> dict[str, object]:
    return {**msgspec.structs.asdict(ListenSettings()), **msgspec.structs.asdict(GatewaySettings())}
