"""The system that this process runs on."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from budgeted.system.windows import *  # noqa: F403 - whatever it has, the other one has
else:
    from budgeted.system.posix import *  # noqa: F403 - as above
