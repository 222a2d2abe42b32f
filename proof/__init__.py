"""The proof: budgeted is attacked in every way known to break ledgers, and its books are compared with the bill.

``python -m proof`` runs the short form of each part, ``python -m proof --long`` the long one. A part is a module of
``proof/parts``; what it is given is a :class:`proof.trial.Trial`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Parts share with the tests what starts servers and looks into ledgers.
for _folder in (ROOT / "tests", ROOT / "tests" / "ledger"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))

# Else importing LiteLLM goes to the network.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
