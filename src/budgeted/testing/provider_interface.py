"""What tests see of a simulated provider, wherever it runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from .billing import Billed
from .scripted_reply import Answerer, Reply, Request


class Provider(ABC):
    """What a simulated provider offers, wherever it runs.

    Attributes:
        url: Where it listens, such as `http://127.0.0.1:49152`.
    """

    url: str

    @property
    def openai_url(self) -> str:
        """The `base_url` of OpenAI clients."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The `base_url` of Anthropic clients."""
        return self.url

    @property
    def groq_url(self) -> str:
        """The `base_url` of Groq clients."""
        return f"{self.url}/groq"

    @property
    def mistral_url(self) -> str:
        """The `server_url` of Mistral clients."""
        return f"{self.url}/mistral"

    @property
    def google_url(self) -> str:
        """The `base_url` in the `http_options` of Google's Gen AI clients."""
        return self.url

    @property
    def cohere_url(self) -> str:
        """The `base_url` of Cohere clients."""
        return self.url

    @property
    def ollama_url(self) -> str:
        """The `host` of Ollama clients."""
        return self.url

    @property
    def bill(self) -> list[Billed]:
        """Every call that is charged for, oldest first."""
        return self._bill()

    @property
    def requests(self) -> list[Request]:
        """Every request seen, refused ones included, oldest first."""
        return self._requests()

    def reset(self) -> None:
        """Forget the bill, the requests, the queue and the usual reply."""
        self._reset()

    def queue(self, *replies: Reply) -> None:
        """Answer the next requests like this, in this order, and those after them as usual.

        Args:
            *replies: How they are answered, each once.
        """
        self._queue(*replies)

    def release(self) -> None:
        """Let all requests go on that are parked now: by `hang` or by `gate_after`."""
        self._release()

    def wait_parked(self, count: int = 1, timeout: float = 10.0) -> bool:
        """Wait until so many requests are parked (by `hang`, `gate` or `gate_after`).

        Args:
            count: How many.
            timeout: For how many seconds at most.

        Returns:
            Whether so many are.
        """
        return self._wait_parked(count, timeout)

    def wait_idle(self, timeout: float = 10.0) -> bool:
        """Wait until no request is being answered, so that the bill is final.

        Args:
            timeout: For how many seconds at most.

        Returns:
            Whether that is so.
        """
        return self._wait_idle(timeout)

    def close(self) -> None:
        """Break all connections and stop."""
        self._close()

    def reply(self, usual: Reply | Answerer | None = None, **fields: Any) -> None:
        """Answer every request like this from now on, unless the queue or its `x-simulate` header decides.

        Args:
            usual: A `Reply`, or a function from a `Request` to one (None: the defaults). It is called in the
                provider's thread and must not block.
            **fields: The fields of a `Reply`, instead.

        Raises:
            TypeError: Both a reply and fields are given.

        Example:
            >>> provider.reply(output_tokens=100, latency=0.05)  # doctest: +SKIP
        """
        if usual is not None and fields:
            raise TypeError(f"give either a reply or its fields, not both: {sorted(fields)}")
        self._usual(Reply(**fields) if usual is None else usual)

    def billed_nano(self) -> int:
        """Return what all calls cost, in nano-USD."""
        return sum(billed.nano_usd for billed in self.bill)

    def reported_nano(self) -> int:
        """Return what those calls cost whose usage was told to the client, in nano-USD."""
        return sum(billed.nano_usd for billed in self.bill if billed.reported)

    def billed_usd(self) -> Decimal:
        """Return what all calls cost, in USD."""
        return Decimal(self.billed_nano()).scaleb(-9)

    def billed_tokens(self) -> int:
        """Return the tokens of all calls, input and output."""
        return sum(billed.usage.input_tokens + billed.usage.output_tokens for billed in self.bill)

    def unreported(self) -> list[Billed]:
        """Return the calls whose usage the client was not told."""
        return [billed for billed in self.bill if not billed.reported]

    @abstractmethod
    def _bill(self) -> list[Billed]: ...

    @abstractmethod
    def _requests(self) -> list[Request]: ...

    @abstractmethod
    def _reset(self) -> None: ...

    @abstractmethod
    def _usual(self, reply: Reply | Answerer) -> None: ...

    @abstractmethod
    def _queue(self, *replies: Reply) -> None: ...

    @abstractmethod
    def _release(self) -> None: ...

    @abstractmethod
    def _wait_parked(self, count: int, timeout: float) -> bool: ...

    @abstractmethod
    def _wait_idle(self, timeout: float) -> bool: ...

    @abstractmethod
    def _close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
