"""Requests that Schemathesis makes of the server's own description: each is answered as that says."""

from __future__ import annotations

import importlib.util
from typing import Any

import hypothesis
from serving import TOKEN

from proof.malice.http_requests import Target
from proof.trial import Case

EXAMPLES = 5
"""Requests of one operation in a case."""


def missing() -> bool:
    """Whether Schemathesis is not installed."""
    return importlib.util.find_spec("schemathesis") is None


def operations(target: Target) -> list[Any]:
    """What is described, each with its path and method."""
    import schemathesis

    return [result.ok() for result in schemathesis.openapi.from_dict(target.document).get_all_operations()]


def attempt(case: Case, target: Target, described: list[Any]) -> None:
    """Some requests of one operation: such as it asks for, or such as it does not."""
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks

    operation = case.rng.choice(described)
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    mode = case.rng.choice(modes if any(operation.iter_parameters()) or operation.body else modes[:1])
    case.fault(f"requests of the description, {mode.value}")
    case.tell(f"{operation.label}, {mode.value}")
    checked = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]

    @hypothesis.seed(case.rng.randrange(2**32))
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def ask(made: Any) -> None:
        answer = made.call(base_url=target.url, headers={"authorization": f"Bearer {TOKEN}"})
        made.validate_response(answer, checks=checked)

    ask()
    target.check()
