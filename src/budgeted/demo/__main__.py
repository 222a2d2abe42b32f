"""A process of the race that ``budgeted demo`` has started."""

from __future__ import annotations

import sys

from budgeted.demo.http_by_hand import send
from budgeted.demo.racing_process import main

if __name__ == "__main__":
    main(send, sys.argv[1:])
