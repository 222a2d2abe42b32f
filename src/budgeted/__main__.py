"""``python -m budgeted`` is ``budgeted``."""

from __future__ import annotations

from budgeted.cli import main

if __name__ == "__main__":
    main()
