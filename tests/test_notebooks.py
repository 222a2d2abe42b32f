"""Cells of a real Jupyter kernel: who pays for them, what they show, and what a refusal looks like."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.slow, pytest.mark.sdk]

SETUP = """
import openai
from budgeted import budget, configure
manager = configure(project_name="notebook", ledger="memory://", max_budget="$1/day")
client = openai.OpenAI(base_url={url!r}, api_key="any", max_retries=0)
asynchronous = openai.AsyncOpenAI(base_url={url!r}, api_key="any", max_retries=0)
request = dict(model="gpt-5-mini", max_completion_tokens=100, messages=[dict(role="user", content="Hello!")])
def users():
    report = manager.report()
    return {{user: row.calls for user, row in report.items() if user != report.rest}}
%load_ext budgeted
"""

ASK = "client.chat.completions.create(**request)"


class Done:
    """What a cell has brought forth."""

    def __init__(self) -> None:
        self.text = ""
        self.html: list[str] = []
        self.error = ""


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture(scope="module")
def kernel(provider: SimulatedProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Done]]:
    """Runs a cell."""
    from jupyter_client.manager import start_new_kernel

    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        manager, client = start_new_kernel(startup_timeout=60)

    def run(code: str) -> Done:
        done = Done()

        def note(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream":
                done.text += content["text"]
            elif message["msg_type"] in ("display_data", "execute_result"):
                done.text += content["data"]["text/plain"] + "\n"
                done.html += [content["data"]["text/html"]] if "text/html" in content["data"] else []
            elif message["msg_type"] == "error":
                done.error = plain("\n".join(content["traceback"]))

        client.execute_interactive(code, output_hook=note, timeout=60)
        return done

    set_up = run(SETUP.format(url=provider.openai_url))
    assert (set_up.text, set_up.error) == ("", "")
    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def plain(text: str) -> str:
    """Without a terminal's colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_cell_is_charged_to_its_user_and_shows_what_it_has_spent(kernel: Callable[[str], Done]) -> None:
    done = kernel(f'%%budget "Ann <b>" 0.50\n{ASK}\n"the last value"')
    assert "the last value" in done.text
    assert "Budget(user='Ann <b>', cap=0.5, key=None, spent=" in done.text
    [shown] = done.html
    assert "Ann &lt;b&gt;" in shown
    assert kernel(f"{ASK}\nusers()").text == "{'Ann <b>': 1}\n"


def test_a_cell_may_await(kernel: Callable[[str], Done]) -> None:
    done = kernel("%%budget asyncia 0.50\nanswer = await asynchronous.chat.completions.create(**request)\nusers()")
    assert "'asyncia': 1" in done.text
    assert "user='asyncia', cap=0.5" in done.text
    assert "'asyncia': 1" in kernel("await asynchronous.chat.completions.create(**request)\nusers()").text


@pytest.mark.parametrize(
    "line",
    [ASK, "await asynchronous.chat.completions.create(**request)", 'with budget("zoe"): ' + ASK],
    ids=["sync", "async", "in a block"],
)
def test_a_refusal_shows_the_users_line_and_then_the_error(line: str, kernel: Callable[[str], Done]) -> None:
    done = kernel(f"%%budget $0.000001 --key=refused\nprint('before')\n{line}\nprint('went on')")
    assert done.text.startswith("before\n")
    assert "went on" not in done.text
    assert f"----> 3 {line}" in done.error
    assert done.error.count("---->") == 1
    assert "site-packages" not in done.error
    assert re.search(r"\n\s*4 print\('went on'\)\n+BudgetExceededError: block 'refused' has", done.error)
    assert len(done.html) == 1


def test_a_refusal_in_a_function_of_the_notebook_shows_that_one_too(kernel: Callable[[str], Done]) -> None:
    kernel(f"def ask():\n    return {ASK}")
    done = kernel("%%budget 0\nask()")
    assert "----> 2 ask()" in done.error
    assert f"----> 2     return {ASK}" in done.error
    assert done.error.count("---->") == 2


def test_other_errors_are_shown_as_ever(kernel: Callable[[str], Done]) -> None:
    done = kernel("%%budget alice\n1 / 0")
    assert "----> 2 1 / 0" in done.error
    assert "user='alice'" in done.text


def test_a_magic_may_hold_another_one(kernel: Callable[[str], Done]) -> None:
    assert "user='timed'" in kernel(f"%%budget timed 1\n%%time\n{ASK};").text
    assert "user='timed'" in kernel(f"%%time\n%%budget timed 1\n{ASK};").text
    assert "user='timed'" in kernel(f"get_ipython().run_cell_magic('budget', 'timed', {ASK + ';'!r})").text
    assert "'timed': 4" in kernel(f"x = 1\n%budget timed\n{ASK}\nusers()").text
    assert "'timed': 4" in kernel(f"{ASK}\nusers()").text


def test_a_cell_with_a_key_goes_on_with_what_is_left(kernel: Callable[[str], Done]) -> None:
    kernel(f"%%budget alice 0.01 --key nightly\n{ASK}")
    assert "$0.009" in kernel(f"%%budget alice 0.01 --key nightly\n{ASK}").html[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("alice lots", "got 'lots'"),
        ("alice nan", "must be finite, got 'nan'"),
        ("-1", "cap must not be negative, got '-1'"),
        ("alice 1 2", "got 'alice 1 2'; quote a name with blanks"),
        ("--kay nightly", "does not know '--kay'"),
        ("alice --key nightly", "needs a cap"),
        ('"alice', "cannot be read"),
        ("{nobody} 0.50", "'{nobody}' is no variable that is known here"),
        ("$nobody", "is no variable that is known here"),
    ],
)
def test_what_makes_no_sense_is_said_and_nothing_is_run(line: str, said: str, kernel: Callable[[str], Done]) -> None:
    done = kernel(f"%%budget {line}\nprint('it runs')")
    assert "it runs" not in done.text
    assert said in done.text + done.error
    assert "write %%budget USER" in done.text + done.error


def test_the_magic_can_be_forgotten(kernel: Callable[[str], Done]) -> None:
    kernel("%unload_ext budgeted")
    assert "not found" in kernel("%%budget alice\n1").text
    kernel("%load_ext budgeted")
    kernel("%load_ext budgeted")
    assert kernel("%%budget alice\n1").text.count("Budget(") == 1


REFUSED = "from budgeted import budget, hold\nwith budget(cap=0), hold(cost=1): pass"


def shown_by(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return plain(done.stdout + done.stderr)


def test_ipython_in_a_terminal_shows_the_same() -> None:
    shell = "from IPython.core.interactiveshell import InteractiveShell; InteractiveShell.instance().run_cell({!r})"
    shown = shown_by(shell.format(REFUSED))
    assert "----> 2 with budget(cap=0), hold(cost=1): pass" in shown
    assert shown.count("---->") == 1


def test_plain_python_shows_all_of_a_traceback() -> None:
    shown = shown_by(REFUSED)
    assert "budgeted.errors.BudgetExceededError: block 'cap' has $0.00 left" in shown
    assert "when_it_does_not_fit.py" in shown
