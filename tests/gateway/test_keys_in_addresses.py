"""Keys in the address of a request: refused, and never quoted."""

from __future__ import annotations

import pytest

from budgeted.gateway import keys
from budgeted.gateway.callers import CallerError
from budgeted.gateway.key_in_address import refuse_key_in_address

KEY = keys.made("alice", "default", b"secret")[0]


@pytest.mark.parametrize(
    "address",
    [
        "?key={key}",
        "?alt=sse&key=AIza-of-google",
        "?alt=sse;api_key={key}",
        "?X-Goog-Api-Key=abc",
        "?%6bey=abc",
        "?token={key}",
        "?next=https%3A%2F%2Fhost%2F%3Fa%3D{key}",
        "?a=%62k-{rest}",
        "?a=%2562k-{rest}",
        "?access_token=ya29.abc",
        "/{key}/v1/models",
        "/v1/%62%6B-{rest}",
        "/v1/models/é{key}",
    ],
)
def test_a_key_in_an_address_is_refused_and_not_quoted(address: str) -> None:
    path, _, query = address.format(key=KEY, rest=KEY[3:]).partition("?")
    with pytest.raises(CallerError) as caught:
        refuse_key_in_address(path, query.encode())
    assert caught.value.status == 400
    assert KEY[3:9] not in caught.value.text


@pytest.mark.parametrize(
    "address",
    [
        "/v1/models?alt=sse",
        "/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21",
        "/v1/files?keyword=bk-books&monkey=1&limit=20&after=model_key",
        "/model/arn%3Aaws%3Abedrock/converse",
        "/v1/models/bk-tiny",
        "/v1/models/é",
    ],
)
def test_other_addresses_pass(address: str) -> None:
    path, _, query = address.partition("?")
    refuse_key_in_address(path, query.encode())
