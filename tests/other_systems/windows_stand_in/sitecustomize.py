"""Takes away at once what Windows lacks, unless pytest is to do it when it has been imported itself."""

from __future__ import annotations

import os

import stand_in

if not os.environ.get("STAND_IN_LATER"):
    stand_in.take_away()
