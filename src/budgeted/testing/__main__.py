"""`python -m budgeted.testing`: a simulated LLM provider as a process of its own."""

from __future__ import annotations

import argparse
import sys
import threading

import msgspec

from .billing import Amount, Prices, Rates, Tariff
from .provider_in_thread import SimulatedProvider

_DESCRIPTION = """\
A simulated LLM provider on loopback, for tests of spending: it speaks the wire formats of OpenAI, Anthropic, Google,
Mistral, Groq, Cohere, Ollama, Amazon Bedrock and others, answers at once, and bills exactly. It needs no key.
"""

_MORE = """\
The first line on standard output is a JSON object with its address: {"url": "http://127.0.0.1:8123"}. It serves until
it is interrupted.

Point an SDK at it, with any key:
  OPENAI_BASE_URL=http://127.0.0.1:8123/v1 OPENAI_API_KEY=any python app.py
  ANTHROPIC_BASE_URL=http://127.0.0.1:8123 ANTHROPIC_API_KEY=any python app.py

A request says by its header x-simulate how it is answered, else as POST /__reply has said, else in good health:
  curl http://127.0.0.1:8123/v1/chat/completions -H 'content-type: application/json' \\
    -H 'x-simulate: {"output_tokens": 500, "latency": 0.2}' \\
    -d '{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello!"}]}'
  curl http://127.0.0.1:8123/__reply -d '{"queue": [{"status": 429, "retry_after": 1}, {}]}'

What it has billed, and what it was asked:
  curl http://127.0.0.1:8123/__bill
  curl http://127.0.0.1:8123/__requests

docs/reference/simulated-provider.md, in the source distribution, has the rest.
"""


def main() -> None:
    """Serve until interrupted. The first line on standard output is a JSON object with `url`."""
    parser = argparse.ArgumentParser(
        prog="python -m budgeted.testing",
        description=_DESCRIPTION,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=_port, default=0, help="the port to listen on; 0, the default: a free one")
    parser.add_argument("--bill", metavar="FILE", help="append each billed call to this file as a line of JSON")
    parser.add_argument(
        "--seed", type=int, default=0, help="answers depend on the request and on this number only; default: 0"
    )
    parser.add_argument(
        "--prices", type=_prices, default={}, help='such as {"my-model": [1.25, 10]}, USD per million tokens'
    )
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    try:
        provider = SimulatedProvider(options.prices, seed=options.seed, port=options.port, bill=options.bill)
    except OSError as problem:
        what = f"write the bill to {options.bill}" if problem.filename else f"listen on port {options.port}"
        parser.exit(1, f"{parser.prog}: cannot {what}: {problem.strerror or problem}\n")
    with provider:
        _serve(provider, until_stdin_closes=options.until_stdin_closes)


def _serve(provider: SimulatedProvider, *, until_stdin_closes: bool) -> None:
    print(f'{{"url": "{provider.url}"}}', flush=True)  # noqa: T201 - this is how the URL is told
    try:
        if until_stdin_closes:
            sys.stdin.buffer.read()
        else:
            threading.Event().wait()
    except KeyboardInterrupt:
        pass


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _prices(text: str) -> Prices:
    try:
        prices = msgspec.json.decode(text, type=dict[str, Rates | list[Amount]])
    except msgspec.MsgspecError as problem:
        raise argparse.ArgumentTypeError(
            f'prices are JSON such as {{"my-model": [1.25, 10]}}, USD per million tokens, not {text[:200]!r}: {problem}'
        ) from problem
    try:
        Tariff(prices)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem
    return prices


if __name__ == "__main__":
    main()
