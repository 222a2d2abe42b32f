"""A traceback that ends at the user's own line, for notebooks: what lies between it and an error is no news there."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

_OURS = str(Path(__file__).parent)
_PACKAGES = ("site-packages", "dist-packages")


def rendered(error: BaseException) -> list[str]:
    """The lines of an error's traceback, without what comes behind the user's last line, in the shell's own style.

    Args:
        error: which was raised, and is being shown.
    """
    trace = up_to_users_line(error.__traceback__)
    shell: Any = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return "".join(traceback.format_exception(type(error), error, trace)).splitlines()
    lines: list[str] = shell.InteractiveTB.structured_traceback(type(error), error, trace)
    return lines


def up_to_users_line(trace: TracebackType | None) -> TracebackType | None:
    """A traceback up to the last line that is no package's, and not the standard library's; all of it if there is none.

    Args:
        trace: which is left as it is.
    """
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    last = max((i for i, one in enumerate(frames) if _is_users(one.tb_frame.f_code.co_filename)), default=len(frames))
    shortened: TracebackType | None = None
    for one in reversed(frames[: last + 1]):
        shortened = TracebackType(shortened, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return shortened


def _is_users(filename: str) -> bool:
    if filename.startswith((_OURS, "<frozen ")) or any(name in Path(filename).parts for name in _PACKAGES):
        return False
    import sysconfig

    return not filename.startswith((sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")))
