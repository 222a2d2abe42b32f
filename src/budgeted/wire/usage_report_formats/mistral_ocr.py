"""Mistral's reading of documents, which is billed by the page, and more where annotations were asked for."""

from __future__ import annotations

from typing import Final

from budgeted.pricing.usage import Usage
from budgeted.wire.sdk_object_fields import Fields
from budgeted.wire.usage_report_formats.unread_numbers import Known, count, names, unread

KNOWN: Final[Known] = {"": names("pages_processed pages_processed_annotation doc_size_bytes")}
"""What is read here, and the size of the document, which is not billed."""


def ocr_usage(fields: Fields, tier: str | None) -> Usage:
    """Read a report of https://docs.mistral.ai/api/endpoint/ocr. No pages are a number of pages, too."""
    fees = [("page", count(fields, "pages_processed"))]
    if fields.get("pages_processed_annotation") is not None:
        fees.append(("annotated_page", count(fields, "pages_processed_annotation")))
    return Usage(service_tier=tier, fees=tuple(fees), unread=unread(fields, KNOWN))
