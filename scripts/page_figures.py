"""Print for each of the page's views how heavy and how fast it is, and what axe finds in it.

    make page-figures

Over the story that `make picture` takes its pictures of, in light and dark, on a phone and on a wide screen. Needs
`chromium` on the path.
"""

# ruff: noqa: INP001

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]

from serving import Served  # noqa: E402 - found on the path above
from story import PROJECT, told  # noqa: E402

PATHS = (
    "/",
    "/page/users",
    "/page/user?name=alice",
    "/page/spend",
    "/page/activity",
    "/page/uncertain",
    "/page/limits?account=alice",
    "/page/top-up?account=alice&amount=5",
    "/page/login",
)
WIDTHS, SCHEMES = (390, 1280), ("light", "dark")
MOST_BYTES = 150_000

_FIGURES = """() => {
  const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
    .filter((one) => !one.name.includes("/page/events"));
  const sum = (what) => all.reduce((sum, one) => sum + (one[what] || 0), 0);
  return [sum("decodedBodySize"), all.length, Math.round(all[0].loadEventEnd), document.documentElement.scrollWidth];
}"""


def main() -> None:
    """Look at each view in each way; exit code 1 if one of them is too heavy, too wide, or has a violation."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("there is no chromium on the path: apt-get install chromium")
    wrong = False
    print(f"{'view':36} {'':5} {'px':>5} {'kB':>6} {'requests':>8} {'ms':>5} {'axe':>4}")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder, told(Path(folder)), sync_playwright() as running:
        serving = Served(Path(folder))
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path, scheme, width in itertools.product(PATHS, SCHEMES, WIDTHS):
            size, requests, ms, wide, violations = _look(browser, serving.url, path, scheme, width)
            wrong = wrong or size > MOST_BYTES or wide > width or bool(violations)
            line = f"{path:36} {scheme:5} {width:5} {size / 1000:6.1f} {requests:8} {ms:5} {len(violations):4}"
            print(line, *violations, "" if wide <= width else f"{wide} px wide")  # noqa: T201
        browser.close()
        serving.stop()
    sys.exit(int(wrong))


def _look(browser: Any, url: str, path: str, scheme: str, width: int) -> tuple[int, int, int, int, list[str]]:
    """Bytes, requests, milliseconds until all was loaded, the width that it takes, and what axe finds."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto(f"{url}{path}{'&' if '?' in path else '?'}project={PROJECT}", wait_until="load")
    size, requests, ms, wide = page.evaluate(_FIGURES)
    violations = [one["id"] for one in Axe().run(page).response["violations"]]
    context.close()
    return size, requests, ms, wide, violations


if __name__ == "__main__":
    main()
