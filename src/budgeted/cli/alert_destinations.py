"""Whether alerts arrive where they are sent to."""

from __future__ import annotations

import datetime as dt
import os
import re
import secrets
import sys
from typing import Final, cast

import click
import msgspec

from budgeted.cli.table_output import Output, output_options, show
from budgeted.manager.stated_settings import Stated, stated
from budgeted.telemetry.events import Event
from budgeted.telemetry.webhooks import requests
from budgeted.telemetry.webhooks.couriers import ask
from budgeted.telemetry.webhooks.destinations import Destination
from budgeted.telemetry.webhooks.messages import body_of
from budgeted.telemetry.webhooks.signatures import Secret, secret_of_environment

NOWHERE: Final = (
    'no alerts_to is stated here; set BUDGETED_ALERTS_TO, or write alerts_to = ["https://..."] into budgeted.toml '
    "(what a program gives to configure() is not known to this command)"
)

_WORDS: Final = re.compile(r"[A-Za-z0-9 _.-]{1,40}")


class Outcome(msgspec.Struct, frozen=True):
    """What came back from one destination.

    Args:
        destination: its scheme and host.
        format: ``"json"`` or ``"slack"``.
        signed: whether the message was.
        taken: whether it has arrived.
        answer: what came back, or why nothing did.
    """

    destination: str
    format: str
    signed: bool
    taken: bool
    answer: str


@click.group()
def alerts() -> None:
    """Look after what alerts_to sends out."""


@alerts.command()
@output_options
def test(*, output: Output) -> None:
    """Send a test message to each URL of alerts_to, once, and say what comes back.

    The URLs are those that a settings file or BUDGETED_ALERTS_TO states; of each, its host is shown and no more. Exit
    code 0: all have taken it. 1: one has not, or there is none.
    """
    found = stated()
    setting = found.settings.get("alerts_to")
    destinations = cast("tuple[Destination, ...]", setting.value if setting is not None else ())
    if not destinations:
        raise click.ClickException(NOWHERE)
    key, event = _secret(found), _event(found)
    outcomes = [_tried(one, key, event) for one in destinations]
    rows = [(one.destination, one.format, "yes" if one.signed else "no", one.answer) for one in outcomes]
    show(outcomes, ("destination", "format", "signed", "answer"), rows, output, nothing="")
    if not all(one.taken for one in outcomes):
        sys.exit(1)


def _secret(found: Stated) -> Secret | None:
    setting = found.settings.get("alerts_secret")
    return secret_of_environment(os.environ) if setting is None else cast("Secret", setting.value)


def _event(found: Stated) -> Event:
    project = found.settings.get("project_name")
    return Event(
        kind="alert",
        at=dt.datetime.now(dt.UTC),
        project="default" if project is None else str(project.value),
        account="global",
        account_kind="global",
        reason="a test of alerts_to",
    )


def _tried(destination: Destination, secret: Secret | None, event: Event) -> Outcome:
    id = secrets.token_hex(16)
    try:
        answer = ask(destination, secret, id, body_of(event, id, destination))
        taken, said = answer.taken, f"{answer.status} {_readable(answer.text, destination)}".strip()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the next one is tried
        taken, said = False, requests.problem_of(error)
    return Outcome(str(destination), destination.format, secret is not None, taken, said)


def _readable(text: str, destination: Destination) -> str:
    """What an answer says, if it is but a few words, and none of them is from the URL."""
    words = text.strip()
    secret = f"{destination.parts.path}/{destination.parts.query}/{destination.parts.username}"
    hidden = [part for part in re.split(r"[^A-Za-z0-9_.-]+", secret) if len(part) > 2]
    return words if _WORDS.fullmatch(words) and not any(part in words for part in hidden) else ""
