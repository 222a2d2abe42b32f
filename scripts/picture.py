"""Make `docs/pictures`: what the page shows of a story that is really run, against the simulated provider.

    make picture

A shop has three users; one of them spends all that he has and is refused, calls are in flight, and one waits. Needs
`chromium` on the path.
"""

# ruff: noqa: INP001

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from serving import Served  # noqa: E402 - found on the path above
from story import PROJECT, told  # noqa: E402

TARGET = ROOT / "docs" / "pictures"
WIDE, PHONE = {"width": 1280, "height": 1000}, {"width": 390, "height": 844}
PICTURES: tuple[tuple[str, str, str, dict[str, int]], ...] = (
    ("overview-light", "/", "light", WIDE),
    ("overview-dark", "/", "dark", WIDE),
    ("overview-phone", "/", "light", PHONE),
    ("user", "/page/user?name=alice", "light", WIDE),
    ("spend", "/page/spend", "light", WIDE),
)
"""The name of each, what it shows, and how."""


def main() -> None:
    """Run the story, and take the pictures."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no chromium on the path: apt-get install chromium")
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, told(Path(folder)), sync_playwright() as running:
        serving = Served(Path(folder))
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, path, scheme, size in PICTURES:
            _take(browser, f"{serving.url}{path}{'&' if '?' in path else '?'}project={PROJECT}", name, scheme, size)
        browser.close()
        serving.stop()


def _take(browser: Any, address: str, name: str, scheme: str, size: dict[str, int]) -> None:
    context = browser.new_context(color_scheme=scheme, viewport=size)
    page = context.new_page()
    page.goto(address, wait_until="load")
    page.screenshot(path=TARGET / f"{name}.png", full_page=False)
    context.close()
    print(f"{name}.png: {(TARGET / f'{name}.png').stat().st_size:,} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
