"""The most that a request may cost, by its body alone: what a budget would hold for it at the most."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import IO, Any, Final

import click
import msgspec

from budgeted.cli import completions
from budgeted.cli.show_price import priced, source_of
from budgeted.cli.table_cells import Amount, spelt_out
from budgeted.cli.table_output import Output, output_options, show
from budgeted.cli.terminal_table import Row
from budgeted.ledger.accounts import GLOBAL
from budgeted.manager.administrative_manager import Books
from budgeted.metering import call_bound
from budgeted.metering.cost_bound import unpriced_model
from budgeted.money import NANO
from budgeted.payers.block_figures import BlockFigures
from budgeted.payers.payer_interface import Group
from budgeted.pricing.model_price import Price
from budgeted.validation import shown
from budgeted.wire import request_by_shape
from budgeted.wire.normalized_request import Request

STDIN: Final = "<stdin>"


class Estimate(msgspec.Struct, frozen=True):
    """What a request may cost at most.

    Args:
        model: that it is for.
        provider: whose price it is, as genai-prices names it.
        source: where the price is from.
        most: USD.
        input_tokens: at most so many.
        output_tokens: at most so many, of all answers that are asked for.
        capped: whether the request says itself how long an answer may be.
    """

    model: str
    provider: str
    source: str
    most: float
    input_tokens: int
    output_tokens: int
    capped: bool


class _Asked:
    """A call that nobody makes, as what bounds calls looks at it."""

    def __init__(self, request: Request, payer: Books) -> None:
        self.request = request
        self.groups: tuple[Group, ...] = (Group(payer.payer, (GLOBAL,), (payer.payer.policy,)),)
        self.blocks: tuple[BlockFigures, ...] = ()
        self.at = int(time.time())
        self.price: Price | None = None
        self.size = call_bound.UNCOUNTED
        self.whole = False


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--model",
    shell_complete=completions.models,
    help="Where the request does not name it, or to see what another one costs.",
)
@click.option("--provider", help="Whose API it is for, where it does not show that, such as azure or groq.")
@output_options
def estimate(file: IO[bytes], model: str | None, provider: str | None, *, output: Output) -> None:
    """Show the most that a request may cost. FILE is its body as JSON; - is standard input.

    It is what a budget would set aside if there were room for all of it. Bodies are as OpenAI and those who speak like
    it, Anthropic, Gemini and Bedrock take them. Exit code 1: it is none, or nobody knows a price.
    """
    name = getattr(file, "name", STDIN)
    body = _body(file.read(), name)
    try:
        request = request_by_shape.read(body, model, provider)
    except ValueError as error:
        raise click.ClickException(f"{name}: {str(error).replace('model=', '--model')}") from None
    if request.unseen:
        raise click.ClickException(f"{name}: {request.unseen} has no bound: no answer tells what it costs")
    found = priced(unpriced_model(request) or request.model, request.provider or None)
    with Books("estimate", ledger="memory://") as books:
        ask = call_bound.bound(_Asked(request, books))
    made = Estimate(
        model=request.model,
        provider=found.provider,
        source=source_of(request.model, request.provider or None),
        most=ask.usd_for(ask.most) / NANO,
        input_tokens=ask.tokens,
        output_tokens=ask.tokens_rate * ask.most,
        capped=request.cap is not None or not request.output,
    )
    _print(made, output)


def _print(made: Estimate, output: Output) -> None:
    most = Amount(made.most, exact=True)
    if not output.for_people:
        row: Row = (made.model, made.provider, most, made.input_tokens, made.output_tokens)
        show(made, ("model", "provider", "most_usd", "input_tokens", "output_tokens"), [row], output, nothing="")
        return
    whose = f" of {made.provider}" if made.provider else ""
    click.echo(spelt_out(f"{made.model}{whose}, by {made.source}"))
    show(
        made, ("at most", "tokens"), [("input", made.input_tokens), ("output", made.output_tokens)], output, nothing=""
    )
    click.echo(f"at most {most.text()}")
    if not made.capped:
        click.echo("it has no output cap: a limit would grant it less, and write that into it")


def _body(content: bytes, name: str) -> Mapping[str, Any]:
    """The request that a file has.

    Raises:
        ClickException: it has none; the text says what is wrong.
    """
    if not content.strip():
        raise click.ClickException(f"{name} is empty; write a request's body as JSON")
    try:
        body = msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise click.ClickException(f"{name} is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise click.ClickException(f'{name} has {shown(body)}; a request is an object, such as {{"model": ...}}')
    return body
