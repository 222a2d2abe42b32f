"""``budgeted run``: programs in other languages are metered by its gateway, Python within, and each call once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from running import Done, Run, table

from budgeted.testing import SimulatedProvider

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sdk,
    pytest.mark.skipif(shutil.which("node") is None, reason="node, which runs the programs, is not installed"),
]

NODE = str(Path(__file__).with_name("ask.mjs"))

PYTHON = """
import json, os, urllib.request
question = {"model": "gpt-5-mini", "max_completion_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]}
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
headers = {"content-type": "application/json"}
urllib.request.urlopen(urllib.request.Request(url, json.dumps(question).encode(), headers)).read()
"""

WITH_ITS_SDK = """
import openai, sys
openai.OpenAI(max_retries=0, base_url=sys.argv[1] if sys.argv[1:] else None).chat.completions.create(
    model="gpt-5-mini", max_completion_tokens=100, messages=[{"role": "user", "content": "Hello!"}]
)
"""

STARTS_NODE_IN_EVERY_WAY = f"""
{PYTHON}
import asyncio, os, subprocess, sys
node = ["node", {NODE!r}]
subprocess.run(node, check=True)
subprocess.run(node, check=True, env=os.environ)
some = {{name: os.environ[name] for name in ("PATH", "OPENAI_BASE_URL")}}
subprocess.run(node, check=True, env=some)
subprocess.run(node, check=True, close_fds=False)
assert os.system(" ".join(node)) == 0
os.waitpid(os.posix_spawnp("node", node, os.environ), 0)
async def main():
    await (await asyncio.create_subprocess_exec(*node, env=some)).wait()
asyncio.run(main())
if os.fork() == 0:
    os.execvpe("node", node, dict(os.environ))
os.wait()
del some["OPENAI_BASE_URL"], os.environ["OPENAI_BASE_URL"]
print(subprocess.run(["env"], stdout=subprocess.PIPE, text=True).stdout)
subprocess.run(["true"], env=some | {{"OPENAI_BASE_URL": "https://llm.corp"}})
print(subprocess.run(["env"], env=some, stdout=subprocess.PIPE, text=True).stdout)
"""

STARTS_PYTHON_AGAIN = """
import os, subprocess, sys
assert os.environ["OPENAI_BASE_URL"] == os.environ["OWN"]
subprocess.run([sys.executable, "-c", os.environ["PYTHON"]], check=True)
"""

FAMILY = f"""
node {NODE}
python -I -c '{PYTHON}'
python -c '{WITH_ITS_SDK}' "$OPENAI_BASE_URL"
node {NODE} python -c '{STARTS_PYTHON_AGAIN}'
python -c '{PYTHON}'
"""

IN_A_BLOCK = f"""
import budgeted, subprocess
with budgeted.hold(cost=0.5) as held:
    subprocess.run(["node", {NODE!r}], check=True)
    held.settle(cost=0.25)
"""


def nano(dollars: str) -> int:
    return round(float(dollars.removeprefix("$")) * 1e9)


def agrees(done: Done, provider: SimulatedProvider, before: int, calls: int) -> None:
    """So many calls were billed, and exactly that was charged to the run."""
    assert done.returncode == 0, done.stderr
    assert provider.wait_idle()
    bill = provider.bill[before:]
    assert len(bill) == calls
    assert table(done)["total"][0] == str(calls)
    assert nano(table(done)["total"][1]) == sum(call.nano_usd for call in bill)


@pytest.mark.parametrize(
    ("command", "calls"),
    [
        (["python", "-c", STARTS_NODE_IN_EVERY_WAY], 9),
        (["sh", "-c", FAMILY], 6),
    ],
    ids=["python starts node", "a shell starts all"],
)
def test_each_call_is_charged_once_whoever_starts_whom(
    run: Run, provider: SimulatedProvider, command: list[str], calls: int
) -> None:
    before = len(provider.bill)
    done = run("--limit", "$5", "--user", "alice", "--", *command, OWN=provider.openai_url, PYTHON=PYTHON)
    agrees(done, provider, before, calls)
    assert table(done)["user alice"] == table(done)["total"]
    if "env" in done.stdout:
        unset = re.findall(r"OPENAI_BASE_URL=http://127.0.0.1:\d+/run-[\w-]+/openai/v1\n", done.stdout)
        assert len(unset) == 2
        assert "an address of its own in OPENAI_BASE_URL, past the gateway of this run" in done.stderr


def test_an_agent_in_a_python_of_its_own_is_metered_where_its_variables_lead(
    run: Run, provider: SimulatedProvider, tmp_path: Path
) -> None:
    before = len(provider.bill)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "own"], check=True)
    for name in ("aider", "tool"):
        (tmp_path / "own" / "bin" / name).write_text(f"#!{tmp_path}/own/bin/python\n{PYTHON}")
        (tmp_path / "own" / "bin" / name).chmod(0o755)
    agrees(run("--limit", "$5", "--", "own/bin/aider"), provider, before, calls=1)
    done = run("--limit", "$5", "--", "own/bin/tool")
    assert done.returncode == 2
    assert "was not started, as nothing would be metered in it: ModuleNotFoundError" in done.stderr


def test_what_is_held_for_by_hand_is_not_charged_by_the_gateway_as_well(run: Run, provider: SimulatedProvider) -> None:
    done = run("--", "python", "-c", IN_A_BLOCK)
    assert table(done)["total"][:2] == ["1", "$0.25"], done.stderr


def test_a_program_that_is_started_with_payers_of_its_own_pays_as_they_do(
    run: Run, provider: SimulatedProvider
) -> None:
    before = len(provider.bill)
    program = f"""
import budgeted, os, subprocess, sys
with budgeted.budget("bob", cap=1):
    injected = budgeted.inject({{**os.environ}})
subprocess.run(["node", {NODE!r}, sys.executable, "-c", os.environ["PYTHON"]], env=injected, check=True)
subprocess.run(["node", {NODE!r}], check=True)
"""
    done = run("--limit", "$5", "--user", "alice", "--", "python", "-c", program, PYTHON=PYTHON)
    agrees(done, provider, before, calls=3)
    assert table(done)["user alice"][0] == "3"
    assert table(done)["user bob"][0] == "2"


def test_a_program_may_pass_on_the_headers_of_those_whom_it_serves(run: Run, provider: SimulatedProvider) -> None:
    before = len(provider.bill)
    served = {"x-forwarded-for": "203.0.113.7", "x-forwarded-host": "app.example", "origin": "https://app.example"}
    patched = f"""
const own = globalThis.fetch;
globalThis.fetch = (url, init) => own(url, {{ ...init, headers: {{ ...init.headers, ...{json.dumps(served)} }} }});
await import({json.dumps(NODE)});
"""
    done = run("--limit", "$5", "--", "node", "--input-type=module", "-e", patched)
    agrees(done, provider, before, calls=1)


def test_a_program_that_is_refused_is_told_why_and_the_exit_code_says_so(run: Run, provider: SimulatedProvider) -> None:
    before = len(provider.requests)
    done = run("--limit", "$0.000001", "--", "node", NODE)
    assert done.returncode == 87
    assert "Error: the global budget has $0.000001 left of $0.000001, and this call for gpt-5-mini may" in done.stderr
    assert table(done)["refused"] == ["1"]
    assert provider.requests[before:] == []
    started = f"import subprocess; subprocess.run(['node', {NODE!r}], check=True)"
    assert run("--limit", "$0.000001", "--", "python", "-c", started).returncode == 87
    assert provider.requests[before:] == []


def test_a_run_in_a_run_keeps_to_both_and_is_charged_once(run: Run, provider: SimulatedProvider) -> None:
    before = len(provider.bill)
    inner = ["python", "-m", "budgeted", "run", "--cap", "$1", "--", "node", NODE]
    done = run("--limit", "$5", "--", *inner)
    assert done.returncode == 0, done.stderr
    [call] = provider.bill[before:]
    totals = [line.split() for line in done.stderr.splitlines() if line.startswith("total")]
    assert [(calls, nano(spent)) for _, calls, spent, _ in totals] == [("1", call.nano_usd)] * 2
    assert "left of $5 (everybody)" in done.stderr


def test_only_programs_of_the_run_reach_its_gateway(run: Run, provider: SimulatedProvider) -> None:
    before = len(provider.requests)
    program = """
import os, urllib.error, urllib.request
address = os.environ["OPENAI_BASE_URL"]
token = address.split("/")[3]
others = ("", "run-", token[:-1], token + "x", token + "." + "0" * 24, token + ".../run")
for path in ("/health", *(f"/{one}/v1/chat/completions" for one in others)):
    try:
        urllib.request.urlopen("http://" + address.split("/")[2] + path, b"{}")
    except urllib.error.HTTPError as error:
        print(error.code)
"""
    done = run("--limit", "$5", "--", "python", "-I", "-c", program)
    assert done.stdout.split() == [*["404"] * 5, "400", "400"], done.stderr
    assert provider.requests[before:] == []


class Elsewhere(BaseHTTPRequestHandler):
    """Leads whoever posts something to another address."""

    place = ""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(308)
        self.send_header("location", f"{self.place}{self.path}")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_what_others_see_on_a_command_line_leads_to_nobody_who_is_shown_the_runs_own_credentials(run: Run) -> None:
    program = """
import os, re, sys, urllib.error, urllib.request
seen = re.search(r'"(http.*/run-[\\w-]+)/', " ".join(sys.argv))[1]
assert seen not in os.environ["OPENAI_BASE_URL"]
for place in ("bedrock", "bedrock-1", "openai/v1"):
    try:
        urllib.request.urlopen(f"{seen}/{place}/chat/completions", b"{}")
    except urllib.error.HTTPError as error:
        print(error.code)
"""
    keys = {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    done = run("--", "env", "python", "-I", "-c", program, "timeout", "codex", **keys)
    assert done.stdout.split()[:2] == ["404", "404"], done.stderr
    assert done.stdout.split()[2] != "404"


def test_an_upstream_leads_nobody_past_the_gateway(run: Run, provider: SimulatedProvider) -> None:
    before = len(provider.requests)
    handler = type("Handler", (Elsewhere,), {"place": provider.url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever).start()
        done = run("--", "node", NODE, OPENAI_BASE_URL=f"http://127.0.0.1:{server.server_port}/v1")
        server.shutdown()
    assert done.returncode == 1
    assert f"leads to where this gateway would not see what it costs: '{provider.url}" in done.stderr
    assert provider.requests[before:] == []


def test_variables_lead_to_the_gateway_as_far_as_it_can_send_there(run: Run) -> None:
    reached = {
        "MY_LLM_BASE_URL": "https://api.groq.com/openai/v1",
        "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com",
        "GROQ_BASE_URL": "",
    }
    left = {
        "MY_DATABASE_API_URL": "https://db.corp/v1",
        "AWS_BEDROCK_ENDPOINT": "https://x.amazonaws.com",
        "OPENAI_BASE_URL": "localhost",
        "ANTHROPIC_BASE_URL": "https://me:secret@llm.corp/v1",
    }
    done = run("--", "env", **reached, **left)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert {name: found[name] for name in left} == left
    assert found["MY_LLM_BASE_URL"].endswith("/groq/v1")
    assert all(found[name].startswith("http://127.0.0.1:") for name in reached)
    assert found["NO_PROXY"].endswith("127.0.0.1")
    assert "OPENAI_BASE_URL stays as it is" in done.stderr
    assert "a user's name or password stands in it" in done.stderr
    assert "secret" not in done.stderr
