"""What was measured of all packages, as one table: in the terminal, kept in a file, and in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmarks.peer_calls import Peer
from benchmarks.peer_list import PEERS

BUILD = Path(__file__).parents[1] / "build" / "benchmarks"
KEPT = BUILD / "peers.json"
LIMIT = 1.00
HEAD = (
    ("", "50 threads", "", "", "50 more", "50 tasks", "no max_tokens", "60 streams", "kill -9", "adds to", "a call in"),
    (
        "",
        "billed",
        "it says",
        "answers",
        "billed",
        "billed",
        "billed",
        "left, billed",
        "lost",
        "a call",
        "instructions",
    ),
)
MARKDOWN_HEAD = (
    "",
    "billed for 50 threads at once",
    "and for 50 more",
    "for 50 tasks at once",
    "for 50 threads that send no `max_tokens`",
    "for 60 streams left early",
    "billed calls lost by `kill -9`",
    "added to a call",
    "instructions",
)
Result = Mapping[str, Any]


@dataclass
class Measured:
    """Of one package: what each run says, or that it has failed; None where there is none."""

    threads: Result | None = None
    tasks: Result | None = None
    uncapped: Result | None = None
    left: Result | None = None
    killed: Result | None = None
    overheads: list[Result] = field(default_factory=list)
    instructions: Result | None = None

    @property
    def keeps_the_limit(self) -> bool:
        """Whether no more than the limit is billed in either race of threads."""
        return (
            within(self.threads) and self.threads is not None and self.threads["billed"] + self.threads["more"] <= LIMIT
        )

    @property
    def microseconds(self) -> float | None:
        """What it adds to a call, at best."""
        if not self.overheads or any("failed" in one for one in self.overheads):
            return None
        alone, under = (min(one[name] for one in self.overheads) for name in ("alone", "guarded"))
        return under - alone


def within(result: Result | None) -> bool:
    """Whether no more than the limit was billed."""
    return result is not None and "failed" not in result and result["billed"] <= LIMIT


@dataclass
class Table:
    """All packages by name and version, what was measured of each, and notes for below."""

    peers: Mapping[str, Peer]
    measured: Mapping[str, Measured]
    notes: list[str]

    def save(self) -> None:
        """Keep it for the documentation."""
        rows = {name: {"peer": self.peers[name].name, **asdict(one)} for name, one in self.measured.items()}
        KEPT.write_text(json.dumps({"rows": rows, "notes": self.notes}, indent=1))

    @classmethod
    def kept(cls) -> Self:
        """The one of the last run."""
        told = json.loads(KEPT.read_text())
        by_name = {peer.name: peer for peer in PEERS}
        peers = {name: by_name[row.pop("peer")] for name, row in told["rows"].items()}
        return cls(peers, {name: Measured(**row) for name, row in told["rows"].items()}, told["notes"])

    def text(self) -> str:
        """For a terminal, with notes."""
        rows = [*HEAD, *((name, *self.cells(name)) for name in self.peers)]
        lines = [f"  {row:45}" + "".join(f"{cell:>14}" for cell in cells) for row, *cells in rows]
        return "\n".join([*lines, *(f"  {note}" for note in (*self.notes, *self.remarks()))])

    def markdown(self) -> str:
        """For a page, without what only a terminal has room for."""
        rows = [[name, *self.cells(name)] for name in self.sdk_rows()]
        shown = [[cell for i, cell in enumerate(row) if i not in (2, 3)] for row in rows]
        lines = [MARKDOWN_HEAD, ["---"] * len(MARKDOWN_HEAD), *shown]
        return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)

    def sdk_rows(self) -> list[str]:
        """The names of those that meet requests of the SDK."""
        return [name for name, peer in self.peers.items() if not peer.timed_only]

    def cells(self, name: str) -> list[str]:
        """What stands behind a name."""
        peer, one = self.peers[name], self.measured[name]
        if peer.timed_only:
            return [""] * 8 + [self.time(name), counted(one.instructions)]
        unshared = "not shared"
        return [
            *(
                cell(one.threads, form, unshared)
                for form in ("${billed:.2f}", "${says:.2f}", "{answers}", "${more:.2f}")
            ),
            cell(one.tasks, "${billed:.2f}", "no async" if peer.shared else unshared),
            cell(one.uncapped, "${billed:.2f}", "its caller's" if peer.estimated_by_caller else unshared),
            cell(one.left, "${billed:.2f}", "no streams"),
            cell(one.killed, "{lost} of {calls}", "keeps none"),
            self.time(name),
            counted(one.instructions),
        ]

    def time(self, name: str) -> str:
        """Microseconds that a call takes more."""
        added = self.measured[name].microseconds
        return "failed" if added is None else f"{added:,.1f} µs"

    def remarks(self) -> list[str]:
        """What went otherwise than it should, and what a cell of its own has no room for."""
        found = []
        for name, one in self.measured.items():
            runs = {"threads": one.threads, "tasks": one.tasks, "no max_tokens": one.uncapped, "streams": one.left}
            runs |= {"kill -9": one.killed, "instructions": one.instructions}
            found += [
                f"{name}, {run}: {result['failed']}" for run, result in runs.items() if result and "failed" in result
            ]
            found += sorted({f"{name}: {result['failed']}" for result in one.overheads if "failed" in result})
            if not all(result.get("counted", True) for result in one.overheads):
                found.append(f"{name}: has not counted every call while it was timed")
            found += [
                f"{name}, {run}: {times} calls raised {error}"
                for run, result in runs.items()
                for error, times in (result or {}).get("errors", {}).items()
                if not is_refusal(error)
            ]
        return found


def is_refusal(error: str) -> bool:
    """Whether an exception's name is that of a refusal."""
    return error in ("Refused", "AgentGuardBlockedError", "APIStatusError") or "Budget" in error


def cell(result: Result | None, form: str, without: str) -> str:
    """Figures of a result, or what is said where there is none."""
    if result is None:
        return without
    return "failed" if "failed" in result else form.format_map(result)


def counted(result: Result | None) -> str:
    """Instructions, in thousands."""
    return cell(result and {**result, "thousands": result.get("added", 0) / 1000}, "{thousands:,.0f}k", "")
