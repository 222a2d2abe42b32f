"""The clock that goes on while a machine sleeps. Imported with the package, and so apart from what takes longer."""

from __future__ import annotations

import sys
import time
from typing import Final

if sys.platform == "win32":

    def boot_time() -> float:
        """Seconds by a clock that nobody sets, and that goes on while this machine sleeps."""
        return time.monotonic()

else:
    _BOOT_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def boot_time() -> float:
        """Seconds by a clock that nobody sets, and that goes on while this machine sleeps."""
        return time.clock_gettime(_BOOT_CLOCK)
