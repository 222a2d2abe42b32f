"""Reading the parameters of a request, which may be anything: what makes no sense is the provider's to refuse."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final


def count(value: Any) -> int | None:
    """A number of tokens or answers that a request asks for; None for what is none, which the provider will refuse."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def times(value: Any, otherwise: int = 1) -> int:
    """How often something is asked for that is billed each time.

    Some providers take a number as text, too, or one that ends in ``.0``; and in a form all is text.

    Args:
        value: what says so.
        otherwise: what counts where it is no number from 1 on.
    """
    if isinstance(value, str) and (number := _WHOLE.fullmatch(value)):
        value = int(number[1])
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return count(value) or otherwise


_WHOLE: Final = re.compile(r"\s*\+?(\d{1,18})(?:\.0*)?\s*", re.ASCII)


def text(value: Any) -> str | None:
    """A text that a request may have; None for what is none."""
    return value if isinstance(value, str) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """A mapping that a request may have; an empty one for what is none."""
    return value if value.__class__ is dict or (value is not None and isinstance(value, Mapping)) else {}


def items(value: Any) -> Sequence[Any]:
    """A list that a request may have; an empty one for what is none."""
    return value if isinstance(value, (list, tuple)) else ()


def is_structured(wanted: Any) -> bool:
    """Whether a response format, as OpenAI has it, is one that an answer cut short would break."""
    return mapping(wanted).get("type") in ("json_schema", "json_object")


def prompts(prompt: Any) -> int:
    """How many texts a request for completions, as OpenAI has it, asks to complete: a list of numbers is one."""
    several = items(prompt)
    return len(several) if several and not isinstance(several[0], int) else 1
