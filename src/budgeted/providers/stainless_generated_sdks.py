"""What the SDKs made by Stainless share: one method that every logical call goes through, with its retries inside.

``SyncAPIClient.request`` and ``AsyncAPIClient.request`` fire once per call for all of ``create``, ``parse``, the
stream helpers, raw and streaming responses, in every client built on them, before or after hooking.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from budgeted.metering import http_streams
from budgeted.metering.call import Call
from budgeted.providers.metered_method import End, Read, Sent, http_end, pair
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.sdk_retries import repeat, repeat_async
from budgeted.providers.stream_usage_refusal import note_refusing
from budgeted.wire import response_usage
from budgeted.wire.content_type_and_encoding import read_whole
from budgeted.wire.exception_classification import came_through
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import FILES, Format, HTTPRequest, with_body
from budgeted.wire.request_formats.parameter_coercion import mapping
from budgeted.wire.request_formats.stream_usage_option import OPTION, is_refused

_PREPARING = frozenset(
    "altered _build_request _prepare_options _prepare_request _prepare_url _custom_auth _validate_headers".split()
)
"""Methods that an exception passes through only before anything is sent."""


_ATTEMPT = "_attempt_request"
"""The method that sends once, and returns the HTTP response whatever its status."""


class SDK:
    """One SDK: how its requests are read and written, and whose prices apply to a client's.

    Args:
        read_by: reads and writes its requests.
        provider: whose prices apply, given the names of a client's class and of all that it is derived from, and the
            address that it sends to.
    """

    def __init__(self, read_by: Format, provider: Callable[[str, str], str]) -> None:
        self.format = read_by
        self._provider = provider
        self._known: dict[int, tuple[object, type, tuple[str, str]]] = {}

    def sent_to(self, client: Any) -> tuple[str, str]:
        """Whose prices apply to what a client sends, and where it sends that.

        Args:
            client: the SDK's.
        """
        # openai 3 imports a module each time that it is asked for the public one. One does not change, and is kept
        # here, so that no other can have its identity; to write it out takes longer than all else of a request.
        url = client.__dict__.get("_base_url")
        known = self._known.get(id(url))
        if known is not None and known[0] is url and known[1] is client.__class__:
            return known[2]
        address = str(client.base_url if url is None else url)
        lineage = " ".join(base.__name__ for base in client.__class__.__mro__)
        found = self._provider(lineage, address), address
        if url is not None:
            if len(self._known) >= _MOST_URLS:
                self._known.clear()
            self._known[id(url)] = url, client.__class__, found
        return found


_MOST_URLS = 1024


def hooks(package: str, sdk: SDK) -> tuple[Hook, ...]:
    """The hooks of one SDK.

    Args:
        package: what its modules are in.
        sdk: how its requests are read.
    """
    module = f"{package}._base_client"
    return (
        *pair(module, "SyncAPIClient.request", "AsyncAPIClient.request", reader(sdk)),
        Hook(module, "SyncAPIClient._sleep_for_retry", repeat, watched=False),
        Hook(module, "AsyncAPIClient._sleep_for_retry", repeat_async, watched=False),
    )


def attempt_hooks(package: str, sdk: SDK) -> tuple[Hook, ...]:
    """The hooks of an SDK that takes middleware, which may send a call's request again, or another one, or none.

    Where a client has any, each attempt is metered, and not the call that it is a part of.

    Args:
        package: what its modules are in.
        sdk: how its requests are read.
    """
    read = functools.partial(_read, _Attempt, sdk)
    methods = (f"SyncAPIClient.{_ATTEMPT}", f"AsyncAPIClient.{_ATTEMPT}")
    return tuple(hook._replace(optional=True) for hook in pair(f"{package}._base_client", *methods, read))


class _Sent(Sent):
    """One request of the SDK: its options say all of it."""

    place = 1
    """Which argument of its method the options are."""
    by_attempt = False
    """Whether each attempt is metered, where a client has middleware."""
    hide_usage = False
    asks_usage = False
    refused_asking = False
    parsed: Any = None

    def __init__(
        self,
        request: Request,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        http: HTTPRequest,
        options: Any,
        extra: Mapping[str, Any] | None,
        as_given: bool,
        sdk: SDK,
    ) -> None:
        super().__init__(request, args, kwargs)
        self.http = http
        self.options = options
        self.extra = extra
        self.as_given = as_given
        self.format = sdk.format

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose options have what the call was granted."""
        options, given = self.options, self.http
        if not given.body:  # there is none, or one that is not understood: it is not ours to replace
            return self.args, self.kwargs
        http = self.granted(self.format, given, call)
        if self.refused_asking:
            self.asks_usage = self.hide_usage = False
        else:
            http, self.hide_usage = self.format.asking_usage(http, call.request)
            self.asks_usage = http is not given and http.body.get(OPTION) is not given.body.get(OPTION)
        parser = options.__dict__.get("post_parser")
        if http is given and self.as_given and not callable(parser):
            return self.args, self.kwargs
        update: dict[str, Any] = {"json_data": http.body}
        if vars(options).get("content") is not None:
            update["content"] = None
        if self.extra:
            update["extra_json"] = {name: http.body[name] for name in self.extra}
        if callable(parser):
            update["post_parser"] = functools.partial(self._parse, parser)
        options = options.model_copy(update=update)
        place = self.place
        if len(self.args) > place:
            return (*self.args[:place], options, *self.args[place + 1 :]), self.kwargs
        return self.args, {**self.kwargs, "options": options}

    def again(self, call: Call, error: Exception) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The arguments without what asks for the usage, where the endpoint refuses that."""
        self.refused_asking = self.asks_usage and is_refused(error)
        return self.altered(call) if self.refused_asking else None

    def _parse(self, parser: Callable[[Any], Any], response: Any) -> Any:
        # A parser that refuses the answer must not hide what it cost.
        self.parsed = response
        return parser(response)

    def outcome(self, call: Call, error: BaseException) -> End:
        """How the call ends that raised."""
        answer = response_usage.read(self.parsed if self.parsed is not None else getattr(error, "completion", None))
        if answer.usage is not None:
            return functools.partial(call.settle, answer)
        return functools.partial(call.fail, error, sent=not came_through(error, _PREPARING))

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this response; None for a stream, which ends it when it has been read."""
        if self.refused_asking:
            note_refusing(call.request.base_url or "")
        http = _unread(response)
        if http is not None:
            http_streams.watch(http, call, drop_usage=self.hide_usage)
            return None
        return functools.partial(call.settle, read_whole(response))


class _Attempt(_Sent):
    """One attempt to send it, of those that middleware has under its hands."""

    place = 0
    by_attempt = True

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this HTTP response, which comes with the options that it was made of."""
        return http_end(call, response[0])


def reader(sdk: SDK) -> Read:
    """What reads a client's method that makes one logical call, and takes the options as its second argument.

    Args:
        sdk: how its requests are read.
    """
    return functools.partial(_read, _Sent, sdk)


def _read(kind: type[_Sent], sdk: SDK, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
    """What is sent by a method; None if it is not billed, or if it is another method's to meter."""
    has_middleware = bool(client.__dict__.get("_middleware")) and hasattr(client, _ATTEMPT)
    if has_middleware is not kind.by_attempt:
        return None
    place = kind.place
    options = args[place] if len(args) > place else kwargs.get("options")
    if options is None:
        return None
    given = options.__dict__  # it looks long for what it is asked for by name
    if given["method"].lower() != "post":
        return None
    body = given.get("json_data")
    as_given = body.__class__ is dict and _last(body.values())
    if not as_given:
        if isinstance(body, Mapping):
            body = _whole(body)
        else:
            body, as_given = _decoded(given.get("content")), given.get("content") is None
    extra = given.get("extra_json")
    if extra:
        extra = mapping(extra)
        body = {**body, **extra}
    provider, base_url = sdk.sent_to(client)
    seen = http = HTTPRequest(_path(str(given["url"])), body, provider, base_url)
    files = given.get("files")
    if files:
        named = files.items() if isinstance(files, Mapping) else files
        seen = with_body(http, **{FILES: [file for _, file in named]})
    request = sdk.format.read(seen)
    if request is None:
        return None
    return kind(
        request,
        args,
        kwargs,
        http=http,
        options=options,
        extra=extra,
        as_given=as_given,
        sdk=sdk,
    )


@functools.lru_cache(maxsize=1024)
def _path(url: str) -> str:
    return "/" + url.partition("?")[0].strip("/")


def _decoded(content: Any) -> Mapping[str, Any]:
    """A body that was given as text; an empty one if there is none, or none that is understood."""
    try:
        return mapping(msgspec.json.decode(content or b""))
    except (ValueError, TypeError, RecursionError):
        return {}


def _last(values: Iterable[Any]) -> bool:
    """Whether there are neither placeholders nor one-shot iterators in values, as far as one sees at once."""
    for value in values:
        kind = value.__class__
        if kind in _LASTING:
            continue
        if kind is dict:  # nearly always a message, whose values are texts
            if not (_LASTING.issuperset(map(type, value.values())) or _last(value.values())):
                return False
        elif kind is not list or not _last(value):
            return False
    return True


_LASTING = frozenset({str, int, float, bool, type(None)})


def _whole(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without placeholders for what was not given, and with one-shot iterators made into lists."""
    return {name: _lasting(value) for name, value in body.items() if type(value).__name__ not in ("Omit", "NotGiven")}


def _lasting(value: Any) -> Any:
    if value.__class__ is list:
        return [_lasting(item) for item in value]
    if value.__class__ is dict:
        return {name: _lasting(item) for name, item in value.items() if type(item).__name__ not in ("Omit", "NotGiven")}
    if hasattr(value, "__next__"):
        return [_lasting(item) for item in value]
    return value


def _unread(response: Any) -> Any:
    """The HTTP response below a stream or a streaming response, if its body is still to come."""
    if _is_model(type(response)):  # type: ignore[arg-type] # mypy takes the class of anything for unhashable
        return None
    http = getattr(response, "http_response", None)
    if http is None:
        http = getattr(response, "response", None)
        if http is None and hasattr(response, "iter_bytes"):
            http = response
    if http is None or not hasattr(http, "iter_bytes") or getattr(http, "is_stream_consumed", True):
        return None
    return http


@functools.lru_cache(maxsize=1024)
def _is_model(kind: type) -> bool:
    """Whether its objects are an answer's content: asking one of them for what it has not got takes long."""
    return hasattr(kind, "model_fields")
