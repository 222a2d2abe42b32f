"""A report, as programs read it, notebooks show it, and files keep it."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal

import msgspec

from budgeted.html_tables import Bar, Cell, amount, table
from budgeted.manager.account_names import free_name

FORMULA = "=+-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
"""What a cell begins with that a spreadsheet would compute: https://owasp.org/www-community/attacks/CSV_Injection"""


@dataclass(frozen=True, slots=True)
class ReportRow:
    """What was charged under one heading of a report.

    Attributes:
        spent: USD.
        calls, input_tokens, output_tokens: counts.
        uncertain: of ``spent``, what nobody has confirmed (USD).
        exhausted_at: of a user, when the first of its limits in USD is reached at the present rate, as
            :attr:`Balance.exhausted_at` has it.
    """

    spent: float = 0.0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    uncertain: float = 0.0
    exhausted_at: dt.datetime | None = field(default=None, compare=False)  # another one a moment later


class Report(dict[str, ReportRow]):
    """What was spent, by name: a mapping that a notebook shows as a table, and that adds up.

    The rows' sum less ``shared`` is ``total``, but for ``by="would_refuse"``, whose rows are only a part of it.

    Attributes:
        by: what the names are: ``"user"``, ``"model"``, ``"tag:feature"``, ...
        total: all that was charged to the global account in that time, each call once.
        shared: what is in more than one row: a call that a team and its user paid for is in both of theirs.
        rest: the name of the last row where that is what no other row has, such as ``"(nobody)"``; else "".
        since, until: the first and the last day; None for no bound.

    Example:
        >>> report = manager.report(by="user", since="2026-11-01", until="2026-11-30")
        >>> report["alice"].spent, report.total.spent
        (1.25, 8.0)
    """

    by = ""
    total = ReportRow()
    shared = ReportRow()
    rest = ""
    since: dt.date | None = None
    until: dt.date | None = None

    def to_csv(self, *, total: bool = True) -> str:
        """The report as a table in CSV, with a line of heads.

        A name that a spreadsheet would take for a formula has an apostrophe before it, which shows it as text.

        Args:
            total: whether the last line is the total, named ``(total)``.

        Returns:
            Text for a file; open it with ``newline=""``. Amounts are USD, written out in full.

        Example:
            >>> Path("report.csv").write_text(manager.report().to_csv(), encoding="utf-8", newline="")
        """
        text = io.StringIO()
        write = csv.writer(text).writerow
        write((harmless(self.by), "spent_usd", "calls", "input_tokens", "output_tokens", "uncertain_usd"))
        for name, row in (*self.items(), *([(self.total_name, self.total)] if total else [])):
            counts = row.calls, row.input_tokens, row.output_tokens
            write((harmless(name), _written_out(row.spent), *counts, _written_out(row.uncertain)))
        return text.getvalue()

    def to_json(self) -> str:
        """The report as JSON: ``by``, ``since``, ``until``, ``total``, ``shared``, ``rest``, and ``rows`` in order.

        Returns:
            Text. Each of ``rows`` has a ``name`` and what a :class:`ReportRow` has; amounts are USD.

        Example:
            >>> json.loads(manager.report().to_json())["total"]["spent"]
            8.0
        """
        told = {
            "by": self.by,
            "since": self.since,
            "until": self.until,
            "total": self.total,
            "shared": self.shared,
            "rest": self.rest,
            "rows": [{"name": name, **asdict(row)} for name, row in self.items()],
        }
        return msgspec.json.format(msgspec.json.encode(told), indent=2).decode()

    def lines(self) -> Iterator[tuple[str, ReportRow]]:
        """The rows, and the total behind them where there are any."""
        yield from self.items()
        if self:
            yield self.total_name, self.total

    @property
    def total_name(self) -> str:
        """What the line of the total is called, such as ``"(total)"``: in more brackets where a row is called so."""
        return free_name("(all calls)" if self.by == "would_refuse" else "(total)", self)

    def _repr_html_(self) -> str:
        head = (self.by, "", "spent", "calls", "input tokens", "output tokens", "unconfirmed")
        rows: list[tuple[Cell, ...]] = [
            (
                name,
                Bar(row.spent, 0, self.total.spent or None, "of all"),
                amount(row.spent),
                *(f"{count:,}" for count in (row.calls, row.input_tokens, row.output_tokens)),
                amount(row.uncertain),
            )
            for name, row in self.items()
        ]
        return table(self.caption(), head, rows)

    def caption(self) -> str:
        """What the report is of, and its total, in one line."""
        all_of_it = f"{amount(self.total.spent)}, calls: {self.total.calls:,}"
        if self.by == "would_refuse":
            return f"Would have been refused, of {all_of_it}"
        twice = f", of which {amount(self.shared.spent)} is in more than one row" if self.shared.calls else ""
        return f"Spent by {self.by}: {all_of_it}{twice}"


def harmless(name: str) -> str:
    """A name as a cell that no spreadsheet computes."""
    return f"'{name}" if name.lstrip()[:1] in tuple(FORMULA) or name[:1] in ("\t", "\r", "\n") else name


def _written_out(usd: float) -> str:
    """USD as a number that everybody reads: nobody's spreadsheet gets an exponent."""
    return f"{Decimal(repr(usd)):f}"
