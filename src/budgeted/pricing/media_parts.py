"""Which parts of a request are pictures, sound or files, and no text."""

from __future__ import annotations

from collections.abc import Mapping

_KINDS = {
    "image": ("image", "image_url", "input_image"),
    "audio": ("input_audio", "audio"),
    "file": ("file", "input_file", "document", "container_upload", "video", "media", "item_reference", "document_url"),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}

_GEMINI = frozenset({"inlineData", "inline_data", "fileData", "file_data"})
"""What Google's parts hold media in: these have no type, but a MIME type inside."""

_BLOB_KEYS = frozenset({"mimeType", "mime_type", "fileUri", "file_uri"})

SIGNS = (*_KIND_OF, *sorted(_GEMINI))
"""The words without one of which a request has no such part."""


def media_kind(item: Mapping[str, object]) -> str:
    """``"image"``, ``"audio"``, ``"file"``, ``"gemini"``, or "" for what is no medium."""
    kind = item.get("type")
    if isinstance(kind, str):
        return _KIND_OF.get(kind, "")
    if _GEMINI.isdisjoint(item):
        return ""
    return "gemini" if any(name in item and _is_blob(item[name]) for name in _GEMINI) else ""


def _is_blob(value: object) -> bool:
    """Whether this is media or a file's address, not, say, the schema of a parameter of that name."""
    return isinstance(value, Mapping) and not _BLOB_KEYS.isdisjoint(value)
