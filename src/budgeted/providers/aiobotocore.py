"""Amazon Bedrock through aiobotocore, the asynchronous twin of botocore: what is sent is read as there.

Its streams are read by aiohttp or httpx, so they are watched at the SDK's own objects, which keep their type.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from budgeted.metering import runner
from budgeted.metering.call import Call
from budgeted.metering.http_streams import Watch, items_async
from budgeted.providers import bedrock
from budgeted.providers.metered_method import run_async
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import note_lost_async
from budgeted.wire.aws_event_stream import FrameMeter
from budgeted.wire.stream_usage import BodyMeter


class _MessageMeter(FrameMeter):
    """Reads usage off an event stream whose frames botocore has taken apart."""

    def feed(self, message: Any) -> Any:
        """Take a message, and pass it on."""
        self._take(message.payload)
        return message


class _Sent(bedrock.Sent):
    """One operation, as aiobotocore was asked for it."""

    def watch(self, call: Call, stream: Any) -> bool:
        """Settle the call when its body has been read; False if it cannot be watched."""
        if hasattr(stream, "_event_generator"):
            state = Watch(call, _MessageMeter())
            stream._event_generator = items_async(stream._event_generator, state)  # noqa: SLF001 - no other place
        elif hasattr(stream, "read"):
            state = Watch(call, BodyMeter())
            # No reference to the stream: it is to be collected when its reader forgets it.
            stream.read = functools.partial(_read, weakref.ref(stream), state)
        else:
            return False
        stream.close = functools.partial(_close, weakref.ref(stream), state)
        weakref.finalize(stream, state.end_early)  # for a reader that neither reads it to its end nor closes it
        return True


async def _read(itself: weakref.ref[Any], state: Watch, amt: int | None = None) -> bytes:
    stream: Any = itself()
    try:
        data: bytes = await type(stream).read(stream, amt)
    except BaseException as error:
        state.end_early(error)
        raise
    state.meter.feed(data)
    if (amt is None or amt < 0 or (not data and amt)) and not state.call.ended:
        await runner.settled(state.call, state.outcome(None, at_end=True))
    return data


def _close(itself: weakref.ref[Any], state: Watch) -> Any:
    stream: Any = itself()
    try:
        return type(stream).close(stream)
    finally:
        state.end_early()


async def _needs_retry(
    wrapped: Callable[..., Any], endpoint: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """The SDK is about to repeat a request: one that timed out after it was sent may have been billed."""
    again = await wrapped(*args, **kwargs)
    if again:
        await note_lost_async(bedrock.caught(args, kwargs))
    return again


HOOKS = (
    Hook(
        "aiobotocore.client",
        "AioBaseClient._make_api_call",
        functools.partial(run_async, functools.partial(bedrock.read, _Sent)),
    ),
    Hook("aiobotocore.endpoint", "AioEndpoint._needs_retry", _needs_retry, watched=False),
)
