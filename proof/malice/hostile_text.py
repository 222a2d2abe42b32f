"""Names and texts that break what reads, writes or shows them carelessly."""

from __future__ import annotations

import random

PATHS = ["..", ".", "../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "C:\\x", "~", "~root", "owners", "lock", "con"]
CONTROLS = ["a\nb", "a\r\nSet-Cookie: x", "abc\n", "\n", "\0", "a\0b", "\x1b[31mred\x1b[0m", "\x7f", "\x85", "\u2028"]
UNICODE = [
    "\ud800",
    "a\udfffb",
    "\u202egnp.exe",
    "\u200b",
    "\ufeffa",
    "\u00e9",
    "e\u0301",
    "\u0130",
    "\ufb03",
    "\u2126",
]
CODE = [
    '"; DROP TABLE accounts; --',
    "' OR 1=1 --",
    "%s%n",
    "%",
    "_",
    "{}",
    "{0}",
    "{a}:*",
    "*",
    "?",
    "[a-z]*",
    "$(id)",
]
MARKUP = [
    "<script>alert(1)</script>",
    "&amp;",
    "[bold]x[/]",
    "{{7*7}}",
    "\\",
    '"',
    "'",
    "a,b",
    "a;b",
    "a=b",
    "a#b",
    "a+b",
]
WORDS = [
    "",
    " ",
    "a b",
    "-rf",
    "--help",
    "g",
    "u:g",
    "b:g",
    "u:alice",
    "null",
    "None",
    "0",
    "-1",
    "$5",
    "$5/day",
    "NaN",
]
LONG = ["x" * 256, "x" * 257, "x" * 10_000, "\u00e9" * 128, "\u00e9" * 129, "\U0001f4a9" * 64, "a" + "\u0301" * 100]
NAMES = [*PATHS, *CONTROLS, *UNICODE, *CODE, *MARKUP, *WORDS, *LONG]

_PIECES = [
    "a",
    "\u00e9",
    "\u0301",
    "\u202e",
    "\0",
    "\n",
    "\r",
    "\x1b[2J",
    "/",
    "..",
    "%00",
    "{}",
    ":*",
    "'",
    '"',
    "<",
    "\ud800",
]

_BLANKS = [" ", "\t", "\n", "\r\n", "\0", "\u0300"]
_NUMBERS = ["0", "9", "1,", "1_", "1 ", "$", "$1 + ", ".", "-", "e9", "1e9", "\u0661"]
_LETTERS = ["a", "aA", "abc ", "per ", "/", "day ", " on ", "*", "? ", "\U0001f4a9"]
_JSON = ["(", "[", "{", '"', "\\", "'", "data: ", '"content":"', '"usage":{', "\\u"]
UNITS = [*_BLANKS, *_NUMBERS, *_LETTERS, *_JSON]


def name(rng: random.Random) -> str:
    """A name: one of those that are known to hurt, or one made of what does."""
    if rng.random() < 0.7:
        return rng.choice(NAMES)
    return "".join(rng.choice(_PIECES) for _ in range(rng.randint(1, 12)))


def text(rng: random.Random, size: int) -> str:
    """A text of about a size: the same few characters again and again, between a head and an end."""
    unit = "".join(rng.choice(UNITS) for _ in range(rng.randint(1, 2)))
    head, end = (rng.choice(["", "1", "$1", "$1/day", "x", *UNITS]) for _ in range(2))
    return head + unit * (size // len(unit)) + end


def nested(rng: random.Random, depth: int) -> str:
    """JSON that is nested that deep, closed or not."""
    opening, closing = rng.choice([("[", "]"), ('{"a":', "}"), ('[{"content":', "}]")])
    return opening * depth + rng.choice(["", "1" + closing * depth])
