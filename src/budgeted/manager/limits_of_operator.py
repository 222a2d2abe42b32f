"""Global limits that whoever started this program has named for it: the program's own do not replace them."""

from __future__ import annotations

import logging

from budgeted.ledger.interface import Ledger
from budgeted.limits.limit import Limit

logger = logging.getLogger("budgeted")

named: dict[tuple[str, str | None], str] = {}
"""By project and place of the ledger: the limits as text."""


def overrule(limits: tuple[Limit, ...], project: str, ledger: Ledger) -> bool:
    """Whether limits that a program gives to a project are left out, as others were named for it; that is said.

    Args:
        limits: the program's.
        project: the namespace in the ledger.
        ledger: where its balances are.
    """
    text = named.get((project, ledger.place))
    if text is None:
        return False
    own = " + ".join(map(str, limits)) or "no limit"
    if own != text:
        logger.warning("budgeted: %s, which this run was given, holds for %r, not the program's %s", text, project, own)
    return True
