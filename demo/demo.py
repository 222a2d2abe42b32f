"""What the package promises, shown: a race for a small budget, a kill -9 in the middle, and the bill compared.

A provider simulated on loopback speaks OpenAI's wire format and counts what it bills. Two processes, one after the
other, call it through the real OpenAI SDK from many threads: plain answers, streams, and streams that are abandoned.
The first process is killed with SIGKILL while calls are in flight. Afterwards every single call is looked up twice,
in the provider's bill and in the ledger. Last, streams are abandoned at providers of each kind, to show how far what is
charged for them lies above the bill. Needs no key and no network.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai

import budgeted
from budgeted.metering import drain
from budgeted.testing import SimulatedProvider

MODEL = "gpt-4o-mini"
THREADS = 24
CALLS = 150
KILL_AFTER = 60
MOST_OUTPUT = 800
GLOBAL_LIMIT = 0.04
ALICE_LIMIT = 0.012
KINDS = ("answer", "stream", "abandoned stream")
USERS = ("alice", "bob")


def manage(ledger: str) -> budgeted.BudgetManager:
    """The budgets of this demo: one for everybody, and a smaller one for alice."""
    logging.getLogger("budgeted").setLevel(logging.ERROR)  # every estimate is a warning, and the table shows them all
    manager = budgeted.configure(max_budget=GLOBAL_LIMIT, ledger=ledger, project_name="demo", wait=2)
    manager.set_limits("alice", ALICE_LIMIT)
    return manager


def worker(url: str, ledger: str, first: int) -> None:
    """One process: many threads that call until all calls are served or refused."""
    manage(ledger)
    client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
    started = threading.Barrier(THREADS)

    def run(thread: int) -> None:
        started.wait()
        for number in range(first + thread, first + CALLS, THREADS):
            try:
                call(client, number)
            except budgeted.BudgetExceededError:
                os.write(1, f"{number}\n".encode())  # one write, so that threads do not mix their lines

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))


def call(client: openai.OpenAI, number: int) -> None:
    """One call, paid for by its user, and by an account of its own so that it can be looked up afterwards."""
    kind = KINDS[number % len(KINDS)]
    behaviour = {"output_tokens": 300 + number * 7 % 400, "latency": 0.02}
    if kind == "abandoned stream":
        behaviour["gate_after"] = 2
    with budgeted.budget(USERS[number % len(USERS)]), budgeted.budget(f"call-{number}"):
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"Tell me about the number {number}."}],
            stream=kind != "answer",
            max_completion_tokens=MOST_OUTPUT,
            user=f"call-{number}",
            extra_headers={"x-simulate": json.dumps(behaviour)},
        )
        if kind == "stream":
            for _ in answer:
                pass
        elif kind == "abandoned stream":
            next(iter(answer))
            answer.close()


def start(url: str, ledger: str, first: int) -> subprocess.Popen[str]:
    """A worker process."""
    command = [sys.executable, __file__, "--url", url, "--ledger", ledger, "--first", str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def refused_by(process: subprocess.Popen[str]) -> set[int]:
    """The calls that a worker was refused, read to its end."""
    output, _ = process.communicate()
    return {int(number) for number in output.split()}


def race(provider: SimulatedProvider, ledger: str) -> set[int]:
    """Both processes; the first is killed in the middle of its calls. Returns the refused calls."""
    doomed = start(provider.openai_url, ledger, 0)
    enough = threading.Event()
    while len(provider.bill) < KILL_AFTER and doomed.poll() is None:
        enough.wait(0.01)
    os.kill(doomed.pid, signal.SIGKILL)
    refused = refused_by(doomed)
    print(f"killed process {doomed.pid} with SIGKILL after {len(provider.bill)} billed calls, and started it again")
    again = start(provider.openai_url, ledger, CALLS)
    refused |= refused_by(again)
    if again.returncode:
        sys.exit(f"the second process failed with {again.returncode}")
    provider.release()
    provider.wait_idle()
    return refused


def compare(provider: SimulatedProvider, manager: budgeted.BudgetManager, refused: set[int]) -> bool:
    """Look every call up in the bill and in the ledger; print the tables; True if all is as promised."""
    nano = budgeted.money.NANO
    billed = {record.body["user"]: record for record in provider.bill}
    guessed = {user: charge for charge in manager.uncertain() for user in charge.users if user.startswith("call-")}
    recorded = {info.name: round(manager.balance(info.name).spent * nano) for info in manager.accounts("call-")}
    rows: dict[str, list[int]] = {kind: [0] * 6 for kind in KINDS}
    wrong = []
    for number in range(2 * CALLS):
        name, row = f"call-{number}", rows[KINDS[number % len(KINDS)]]
        bill, spent = billed.get(name), recorded.get(name, 0)
        row[1] += number in refused
        if bill is None:
            wrong += [name] if spent and name not in guessed else []
            continue
        row[0] += 1
        row[2] += bill.nano_usd
        if name in guessed:
            row[4] += 1
            row[5] += spent
        else:
            row[3] += spent
            if spent != bill.nano_usd or not bill.reported:
                wrong.append(f"{name}: billed {bill.nano_usd}, recorded {spent}")
    print(f"\n{'':18}{'served':>8}{'refused':>9}{'billed':>14}{'recorded':>14}{'uncertain':>11}{'charged for it':>16}")
    for kind, (served, no, bill, spent, unsure, guess) in rows.items():
        print(f"{kind:18}{served:8}{no:9}{usd(bill):>14}{usd(spent):>14}{unsure:11}{usd(guess):>16}")
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    served, no, bill, spent, unsure, guess = total
    print(f"{'together':18}{served:8}{no:9}{usd(bill):>14}{usd(spent):>14}{unsure:11}{usd(guess):>16}\n")
    kept = limits_kept(manager)
    reported = sum(r.nano_usd for name, r in billed.items() if name not in guessed)
    same = "equal" if reported == spent else "NOT EQUAL"
    print(f"reported and settled: billed {usd(reported)}, recorded {usd(spent)}: {same}")
    print(f"uncertain charges listed: {len(guessed)}; calls that do not agree: {len(wrong)} {wrong[:3] or ''}")
    return kept and not wrong and reported == spent and no > 0 and unsure > 0


def limits_kept(manager: budgeted.BudgetManager) -> bool:
    """Print the accounts with limits; True if none was passed and nothing is held any more."""
    good = True
    for user in (None, "alice"):
        balance = manager.balance(user)
        passed = balance.spent > (balance.limit or 0) or balance.held
        good = good and not passed
        name = "everybody" if user is None else user
        print(
            f"{name:10} limit ${balance.limit:.6f}  spent ${balance.spent:.9f}  held ${balance.held:.9f}  "
            f"{'PASSED' if passed else 'kept'}"
        )
    return good


LEFT_AT = (
    (
        "api.openai.com/v1",
        "stops with its reader",
        "gpt-4o-mini",
        {"stops": True, "gate_after": 40, "pieces": MOST_OUTPUT},
    ),
    ("api.groq.com/groq/openai/v1", "goes on, and bills all", "llama-3.3-70b-versatile", {"pieces": 100}),
    ("gateway.example/v1", "nobody knows", "gpt-4o-mini", {"pieces": 100}),
)
"""Where streams are left early: the address, what the provider does then, the model, and how it is simulated."""


def loopback(provider: SimulatedProvider) -> openai.DefaultHttpxClient:
    """An HTTP client that takes every address for the simulated provider's."""
    package = sys.modules[openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]
    where = package.URL(provider.url)

    class Loopback(package.HTTPTransport):  # type: ignore[name-defined]
        def handle_request(self, request: Any) -> Any:
            request.url = request.url.copy_with(scheme="http", host=where.host, port=where.port)
            return super().handle_request(request)

    return openai.DefaultHttpxClient(transport=Loopback())


def leave_early(provider: SimulatedProvider, streams: int = 10) -> bool:
    """Abandon streams at each kind of provider; print what was billed and what was charged; True if never below."""
    print(f"\n{streams} streams of up to {MOST_OUTPUT} tokens abandoned at each of three providers:")
    print(f"{'':30}{'':26}{'billed':>14}{'charged':>14}{'ratio':>8}  because")
    good = True
    for address, behaviour, model, reply in LEFT_AT:
        provider.reset()
        with budgeted.BudgetManager("left", ledger="memory://", max_budget=1) as manager, loopback(provider) as web:
            client = openai.OpenAI(base_url=f"https://{address}", api_key="none", max_retries=0, http_client=web)
            for _ in range(streams):
                with manager.budget("alice"):
                    answer = client.chat.completions.create(
                        model=model,
                        messages=[{"role": "user", "content": "Tell me a long story."}],
                        stream=True,
                        max_completion_tokens=MOST_OUTPUT,
                        extra_headers={"x-simulate": json.dumps({"output_tokens": 700, **reply})},
                    )
                    for _ in zip(range(20), answer, strict=False):
                        pass
                    answer.close()
            provider.wait_idle()
            drain.finish(30)
            billed, charged = provider.billed_nano(), round(manager.balance().spent * budgeted.money.NANO)
            unsure = len(manager.uncertain())
        why = (
            "what came, and may have been under way"
            if reply.get("stops")
            else "all it held"
            if unsure
            else "read to its end"
        )
        print(f"{address:30}{behaviour:26}{usd(billed):>14}{usd(charged):>14}{charged / billed:8.2f}  {why}")
        good = good and charged >= billed
    return good


def usd(nano: int) -> str:
    """Nano-USD to the nano-dollar."""
    return f"${nano / budgeted.money.NANO:.9f}"


def main() -> int:
    """Run the demo; 0 if everything is as promised."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--url", help=argparse.SUPPRESS)
    arguments.add_argument("--ledger", help=argparse.SUPPRESS)
    arguments.add_argument("--first", type=int, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.url:
        worker(given.url, given.ledger, given.first)
        return 0
    print(f"{2 * CALLS} calls from {THREADS} threads, {MODEL}, ${GLOBAL_LIMIT} for everybody, ${ALICE_LIMIT} for alice")
    with tempfile.TemporaryDirectory() as directory, SimulatedProvider.spawn() as provider:
        ledger = str(Path(directory, "ledger"))
        refused = race(provider, ledger)
        with manage(ledger) as manager:
            good = compare(provider, manager, refused)
        good = leave_early(provider) and good
    print("\nas promised" if good else "\nNOT as promised")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
