"""`python -m budgeted.testing`: a simulated LLM provider as a process of its own."""

from __future__ import annotations

import argparse
import sys
import threading

import msgspec

from .billing import Amount, Rates
from .provider_in_thread import SimulatedProvider

_Prices = dict[str, Rates | list[Amount]]


def main() -> None:
    """Serve until interrupted. The first line on standard output is a JSON object with `url`."""
    parser = argparse.ArgumentParser(
        prog="python -m budgeted.testing", description="A simulated LLM provider on loopback."
    )
    parser.add_argument("--port", type=int, default=0, help="the port to listen on; 0: a free one")
    parser.add_argument("--bill", metavar="FILE", help="append each billed call to this file as a line of JSON")
    parser.add_argument("--seed", type=int, default=0, help="answers depend on the request and on this number only")
    parser.add_argument("--prices", default="{}", help='such as {"my-model": [1.25, 10]}, USD per million tokens')
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    prices = msgspec.json.decode(options.prices, type=_Prices)
    with SimulatedProvider(prices, seed=options.seed, port=options.port, bill=options.bill) as provider:
        print(f'{{"url": "{provider.url}"}}', flush=True)  # noqa: T201 - this is how the URL is told
        try:
            if options.until_stdin_closes:
                sys.stdin.buffer.read()
            else:
                threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
