"""An example of each command, which ``--help`` shows below its options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "top": ("budgeted top", "budgeted top --ledger https://budgets.example.com --project my-app"),
    "status": ("budgeted status --project my-app",),
    "balance": ("budgeted balance alice", "budgeted balance --json"),
    "report": ("budgeted report --by model", "budgeted report --by tag:feature --since 2026-11-01 --format csv"),
    "users": ("budgeted users --prefix al",),
    "accounts": ("budgeted accounts --prefix tag:feature= --count 20",),
    "projects": ("budgeted projects --ledger ./spend",),
    "uncertain": ("budgeted uncertain --project my-app",),
    "limits": ("budgeted limits set '$10/day' alice", "budgeted limits show alice"),
    "limits set": ("budgeted limits set '$10/day' '60 calls/minute' alice", "budgeted limits set '$500/month'"),
    "limits show": ("budgeted limits show alice",),
    "limits unset": ("budgeted limits unset alice",),
    "top-up": ("budgeted top-up alice 5",),
    "stop": ("budgeted stop alice --reason 'her key has leaked'", "budgeted stop"),
    "resume": ("budgeted resume alice",),
    "assign": ("budgeted assign alice team:search", "budgeted assign alice --none"),
    "reset": ("budgeted reset alice",),
    "reconcile": ("budgeted reconcile 4ff5a1c20b.3 --cost 0.125",),
    "suggest": ("budgeted suggest --days 14",),
    "run": ("budgeted run --limit '$1' -- python agent.py", "budgeted run --user alice --cap '$0.50' -- claude"),
    "claude-code": ("budgeted claude-code --limit '$10/day'",),
    "codex": ("budgeted codex --limit '$10/day'",),
    "demo": ("budgeted demo", "budgeted demo --threads 64 --seed 7"),
    "serve": ("budgeted serve --ledger ./spend --port 8787",),
    "gateway": ("budgeted gateway --open --limit '$10/day'", "budgeted gateway --check"),
    "keys": ("budgeted keys create alice --limit '$5/day'", "budgeted keys list"),
    "keys create": ("budgeted keys create alice --limit '$5/day' --expires 30d --model 'gpt-5*'",),
    "keys list": ("budgeted keys list --user alice",),
    "keys show": ("budgeted keys show k1a2b3c4",),
    "keys revoke": ("budgeted keys revoke k1a2b3c4",),
    "keys restore": ("budgeted keys restore k1a2b3c4",),
    "keys rotate": ("budgeted keys rotate k1a2b3c4",),
    "alerts": ("budgeted alerts test",),
    "alerts test": ("budgeted alerts test",),
    "dashboard": ("budgeted dashboard grafana > budgeted.json", "budgeted dashboard alerts > budgeted.rules.yml"),
    "dashboard grafana": ("budgeted dashboard grafana > budgeted.json",),
    "dashboard alerts": ("budgeted dashboard alerts > budgeted.rules.yml",),
    "price": ("budgeted price gpt-5-mini --input 1000 --output 200",),
    "estimate": ("budgeted estimate request.json --model gpt-5",),
    "export": ("budgeted export --output books.jsonl", "budgeted export --what report --format csv"),
    "backup": ("budgeted backup today.backup --project my-app",),
    "restore": ("budgeted restore today.backup --project my-app",),
    "migrate": ("budgeted migrate ./spend postgresql+psycopg://host/budgets --project my-app",),
    "import": ("budgeted import user_cost.json --project my-app",),
    "verify": ("budgeted verify --ledger ./spend --project my-app",),
    "repair": ("budgeted repair --ledger ./spend --project my-app",),
    "config": ("budgeted config",),
    "doctor": ("budgeted doctor",),
    "completion": ('eval "$(budgeted completion bash)"',),
    "help": ("budgeted help limits set",),
}
"""By the words behind ``budgeted``."""


def commands_in(group: click.Group, *words: str) -> Iterator[tuple[str, click.Command]]:
    """Every command of a group and of the groups in it, by the words that call it."""
    for name, command in group.commands.items():
        yield " ".join((*words, name)), command
        if isinstance(command, click.Group):
            yield from commands_in(command, *words, name)


def show_examples(group: click.Group) -> None:
    """Have each command's ``--help`` end with its example."""
    for words, command in commands_in(group):
        if words in EXAMPLES:
            # \b keeps the lines as they are: https://click.palletsprojects.com/documentation/#preventing-rewrapping
            command.epilog = "\b\nFor example:\n" + "\n".join(f"  {line}" for line in EXAMPLES[words])
