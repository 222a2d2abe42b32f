"""What each verb of a ledger may be asked: of a project with two limits, $100/month in all and $5/day for alice.

A call of worker1 has ended, ``worker1.1``; one is in flight, ``worker1.2``; of one nobody knows what it cost,
``worker1.3``. It is noon of 2026-03-02, in UTC.
"""

from __future__ import annotations

from budgeted.ledger.accounts import USD, Account, Amendment, LimitSpec
from budgeted.ledger.admission import Ask
from budgeted.ledger.cost_routing import Leg
from budgeted.ledger.http import request_bodies as bodies
from budgeted.ledger.http.batches import BatchBody, BatchedVerb
from budgeted.ledger.spending_records import Used

NOON = 1_772_452_800
DAY = 20_514
MONTH = "usd/month", 1_772_323_200, 1_775_001_600
TODAY = "usd/day", 1_772_409_600, 1_772_496_000

ROUTE = bodies.RouteBody((Leg("g", (MONTH,)), Leg("u:alice", (TODAY,))), (2, 3), DAY, "openai", "gpt-5")
ASK = Ask(usd=2_000_000, usd_rate=10_000_000, tokens=1_600, tokens_rate=1, least=4_000, most=4_000)

EXAMPLES: dict[str, bodies.VerbBody] = {
    "hold": bodies.HoldBody("worker1.4", ROUTE, ASK, NOON),
    "settle": bodies.SettleBody("worker1.2", Used(29_500_000, 1_600, 2_750), NOON),
    "release": bodies.ReleaseBody("worker1.2", NOON),
    "post": bodies.PostBody("worker1.5", ROUTE, Used(29_500_000, 1_600, 2_750), NOON),
    "ended": bodies.ChargeBody("worker1.3"),
    "correct": bodies.CorrectBody("worker1.3", Used(18_200_000, 1_600, 1_620), NOON),
    "read": bodies.AccountBody("u:alice"),
    "set_limits": bodies.LimitsBody("u:alice", (LimitSpec(TODAY[0], USD, 8_000_000_000, *TODAY[1:]),)),
    "set_periods": bodies.PeriodsBody("u:alice", (LimitSpec(TODAY[0], USD, 5_000_000_000, *TODAY[1:]),)),
    "amend": bodies.AmendBody("u:alice", Amendment(belongs_to="u:team:search")),
    "reset": bodies.ResetBody("u:alice", NOON),
    "delete": bodies.AccountBody("u:alice"),
    "restore": bodies.RestoreBody((Account("u:bob", usd=250_000_000, calls=3),)),
    "accounts": bodies.PageBody("u:"),
    "rollups": bodies.SinceBody(DAY, "u:alice"),
    "spent_most": bodies.SpentMostBody(DAY, 10),
    "uncertain": bodies.NothingBody(),
    "uncertain_page": bodies.UncertainBody("u:alice", 0, 50),
    "open_holds": bodies.NothingBody(),
    "everything": bodies.NothingBody(),
    "sweep": bodies.SweepBody(900),
    "repair": bodies.NothingBody(),
    "opening": bodies.NothingBody(),
    "renew": bodies.RenewBody("worker1", 60),
}

BATCH = BatchBody(
    (
        BatchedVerb(hold=bodies.HoldBody("worker1.6", ROUTE, ASK, NOON)),
        BatchedVerb(settle=bodies.SettleBody("worker1.2", Used(29_500_000, 1_600, 2_750), NOON)),
    )
)
"""Two of them at once."""
