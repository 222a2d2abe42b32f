"""What nobody has confirmed, summed per account, model and hour: a balance is told without going through all of it."""

from __future__ import annotations

from collections import defaultdict

from budgeted.ledger.cost_routing import decode_route
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.daily_rollups import shortened
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.sql import row_mapping
from budgeted.ledger.sql.driver_interface import Driver, Value
from budgeted.ledger.sql.statements import Statements

HOUR = 3600


class UncertainSums:
    """The sums of a project's uncertain charges.

    Args:
        statements: on the tables.
        project: the project's name as it is stored.
    """

    def __init__(self, statements: Statements, project: str) -> None:
        self._sql = statements
        self._project = project

    def replace(self, driver: Driver, before: Held | Ended | None, now: Held | Ended | None) -> None:
        """Count what a charge is now, instead of what it was."""
        for one, sign in ((before, -1), (now, 1)):
            if isinstance(one, Ended) and one.reason and one.used is not None and one.used.usd:
                self._add(driver, one, sign * one.used.usd)

    def _add(self, driver: Driver, one: Ended, usd: int) -> None:
        _, _, model, legs = decode_route(bytes(one.route))
        for leg in legs:
            row: dict[str, Value] = {
                "project": self._project,
                "account": row_mapping.written(leg.account),
                "model": row_mapping.written(shortened(model)),
                "hour": one.opened // HOUR,
                "usd": usd,
            }
            driver.execute(self._sql.add_doubt, row)
            if usd < 0:
                driver.execute(self._sql.drop_doubt, {name: row[name] for name in row if name != "usd"})

    def of(self, driver: Driver, account: str, start: int, end: int) -> dict[str, int]:
        """Nano-USD by model that nobody has confirmed, of an account's calls that were opened in a time."""
        first, behind = -(-start // HOUR), end // HOUR
        found: dict[str, int] = defaultdict(int)
        if first >= behind:  # it is within an hour, or two
            self._go_through(driver, account, start, end, found)
            return dict(found)
        mine: dict[str, Value] = {"project_": self._project, "account_": row_mapping.written(account)}
        whole = mine | {"first": first, "behind": behind}
        for model, usd in driver.execute(self._sql.sum_doubts, whole).fetchall():
            found[row_mapping.read(model)] += int(usd)
        self._go_through(driver, account, start, first * HOUR, found)
        self._go_through(driver, account, behind * HOUR, end, found)
        return dict(found)

    def _go_through(self, driver: Driver, account: str, start: int, end: int, found: dict[str, int]) -> None:
        """Add the charges of less than an hour, of which there are no sums."""
        if start >= end:
            return
        given: dict[str, Value] = {"project_": self._project, "first": start, "behind": end}
        for route, used in driver.execute(self._sql.doubtful_holds, given).fetchall():
            _, _, model, legs = decode_route(route.encode())
            charged = row_mapping.guess(used)
            if charged is not None and any(leg.account == account for leg in legs):
                found[shortened(model)] += charged.usd
