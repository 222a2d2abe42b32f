"""``budgeted gateway --check``: whether a gateway would serve as it is set up, without starting one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from budgeted.cli.bars import REFUSED, SPENT
from budgeted.cli.gateway_greeting import whose_page
from budgeted.cli.table_cells import marked
from budgeted.cli.table_output import Output, show
from budgeted.errors import BudgetError
from budgeted.gateway import key_secret, trace_export
from budgeted.gateway.stated_gateway import StatedGateway, missing_key
from budgeted.gateway.upstreams import Upstream, Upstreams
from budgeted.http_server.tokens import Tokens
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.default_place import default_directory
from budgeted.ledger.limit_conversion import limit_of
from budgeted.ledger.opening import exists, open_ledger
from budgeted.ledger.urls import public
from budgeted.limits.limit import Limit
from budgeted.manager.stated_settings import stated

NEEDED: Final = (
    *("aiohttp", "httptools", "jinja2", "pygal", "starlette", "uvicorn"),
    *("opentelemetry.sdk", "prometheus_client"),
)
"""What the extra ``gateway`` installs."""


class Found(NamedTuple):
    """What was looked at.

    Args:
        what: in a word.
        well: whether the gateway would serve.
        text: what was found, or what is wrong.
    """

    what: str
    well: bool
    text: str


def check_gateway(stated: StatedGateway, ledger: str | None, project: str, limits: Sequence[str]) -> bool:
    """Look at all that a gateway needs, and print it. Whether all is well.

    Args:
        stated: how it is set up.
        ledger: where balances are kept.
        project: the namespace there.
        limits: of everybody together, as options have them.
    """
    found = [*_looked_at(stated, ledger, project, limits)]
    states = {True: marked("ok", SPENT), False: marked("PROBLEM", REFUSED)}
    rows = [(one.what, states[one.well], one.text) for one in found]
    show(rows, ("what", "state", "found"), rows, Output(), nothing="")
    return all(one.well for one in found)


def _looked_at(stated: StatedGateway, ledger: str | None, project: str, limits: Sequence[str]) -> Iterator[Found]:
    listening = stated.listening
    who = "whoever is on this machine" if stated.settings.open else "who has a key"
    yield Found("listens", True, f"{listening.host}, port {listening.port}, workers {listening.workers}; for {who}")
    yield _of("settings", _settings)
    yield _of("packages", _packages)
    for one in sorted(Upstreams(stated.settings.upstreams).by_name.values(), key=lambda one: one.name):
        missing = missing_key(stated, one.name, os.environ)
        if (text := missing or _of_upstream(one, stated)) is not None:
            yield Found(f"upstream {one.name}", missing is None, text)
    found = _of("ledger", lambda: _ledger(ledger, project))
    yield found
    yield _of("limits", lambda: _limits(ledger, project, limits, look=found.well))
    if not stated.settings.open:
        yield _of("keys", _secret)
    yield _of("page", lambda: whose_page(stated, Tokens.of_environment(os.environ)))
    whom = "also elsewhere, with metrics_token" if stated.settings.metrics_token else "on this machine alone"
    if listening.workers > 1:
        whom = "not told by several workers"
    yield Found("/metrics", True, whom)
    yield _of(
        "traces",
        lambda: ", ".join(trace_export.check(os.environ)) or "none, but for what callers' headers say to upstreams",
    )


def _of(what: str, look: Callable[[], str]) -> Found:
    try:
        return Found(what, True, look())
    except (BudgetError, ValueError, TypeError, OSError, trace_export.ExportError) as error:
        return Found(what, False, str(error))


def _settings() -> str:
    found = stated()
    found.register_prices()  # so that they are looked at
    if found.file is None:
        return "no file, and variables"
    priced = len(found.file.table.get("prices", ()))  # type: ignore[arg-type] # a table, as it was looked at
    return f"{found.file.path}" + (f", with prices of {priced} models" if priced else "")


def _packages() -> str:
    missing = [name for name in NEEDED if not _is_there(name)]
    if missing:
        msg = f"{', '.join(missing)} cannot be found; pip install 'budgeted[gateway]'"
        raise ValueError(msg)
    return "all are there"


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _of_upstream(one: Upstream, stated: StatedGateway) -> str | None:
    """Where an upstream is, and whose key it is asked with; None for one that nobody speaks of."""
    variable = next((name for name in one.keys if os.environ.get(name, "").strip()), None)
    if variable is not None:
        return f"{one.url}, key of {variable}"
    if f"upstreams.{one.name}" not in stated.sources:
        return None
    if any(name in ("authorization", one.scheme) for name, _ in one.headers):
        return f"{one.url}, key of its headers"
    if stated.settings.open:
        return f"{one.url}, callers' own keys ({' or '.join(one.keys)} is not set)"
    return f"{one.url}, callers' own keys, beside ours in x-budgeted-key ({' or '.join(one.keys)} is not set)"


def _ledger(ledger: str | None, project: str) -> str:
    place = public(str(default_directory() if ledger is None else ledger))
    if exists(ledger, project) is False:
        return f"{place}, where project {project} is made"
    open_ledger(ledger, project, fsync="background").read(GLOBAL)
    return f"{place}, project {project}"


def _limits(ledger: str | None, project: str, limits: Sequence[str], *, look: bool) -> str:
    """The limits of everybody together: those of options, else the stated ones, else the ledger's."""
    told = Limit.parse_all(limits)
    if not told:
        setting = stated().settings.get("max_budget")
        told = setting.value if setting is not None and isinstance(setting.value, tuple) else ()
    if not told and look and exists(ledger, project) is not False:
        account = open_ledger(ledger, project, fsync="background").read(GLOBAL)
        told = () if account is None else tuple(limit_of(slot) for slot in account.slots)
    return " + ".join(map(str, told)) or "none for all together"


def _secret() -> str:
    found = key_secret.find(os.environ)
    if found is None:
        return "none as yet: `budgeted keys create USER` makes the first"
    where = key_secret.VARIABLE if os.environ.get(key_secret.VARIABLE) else str(key_secret.path())
    weakness = key_secret.weakness(found)
    return f"signed with the secret of {where}" + (f"; {weakness}" if weakness else "")
