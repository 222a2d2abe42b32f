"""Run at the start of every Python program that `budgeted run` starts, and of their children: meters what they call.

This folder is on PYTHONPATH for that, and on nothing else; a `sitecustomize` that would have been run is run as well.
"""

import importlib.machinery
import importlib.util
import os
import sys


def _run_the_next() -> None:
    """Run the sitecustomize that this one has taken the place of, as `import` would."""
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


_AGENTS = ("aider",)
"""Agents in Python, with an environment of their own, that send where variables say: to the gateway of the run."""


def _is_left_to_gateway(error: BaseException) -> bool:
    """Whether this is such an agent, in a Python that has no budgeted, and there is a gateway."""
    if getattr(error, "name", None) != "budgeted" or not os.environ.get("BUDGETED_RUN_ADDRESSES"):
        return False
    words = sys.orig_argv[1:]
    name = words[1] if words[:1] == ["-m"] and len(words) > 1 else os.path.basename("".join(words[:1]))  # noqa: PTH119
    return name in _AGENTS


def _meter() -> None:
    """Meter this program. Where that cannot be done, it is not started: it would spend without a limit."""
    try:
        import budgeted  # noqa: F401 - it goes on for whoever its environment names
    except BaseException as error:  # noqa: BLE001 - Python would say little, and run the program all the same
        if _is_left_to_gateway(error):
            return
        sys.stderr.write(
            f"budgeted: {sys.executable or 'Python'} was not started, as nothing would be metered in it: "
            f"{type(error).__name__}: {error}. Install budgeted for this Python, or start it with -I if it spends "
            f"nothing\n"
        )
        sys.stderr.flush()
        os._exit(2)


_here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - pathlib is slow to import
sys.path[:] = [place for place in sys.path if os.path.abspath(place or ".") != _here]  # noqa: PTH100
_meter()
_run_the_next()
