"""Where spans go, as OpenTelemetry's own ``OTEL_*`` variables say: a gateway sets that up where nobody else has."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from opentelemetry import trace

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExporter

_ADDRESSES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_GROUP: Final = "opentelemetry_traces_exporter"
_PACKAGES: Final = {
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
}
SERVICE: Final = "budgeted-gateway"
"""What the gateway is called where ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` do not say."""


class ExportError(Exception):
    """The variables name an exporter that is not there, or not to be had."""


def wanted(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The exporters that variables name, as their packages register them.

    Args:
        environment: such as ``os.environ``.

    Example:
        >>> wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
        ('otlp_proto_http',)
    """
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    named = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower()
    if not named and any(environment.get(one, "").strip() for one in _ADDRESSES):
        named = "otlp"
    protocol = next((found for one in _PROTOCOLS if (found := environment.get(one, "").strip())), "http/protobuf")
    otlp = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    listed = [one.strip() for one in named.split(",")]
    return tuple(dict.fromkeys(otlp if one == "otlp" else one for one in listed if one not in ("", "none")))


def check(environment: Mapping[str, str]) -> tuple[str, ...]:
    """What spans are sent by.

    Args:
        environment: such as ``os.environ``.

    Raises:
        ExportError: what the variables name is not installed.
    """
    names = wanted(environment)
    for name in names:
        _exporter(name)
    return names


def set_up(environment: Mapping[str, str]) -> None:
    """Have the process's spans sent as variables say, unless somebody has set that up already.

    Args:
        environment: such as ``os.environ``.

    Raises:
        ExportError: what they name is not installed, or cannot be made.
    """
    names = wanted(environment)
    if not names or not type(trace.get_tracer_provider()).__module__.startswith("opentelemetry.trace"):
        return
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporters = [_exporter(name) for name in names]
    try:
        provider = TracerProvider(resource=resource(environment))
        for exporter in exporters:
            provider.add_span_processor(BatchSpanProcessor(exporter()))
    except Exception as error:  # whatever a variable says that an exporter does not take
        msg = f"spans cannot be sent by {' and '.join(names)}: {error}"
        raise ExportError(msg) from error
    trace.set_tracer_provider(provider)


def resource(environment: Mapping[str, str]) -> Resource:
    """What telemetry is of: the gateway, by its name or another that variables give it.

    Args:
        environment: such as ``os.environ``.
    """
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    named = environment.get("OTEL_SERVICE_NAME") or "service.name=" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return Resource.create({} if named else {SERVICE_NAME: SERVICE})


def _exporter(name: str) -> type[SpanExporter]:
    for found in entry_points(group=_GROUP, name=name):
        try:
            exporter: type[SpanExporter] = found.load()
        except ImportError as error:
            msg = f"the exporter {name!r} cannot be imported: {error}"
            raise ExportError(msg) from error
        return exporter
    package = _PACKAGES.get(name)
    what = f"pip install {package}" if package else "otlp and none are known names"
    msg = f"OTEL_* variables have spans sent by {name!r}, which is not installed; {what}"
    raise ExportError(msg)
