"""The events that ``on_event`` is called with."""

from __future__ import annotations

from budgeted.telemetry.events import Event, Kind

__all__ = ["Event", "Kind"]
