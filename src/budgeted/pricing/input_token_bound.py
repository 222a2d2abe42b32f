"""The upper bound of a request's input, in tokens: bytes first, counted text only when that does not fit.

A token of any known tokenizer covers at least one byte of UTF-8, after NFKC for some. So the length of the request's
JSON is a bound: its punctuation and keys outweigh the few tokens that a provider adds per message, name and tool. A
long text counts with its own bytes, which are what a tokenizer sees, without those that JSON escapes it by.
Pictures, sound and files are bytes that are no text: each has an allowance of its own.

No script has a tighter bound than its bytes where the tokenizer is not at hand. Those that work on bytes, or fall back
on them, write what their vocabulary lacks as one token per byte: a rare ideograph as three or four, a rare Cyrillic
letter as two; which those are depends on the vocabulary, and Anthropic publishes none. A letter of ASCII is one byte
anyway.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from budgeted.pricing import tiktoken_counting
from budgeted.pricing.long_texts import LongTexts, all_short
from budgeted.pricing.media_parts import SIGNS, media_kind
from budgeted.pricing.tool_prompt_tokens import tool_prompt

PER_REQUEST = 16
"""Tokens for what frames a prompt, beyond its messages."""

PER_MESSAGE = 8
"""Tokens for what frames one message, tool or name; OpenAI documents 3 to 4."""

SOUND_BYTES_PER_TOKEN = 16
"""Base64 characters of sound that a token covers at least; speech at 8 kbit/s has some hundred."""

IMAGE_TOKENS: tuple[tuple[str, int], ...] = (
    ("gpt-4o-mini", 48_169),
    ("claude", 4_784),
    ("gemini-2", 6_450),
    ("gemini", 2_240),
)
"""The most tokens of one picture, by a part of the model's name: OpenAI's tiles, Anthropic's and Google's documents.

Gemini 2 cuts it into tiles of 258 tokens, no more than 24 of 3,072 pixels, and a small one of all of it; the models
since take 1,120, and twice that where the request asks for the highest resolution.
https://ai.google.dev/gemini-api/docs/tokens, https://ai.google.dev/gemini-api/docs/media-resolution
"""

IMAGE_TOKENS_DEFAULT = 16_000
GEMINI_PDF_TOKENS = 258_000
"""The most tokens of a PDF for Gemini: a thousand pages of 258. https://ai.google.dev/gemini-api/docs/document-processing"""

UNKNOWN = -1
"""The bound of an input whose content is not in the request, such as a file id."""

_SCALARS = (bool, int, float, type(None))
_MEDIA = re.compile(f'"(?:{"|".join(SIGNS)})"'.encode())
_NO_TEXT = frozenset(
    {"model", "stream", "stream_options", "metadata", "user", "store", "service_tier", "n", "extra_headers"}
)
_TOOLS = frozenset({"tools", "functions"})
_NONE: frozenset[str] = frozenset()
_GOOGLES = frozenset({"gemini"})
"""Media that only Google's models read, whose tokenizers normalise text."""

_READ_ONCE = {"type": "file"}
"""Stands for what can be read only once, such as a generator: whoever it is meant for finds it unread."""


def _plain(value: object) -> object:
    """What an SDK would make of a value that JSON does not know."""
    if hasattr(value, "__next__"):
        return _READ_ONCE
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    return str(value)


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def input_bound(body: Mapping[str, object], model: str = "", *, exact_bytes: bool = True) -> int:
    """The most tokens that the input of a request can be.

    Args:
        body: the request's payload, by the provider's names. What has no text in it is passed over.
        model: decides what a picture may cost, and what tools add.
        exact_bytes: True if the tokenizer works on the bytes as they are (OpenAI's do); False allows for NFKC.

    Returns:
        Tokens, or ``UNKNOWN`` if the request refers to content that is not in it.
    """
    total = PER_REQUEST
    for key, value in body.items():
        if value.__class__ in _SCALARS or key in _NO_TEXT:
            continue
        size: int | None
        if all_short(value):
            size = _written_size(value, exact_bytes=exact_bytes)
        else:
            size = _size_with_long_texts(value, exact_bytes=exact_bytes)
        if size is None:
            size = _walked(value, model, _bytes_of if exact_bytes else _most_bytes_of)
            if size == UNKNOWN:
                return UNKNOWN
        total += size
        if key in _TOOLS:
            total += tool_prompt(model, value)
    return total


def _size_with_long_texts(value: object, *, exact_bytes: bool) -> int | None:
    """The same of a value whose long texts are measured by themselves, and are no part of what is written down."""
    long = LongTexts(value)
    if not long.media <= (_GOOGLES if exact_bytes else _NONE):
        return None
    size = _written_size(long.rest, exact_bytes=exact_bytes)
    return None if size is None else size + sum(map(_bytes_of if exact_bytes else _most_bytes_of, long.texts))


def _written_size(value: object, *, exact_bytes: bool) -> int | None:
    """The bound of a value as it is written down; None where it has to be walked: it has media, or is no JSON."""
    try:
        data = _encode(value)
    except (TypeError, ValueError, RecursionError):  # a lone surrogate, or a stranger
        return None
    # Not `in`: asked for bytes in bytes, it makes an error first of their being no number. With the colon, as looking
    # takes the longer the more often the last byte is met, and quotation marks are everywhere.
    hint = data.find(b'"type":') >= 0
    if not (hint or exact_bytes):
        hint = data.find(b'"mime') >= 0 or data.find(b'"file') >= 0
    if hint and _MEDIA.search(data):
        return None
    return len(data) if exact_bytes or data.isascii() else _most_bytes_of(data.decode())


def counted_bound(body: Mapping[str, object], model: str) -> int | None:
    """The same bound with the text counted by the model's own tokenizer.

    Returns:
        Tokens; None if the tokenizer is not known or not loaded (it is being loaded then, if it is on this machine).
    """
    if tiktoken_counting.count("", model) is None:
        return None
    total = PER_REQUEST
    for key, value in body.items():
        if value.__class__ in _SCALARS or key in _NO_TEXT:
            continue
        size = _walked(value, model, lambda text: tiktoken_counting.count(text, model) or 0)
        if size == UNKNOWN:
            return None
        total += size
        if key in _TOOLS:
            total += tool_prompt(model, value)
    return total


def _bytes_of(text: str) -> int:
    # That it is ASCII is known of a text without a look at it.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _most_bytes_of(text: str) -> int:
    """The bytes of a text, as it is or after NFKC."""
    if text.isascii():
        return len(text)
    size, normal = _bytes_of(text), unicodedata.normalize("NFKC", text)
    return size if normal is text else max(size, _bytes_of(normal))


def _walked(value: object, model: str, text_size: Callable[[str], int]) -> int:
    """The bound of a value with pictures, sound or files in it."""
    total = 0
    for part in _parts(value):
        if isinstance(part, str):
            total += text_size(part)
        elif part.__class__ in _SCALARS:
            total += PER_MESSAGE
        elif isinstance(part, Mapping):
            size = _media_size(part, model)
            if size == UNKNOWN:
                return UNKNOWN
            total += size
    return total


def _parts(value: object) -> Iterator[object]:
    """The texts, scalars and media of a value; keys count as text."""
    pending: list[object] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str) or item.__class__ in _SCALARS:
            yield item
        elif isinstance(item, Mapping):
            yield None
            if media_kind(item):
                yield item
            else:
                for key, inner in item.items():
                    yield str(key)
                    pending.append(inner)
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
        elif isinstance(item, (bytes, bytearray)):
            yield item.decode("latin-1")
        else:
            pending.append(_plain(item))


def _media_size(item: Mapping[str, object], model: str) -> int:
    kind = media_kind(item)
    if kind == "image":
        return image_tokens(model)
    if kind == "audio":
        sound = item.get("input_audio")
        data = sound.get("data") if isinstance(sound, Mapping) else None
        return len(data) // SOUND_BYTES_PER_TOKEN + PER_MESSAGE if isinstance(data, str) else UNKNOWN
    if kind == "gemini":
        return _gemini_size(item.get("inlineData") or item.get("inline_data"), model)
    source = item.get("source")
    if isinstance(source, Mapping) and source.get("type") == "text" and isinstance(source.get("data"), str):
        return len(source["data"].encode("utf-8", "surrogatepass"))
    return UNKNOWN


def _gemini_size(blob: object, model: str) -> int:
    """The bound of media in base64. Films have none: their tokens are not in proportion to their bytes."""
    if not isinstance(blob, Mapping) or not isinstance(data := blob.get("data"), str):
        return UNKNOWN
    mime = str(blob.get("mimeType") or blob.get("mime_type"))
    kind = mime.partition("/")[0]
    if kind == "image":
        return image_tokens(model)
    if mime == "application/pdf":
        return GEMINI_PDF_TOKENS
    if kind == "audio":
        return len(data) // SOUND_BYTES_PER_TOKEN + PER_MESSAGE
    return len(data) if kind == "text" else UNKNOWN


def image_tokens(model: str) -> int:
    """The most tokens that one picture costs with a model."""
    name = model.lower()
    return next((most for part, most in IMAGE_TOKENS if part in name), IMAGE_TOKENS_DEFAULT)
