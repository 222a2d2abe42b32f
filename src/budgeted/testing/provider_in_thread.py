"""The simulated provider in a thread of the process that tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from .billing import DEFAULT_PRICE, Amount, Bill, Billed, Prices, Rates, Tariff
from .http_connection import come_in
from .provider_in_subprocess import SpawnedProvider
from .provider_interface import Provider
from .provider_state import State
from .request_routing import Server
from .scripted_reply import Answerer, Reply, Request


class SimulatedProvider(Provider):
    """An LLM provider on loopback which speaks the wire formats of several providers and bills exactly.

    They are those of OpenAI, Anthropic, Google, Mistral, Groq, Cohere, Ollama and Amazon Bedrock; and of Together,
    Fireworks, Cerebras, OpenRouter, Z.ai, Perplexity, Writer, Azure's model inference, Hugging Face, Replicate,
    ElevenLabs, watsonx.ai, Voyage and DashScope. The path tells which; where two share a path, each one's base URL
    begins with its name here, as in `/perplexity/chat/completions`.

    It starts at once, on a thread of its own, and stops on leaving `with` or by `close()`.

    Args:
        prices: By model, (input, output) or (input, output, cached input) in USD per million tokens, or `Rates`. They
            add to the public prices of a few models, `budgeted.testing.PRICES`.
        default_price: The price of any other model.
        max_output_tokens: By model, the most tokens it writes where the request has no cap.
        seed: Answers depend on the request and on this number only.
        port: The port to listen on; 0: a free one.
        bill: A file to which each call is appended as a line of JSON before its answer is sent.

    Example:
        >>> from openai import OpenAI
        >>> with SimulatedProvider() as provider:
        ...     client = OpenAI(base_url=provider.openai_url, api_key="any")
        ...     answer = client.chat.completions.create(
        ...         model="gpt-5-mini",
        ...         messages=[{"role": "user", "content": "Hello"}],
        ...         extra_headers={"x-simulate": '{"input_tokens": 1000, "output_tokens": 500}'},
        ...     )
        ...     print(provider.billed_usd())
        0.001250000
    """

    def __init__(
        self,
        prices: Prices | None = None,
        *,
        default_price: Rates | Sequence[Amount] = DEFAULT_PRICE,
        max_output_tokens: Mapping[str, int] | None = None,
        seed: int = 0,
        port: int = 0,
        bill: str | Path | None = None,
    ) -> None:
        self._state = State(Tariff(prices, default_price, max_output_tokens), Bill(bill), seed)
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        started: Future[int] = Future()  # who makes a provider waits until it listens, or hears why it does not
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(port, started)), name="simulated-provider", daemon=True
        )
        self._thread.start()
        self.url = f"http://127.0.0.1:{started.result()}"

    async def _run(self, port: int, started: Future[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = Server(self._state)
        try:
            listening = await self._loop.create_server(server.connect, "127.0.0.1", port, backlog=1024)
        except OSError as problem:
            started.set_exception(problem)
            return
        started.set_result(listening.sockets[0].getsockname()[1])
        await self._stop.wait()
        # Nobody else is let in; those who were just now become connections first, which takes two turns of the loop:
        # asyncio leaves their sockets open if the server is closed before that.
        self._loop.remove_reader(listening.sockets[0].fileno())
        for _ in range(2):
            await asyncio.sleep(0)
        listening.close()
        await server.stop()

    @staticmethod
    def spawn(
        prices: Prices | None = None, *, seed: int = 0, port: int = 0, bill: str | Path | None = None
    ) -> SpawnedProvider:
        """Start a provider in a process of its own, for tests that kill, fork or measure the process under test.

        Args:
            prices: As for the provider itself.
            seed: Answers depend on the request and on this number only.
            port: The port to listen on; 0: a free one.
            bill: A file to which each call is appended as a line of JSON before its answer is sent.

        Returns:
            A provider with the same methods; it ends with this process at the latest.
        """
        return SpawnedProvider(prices, seed=seed, port=port, bill=bill)

    def _bill(self) -> list[Billed]:
        return self._state.bill.calls()

    def _requests(self) -> list[Request]:
        return self._state.requests()

    def _reset(self) -> None:
        self._state.reset()

    def _usual(self, reply: Reply | Answerer) -> None:
        self._state.behaviour.always(reply)

    def _queue(self, *replies: Reply) -> None:
        self._state.behaviour.once(*replies)

    def _release(self) -> None:
        # In the loop's own thread, where the waiting answers are.
        self._loop.call_soon_threadsafe(self._state.release)

    def _wait_parked(self, count: int, timeout: float) -> bool:
        return self._state.activity.wait_parked(count, timeout)

    def _wait_idle(self, timeout: float) -> bool:
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(come_in(), self._loop).result()
        return self._state.activity.wait_idle(timeout)

    def _close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._state.bill.close()
