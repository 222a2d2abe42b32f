"""Where an application makes a call: the innermost code that is neither this package's, nor an installed library's."""

from __future__ import annotations

import functools
import sys
import sysconfig
from pathlib import Path
from types import CodeType, FrameType

FOR_ITS_CALLER = frozenset({"__enter__", "__aenter__", "enter_context", "enter_async_context", "__exit__", "__aexit__"})
"""Functions that open or leave a block for whoever calls them, as those of contextlib do."""


def opening_frame(frame: FrameType) -> FrameType:
    """The frame of the code that opens or leaves a block, by a context manager of its own perhaps.

    Args:
        frame: of whoever calls the block's own method.
    """
    while frame.f_code.co_name in FOR_ITS_CALLER and frame.f_back is not None:
        frame = frame.f_back
    return frame


_OWN = str(Path(__file__).parents[1])

_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def calling_code() -> tuple[CodeType, int] | None:
    """The code that has led to this, and the line that it has come to; None where there is none but this package's.

    Where only libraries are on the stack, as in a task made of an SDK's coroutine, it is the innermost of them.
    """
    library: FrameType | None = None
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the interpreter's own way to ask
    while frame is not None:
        kind = _kind(frame.f_code.co_filename)
        if kind == "application":
            return frame.f_code, frame.f_lineno
        if kind == "library" and library is None:
            library = frame
        frame = frame.f_back
    return None if library is None else (library.f_code, library.f_lineno)


@functools.lru_cache(maxsize=4096)
def _kind(file: str) -> str:
    if file.startswith(_OWN):
        return "own"
    # <frozen runpy>, <frozen importlib._bootstrap>: what starts an application; <stdin> and <string> are one.
    is_library = file.startswith(("<frozen", *_LIBRARIES)) or "site-packages" in file or "dist-packages" in file
    return "library" if is_library else "application"


def place(code: CodeType, line: int) -> str:
    """A line as people find it.

    Args:
        code: of the function.
        line: in its file.

    Example:
        >>> place(answer.__code__, 12)
        'app.py:12 in answer'
    """
    return f"{code.co_filename}:{line} in {code.co_qualname if hasattr(code, 'co_qualname') else code.co_name}"
