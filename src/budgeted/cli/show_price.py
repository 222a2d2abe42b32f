"""What a model costs: its rates, where they are from, and what so many tokens cost."""

from __future__ import annotations

import importlib.metadata
import time
from typing import Final

import click
import msgspec

from budgeted.cli import completions
from budgeted.cli.table_cells import Amount, spelt_out
from budgeted.cli.table_output import Output, output_options, show
from budgeted.cli.terminal_table import Column
from budgeted.manager.stated_settings import stated
from budgeted.money import NANO, format_usd
from budgeted.pricing import known_models, price_registry, service_tiers
from budgeted.pricing.bundled_price_list import same_provider
from budgeted.pricing.model_price import Price
from budgeted.pricing.token_rates import Rates
from budgeted.pricing.usage import Usage

PICO_PER_MILLION: Final = 1_000_000
"""Pico-USD per token are micro-USD per million tokens."""

ALWAYS: Final = ("input", "output", "cached_input")
BESIDE: Final = {"per_call": "a call", "per_search": "a search", "per_hour": "an hour of sound"}


class ShownPrice(msgspec.Struct, frozen=True):
    """What is known of a model's price.

    Args:
        model: as the price list names it, or whoever registered it.
        provider: as genai-prices names it; "" for any.
        source: where the price is from.
        rates: USD per million tokens, by what kind of tokens; "per_call" and the like in USD each.
        max_output_tokens: the most that one answer can have, if anybody knows.
        context_window: in tokens, if anybody knows.
        cost: USD for the tokens that were asked about; None if none were.
        unknown: what of them has no price of its own, and is charged at the dearest; "" if nothing.
    """

    model: str
    provider: str
    source: str
    rates: dict[str, float]
    max_output_tokens: int | None
    context_window: int | None
    cost: float | None
    unknown: str


@click.command()
@click.argument("model", shell_complete=completions.models)
@click.option("--input", "given", type=click.IntRange(0), help="Tokens of input, those from a cache among them.")
@click.option("--output", "made", type=click.IntRange(0), help="Tokens of output.")
@click.option("--cached", type=click.IntRange(0), default=0, help="Those of the input that are read from a cache.")
@click.option("--provider", help="Whose model it is, such as azure, aws or openrouter.")
@click.option("--tier", help="The service tier, such as flex or priority.")
@output_options
def price(
    model: str,
    given: int | None,
    made: int | None,
    cached: int,
    provider: str | None,
    tier: str | None,
    *,
    output: Output,
) -> None:
    """Show what MODEL costs, and where that is from; with --input and --output, what so many tokens cost.

    Rates are those of now and of that much input. Prices of the settings file count, those that a program registers
    itself are not known here. Exit code 1: nobody knows a price.
    """
    if cached > (given or 0):
        raise click.UsageError(f"--cached {cached} is a part of --input, which is {given or 0}")
    if tier is not None and not service_tiers.is_one(tier):
        known = ", ".join(sorted(service_tiers.APART))
        raise click.UsageError(f"--tier {tier!r} is none that a provider has; write one of {known}")
    found = priced(model, provider)
    at = time.time()
    asked = given is not None or made is not None or bool(cached)
    usage = Usage(given or 0, made or 0, cached, service_tier=tier)
    rates = found.rates(at, usage.input_tokens, tier)
    answer = ShownPrice(
        model=found.model,
        provider=found.provider,
        source=source_of(model, provider),
        rates=_by_name(rates),
        max_output_tokens=found.max_output_tokens,
        context_window=found.context_window,
        cost=found.cost(usage, at) / NANO if asked else None,
        unknown=found.unknown(usage),
    )
    if output.for_people:
        whose = f" of {found.provider}" if found.provider else ""
        click.echo(spelt_out(f"{found.model}{whose}, by {answer.source}"))
    columns = (Column("tokens"), Column("USD per million", "usd_per_million"))
    show(answer, columns, _rows(rates), output, nothing="it costs nothing")
    if not output.for_people:
        return
    for line in (*_beside(rates), *_notes(found, rates, at, tier)):
        click.echo(line)
    if asked:
        counts = f"{usage.input_tokens:,} tokens in ({cached:,} cached) and {usage.output_tokens:,} out"
        click.echo(f"{counts} cost {format_usd(found.cost(usage, at))}")
    if answer.unknown:
        click.echo(spelt_out(f"no price is known for {answer.unknown}: it is charged at the dearest"))


def priced(model: str, provider: str | None) -> Price:
    """The price of a model as programs that are run here find it.

    Raises:
        ClickException: nobody knows one; the text has the nearest names.
    """
    stated().register_prices()
    found = price_registry.find(model, provider)
    if found is not None:
        if provider and found.provider not in ("", same_provider(provider)):
            told = f"no list has {model!r} of {provider!r}; by its name alone it is one of {found.provider!r}"
            click.echo(spelt_out(told), err=True)
        return found
    near = known_models.nearest(model, provider)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else 'state it in budgeted.toml, [prices."NAME"]'
    whose = f" of {provider}" if provider else ""
    raise click.ClickException(f"no price is known for model {model!r}{whose}; {hint}")


def source_of(model: str, provider: str | None) -> str:
    """Where a price is from, in words."""
    registration = price_registry.registration_of(model, provider)
    listed = f"the bundled price list (genai-prices {importlib.metadata.version('genai-prices')})"
    if registration is None:
        return listed
    file = stated().file
    place = "what was registered" if file is None else file.where("prices", registration.model)
    return place if registration.dimensions.whole else f"{place}, over {listed}"


def _shown(rates: Rates) -> list[str]:
    return [*ALWAYS, *(name for name in rates.given if name not in ALWAYS and name not in BESIDE)]


def _by_name(rates: Rates) -> dict[str, float]:
    tokens = {name: getattr(rates, name) / PICO_PER_MILLION for name in _shown(rates)}
    return {**tokens, **{name: getattr(rates, name) / 1000 / NANO for name in BESIDE if getattr(rates, name)}}


def _rows(rates: Rates) -> list[tuple[str, Amount]]:
    return [
        (name.replace("_", " "), Amount(getattr(rates, name) / PICO_PER_MILLION, exact=True)) for name in _shown(rates)
    ]


def _beside(rates: Rates) -> list[str]:
    return [f"{_usd(getattr(rates, name) / 1000)} for {what}" for name, what in BESIDE.items() if getattr(rates, name)]


def _usd(nano: float) -> str:
    return format_usd(round(nano))


def _notes(found: Price, rates: Rates, at: float, tier: str | None) -> list[str]:
    """What the rates of now do not tell."""
    notes = []
    most = found.ceiling(at, found.context_window or 10**9, tier)
    if (most.input, most.output) > (rates.input, rates.output):
        notes.append(
            f"at most {_usd(most.input * 1000)} and {_usd(most.output * 1000)} per million of input and output, by the "
            f"size of the input or the time of day"
        )
    if found.router:
        notes.append("the model that answers is billed at its own price besides")
    if found.max_output_tokens:
        notes.append(f"an answer has at most {found.max_output_tokens:,} tokens")
    return notes
