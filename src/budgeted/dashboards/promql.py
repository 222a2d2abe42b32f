"""PromQL: the queries that dashboards and rules are made of.

Every process that shares a ledger shows the same balances, so that these are never summed over processes: gauges take
the ``max``, and the time to exhaustion the ``min``. Counters are each process's own, and are summed.
"""

from __future__ import annotations

ACCOUNT = "budgeted_project, budgeted_account, budgeted_period, budgeted_models"
"""By what balances differ: one limit of one account."""


def balance(name: str, where: str = "") -> str:
    """The query of a gauge, one series per limit, whichever processes show it.

    Args:
        name: ``limit``, ``spent``, ``held`` or ``remaining``.
        where: label matchers, such as ``budgeted_project="shop"``.
    """
    return f"max by ({ACCOUNT}) (budgeted_{name}_USD{_matching(where)})"


def used(where: str = "") -> str:
    """The query of the share of each limit that is spent."""
    return f"{balance('spent', where)} / ({balance('limit', where)} > 0)"


def time_left(where: str = "") -> str:
    """The query of the seconds until each limit is reached at the present rate; no series for one that is not."""
    return f"min by ({ACCOUNT}) (budgeted_time_to_exhaustion_seconds{_matching(where)})"


def rate(name: str, window: str, by: str = "", where: str = "") -> str:
    """The query of a counter's rate per second, summed over processes.

    Args:
        name: without ``budgeted_`` and ``_total``, such as ``spend_USD``.
        window: over which it is measured, such as ``5m``.
        by: labels to keep.
        where: label matchers.
    """
    return f"sum{_by(by)} (rate(budgeted_{name}_total{_matching(where)}[{window}]))"


def lately(name: str, window: str, by: str = "", where: str = "") -> str:
    """The query of what a counter grew by, also where it came into being only now.

    Prometheus takes a counter's first value for old, and so ``increase`` does not see what a process counted before it
    was first scraped, such as its first refusal.

    Args:
        name: without ``budgeted_`` and ``_total``, such as ``spend_USD``.
        window: over which it is measured, such as ``5m``.
        by: labels to keep.
        where: label matchers.
    """
    metric = f"budgeted_{name}_total{_matching(where)}"
    grown, new = f"increase({metric}[{window}])", f"({metric} unless {metric} offset {window})"
    return f"sum{_by(by)} ({new} or {grown})"


def estimated_share(window: str) -> str:
    """The query of the share of charged calls that nobody confirmed."""
    charged = lately("calls", window, where='budgeted_outcome=~"settled|estimated"')
    guessed = lately("calls", window, where='budgeted_outcome="estimated"')
    return f"({guessed} or vector(0)) / ({charged} > 0)"


def _matching(where: str) -> str:
    return "{" + where + "}" if where else ""


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
