"""What a gateway sends to Amazon Bedrock: signed anew with its own credentials, of exactly what is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import httpx2
import pytest
from amazon_bedrock import TOKENS, Bedrock, bedrock
from botocore.eventstream import EventStreamError
from botocore.exceptions import ClientError
from gateways import OF_AWS, gateway
from key_requests import ENVIRONMENT, key_for

from budgeted import BudgetManager
from budgeted.gateway.aws_signature import Signer
from budgeted.gateway.callers import Callers
from budgeted.gateway.key_callers import KeyCallers
from budgeted.gateway.settings import GatewaySettings
from budgeted.gateway.upstream_requests import Outgoing
from budgeted.money import NANO
from budgeted.testing import SimulatedProvider, unmetered

PARTS: Any = [{"role": "user", "content": [{"text": "Grüße"}]}]
NOVA = "amazon.nova-pro-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0"
EMBED = "amazon.titan-embed-text-v2:0"
PER_TOKEN = 20  # nano-USD, of that
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
TOKEN = "ABSK-a-token"  # noqa: S105 - nobody looks at it


@pytest.fixture(scope="module")
def amazon() -> Iterator[Bedrock]:
    with bedrock() as listening:
        yield listening


@pytest.fixture(autouse=True)
def alone(provider: SimulatedProvider, amazon: Bedrock) -> Iterator[None]:
    provider.reset()
    amazon.arrived.clear()
    with unmetered():
        yield


def before(
    amazon: Bedrock, manager: BudgetManager, environment: Mapping[str, str], callers: Callers | None = None
) -> contextlib.AbstractContextManager[str]:
    """A gateway, by its address."""
    settings = GatewaySettings(upstreams={"bedrock": amazon.url}, open=callers is None)
    return gateway(manager, settings, callers, environment)


@pytest.fixture(scope="module")
def signing(amazon: Bedrock, manager: BudgetManager) -> Iterator[str]:
    """The address of a gateway with credentials of its own."""
    with before(amazon, manager, OF_AWS) as address:
        yield address


@pytest.fixture(scope="module")
def guarded(amazon: Bedrock, manager: BudgetManager) -> Iterator[str]:
    """The same, of one that wants keys."""
    with before(amazon, manager, OF_AWS, KeyCallers(manager, ENVIRONMENT)) as address:
        yield address


@contextlib.contextmanager
def sdk(url: str, user: str = "", key: str | None = "AKIDOFCALLER") -> Iterator[Any]:
    """A client of boto3's, with credentials of its own."""
    keys: Any = {} if key is None else {"aws_access_key_id": key, "aws_secret_access_key": "of the caller"}
    if key:
        keys["aws_session_token"] = "token of the caller"  # noqa: S105 - nobody looks at it
    config = botocore.config.Config(retries={"total_max_attempts": 4})
    client = boto3.client("bedrock-runtime", region_name="eu-west-1", endpoint_url=url, config=config, **keys)
    if user:
        add = {"x-budgeted-user": user}
        client.meta.events.register("before-send", lambda request, **_: request.headers.update(add))
    with contextlib.closing(client):
        yield client


@pytest.mark.parametrize("model", [NOVA, PROFILE])
def test_the_signature_is_one_of_the_path_and_the_body_as_they_are_sent(
    model: str, signing: str, amazon: Bedrock, manager: BudgetManager
) -> None:
    manager.set_limits("thin", 100)
    with sdk(signing, "thin") as client:
        client.converse(modelId=model, messages=PARTS)
        manager.set_limits("thin", manager.balance("thin").spent + 0.005)
        client.converse(modelId=model, messages=PARTS)
    plain, capped = amazon.arrived
    assert plain.is_signed_with(OF_AWS, amazon.url)
    assert capped.is_signed_with(OF_AWS, amazon.url)
    assert json.loads(capped.body)["inferenceConfig"]["maxTokens"] > 0, "it is one of what the gateway has written"
    assert plain.path.startswith("/model/" + ("arn%3Aaws%3A" if model is PROFILE else "amazon.nova-pro-v1%3A0"))
    assert "caller" not in repr(amazon.arrived).lower()


def test_headers_of_an_invocation_are_signed_and_pass(signing: str, amazon: Bedrock) -> None:
    with sdk(signing, "gerd") as client:
        client.invoke_model(
            modelId=EMBED, body=json.dumps({"inputText": "Hi"}), guardrailIdentifier="g", guardrailVersion="1"
        )
    (came,) = amazon.arrived
    assert came.headers["x-amzn-bedrock-guardrailidentifier"] == "g"
    assert "x-amzn-bedrock-guardrailidentifier" in came.headers["authorization"]
    assert came.is_signed_with(OF_AWS, amazon.url)


def test_what_only_headers_tell_is_charged(signing: str, manager: BudgetManager) -> None:
    with sdk(signing, "emil") as client:
        client.invoke_model(modelId=EMBED, body=json.dumps({"inputText": "Hello"}))
    assert round(manager.balance("emil").spent * NANO) == TOKENS * PER_TOKEN
    assert not [one for one in manager.uncertain() if "emil" in one.users]


def test_a_guardrail_in_a_header_is_held_for(url: str, manager: BudgetManager, provider: SimulatedProvider) -> None:
    manager.set_limits("greta", 0.0005)
    ask: Any = {"modelId": LLAMA, "body": json.dumps({"prompt": "Hello", "max_gen_len": 20})}
    with sdk(url, "greta") as client:
        client.invoke_model(**ask)
        with pytest.raises(ClientError, match="user 'greta' has"):
            client.invoke_model(**ask, guardrailIdentifier="g", guardrailVersion="1")
    assert len(provider.requests) == 1


def test_a_key_of_the_gateway_stands_for_an_access_key_or_a_token(
    guarded: str, amazon: Bedrock, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, key = key_for(manager, "alice")
    with sdk(guarded, key=text) as client:
        client.converse(modelId=NOVA, messages=PARTS)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", text)
    with sdk(guarded, key=None) as client:
        client.converse(modelId=NOVA, messages=PARTS)
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK")
    with sdk(guarded, key=text[:-1]) as client, pytest.raises(ClientError, match=r"is no whole key|was changed"):
        client.converse(modelId=NOVA, messages=PARTS)
    with sdk(guarded) as client, pytest.raises(ClientError, match="none of this gateway's"):
        client.converse(modelId=NOVA, messages=PARTS)
    assert len(amazon.arrived) == 2
    assert all(one.is_signed_with(OF_AWS, amazon.url) for one in amazon.arrived)
    assert "bk-" not in repr(amazon.arrived)
    assert manager.balance(f"tag:gateway-key={key.id}").spent > 0


def test_a_token_of_the_gateways_own_is_sent_in_place_of_a_signature(amazon: Bedrock, manager: BudgetManager) -> None:
    with before(amazon, manager, {**OF_AWS, "AWS_BEARER_TOKEN_BEDROCK": TOKEN}) as url, sdk(url, "toni") as client:
        client.converse(modelId=NOVA, messages=PARTS)
    (came,) = amazon.arrived
    assert came.headers["authorization"] == f"Bearer {TOKEN}"
    assert not [name for name in came.headers if name.startswith("x-amz-")]


def test_credentials_are_found_in_files_and_renewed_before_they_expire(
    amazon: Bedrock, manager: BudgetManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = tmp_path / "issued.json"

    def issue(name: str) -> dict[str, str]:
        soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
        keys = {"AccessKeyId": name, "SecretAccessKey": f"secret of {name}", "Expiration": soon}
        issued.write_text(json.dumps({"Version": 1, **keys}))
        return {**OF_AWS, "AWS_ACCESS_KEY_ID": name, "AWS_SECRET_ACCESS_KEY": f"secret of {name}"}

    config = tmp_path / "config"
    config.write_text(f"[profile rotating]\ncredential_process = cat {issued}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    first = issue("AKIDFIRST")
    environment = {"AWS_PROFILE": "rotating", "AWS_REGION": "us-east-1"}
    with before(amazon, manager, environment) as url, sdk(url, "rosa") as client:
        client.converse(modelId=NOVA, messages=PARTS)
        second = issue("AKIDSECOND")
        client.converse(modelId=NOVA, messages=PARTS)
        issued.write_text("nothing")
        with pytest.raises(ClientError, match=r"cannot be renewed.*nothing was sent"):
            client.converse(modelId=NOVA, messages=PARTS)
    assert [one.is_signed_with(keys, amazon.url) for one, keys in zip(amazon.arrived, (first, second), strict=True)]
    assert manager.balance("rosa").held == 0


@pytest.fixture
def nothing_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine has no credentials of Amazon's, wherever botocore looks."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("nothing_found")
def test_without_credentials_a_signature_is_refused_and_a_token_of_the_callers_passes(
    amazon: Bedrock, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    with before(amazon, manager, {"AWS_REGION": "us-east-1"}) as url:
        with (
            sdk(url, "nils") as client,
            pytest.raises(ClientError, match=r"has a key for bedrock.*AWS_BEARER") as error,
        ):
            client.converse(modelId=NOVA, messages=PARTS)
        assert error.value.response["ResponseMetadata"]["RetryAttempts"] == 0
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", TOKEN)
        with sdk(url, "nils", key=None) as client:
            client.converse(modelId=NOVA, messages=PARTS)
    (came,) = amazon.arrived
    assert came.headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"AWS_PROFILE": "missing", "AWS_REGION": "us-east-1"}, "The config profile .missing. could not be found"),
        ({"AWS_ACCESS_KEY_ID": "AKIDHALF"}, "Partial credentials found in env"),
        ({**OF_AWS, "AWS_REGION": ""}, "its address names no region, and neither does AWS_REGION"),
    ],
)
@pytest.mark.usefixtures("nothing_found")
def test_credentials_that_cannot_be_used_are_told_and_nothing_is_sent(
    environment: dict[str, str], text: str, amazon: Bedrock, manager: BudgetManager
) -> None:
    with (
        before(amazon, manager, environment) as url,
        sdk(url, "paul") as client,
        pytest.raises(ClientError, match=f"cannot sign requests to Amazon Bedrock: .*{text}") as error,
    ):
        client.converse(modelId=NOVA, messages=PARTS)
    assert error.value.response["Error"]["Code"] == "AccessDeniedException"
    assert not amazon.arrived
    assert manager.balance("paul").spent == manager.balance("paul").held == 0


def test_without_botocore_one_is_told_to_install_it(
    amazon: Bedrock, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    with before(amazon, manager, OF_AWS) as url, httpx2.Client() as http:
        monkeypatch.setitem(sys.modules, "botocore.session", None)
        got = http.post(f"{url}/model/{NOVA.replace(':', '%3A')}/converse", json={"messages": PARTS})
    assert got.status_code == 403
    assert "pip install botocore" in got.json()["message"]
    assert not amazon.arrived


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.us-east-2.amazonaws.com", "us-east-2"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("bedrock-runtime.eu-west-1.api.aws", "eu-west-1"),
        ("bedrock-agent-runtime.ap-southeast-2.amazonaws.com", "ap-southeast-2"),
        ("vpce-0a-1b.bedrock-runtime.sa-east-1.vpce.amazonaws.com", "sa-east-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("llm.corp", "us-east-1"),
    ],
)
def test_the_region_is_the_one_of_the_address(host: str, region: str) -> None:
    sign = asyncio.run(Signer(f"https://{host}", OF_AWS).ready())
    assert sign is not None
    made = dict(sign(Outgoing("POST", f"https://{host}", "/model/m/converse", "", [], b"{}")))
    assert f"/{region}/bedrock/aws4_request" in made["Authorization"]


def test_a_stream_passes_byte_for_byte_and_what_is_wrong_within(
    url: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    reply = {"x-simulate": json.dumps({"text": "word " * 20}), "x-budgeted-user": "sven"}
    path = f"/model/{NOVA.replace(':', '%3A')}/converse-stream"
    with httpx2.Client(headers=reply) as http:
        through, straight = (http.post(at + path, json={"messages": PARTS}) for at in (url, provider.url))
    assert len(through.content) == len(straight.content)
    assert through.headers["content-type"] == straight.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert round(manager.balance("sven").spent * NANO) == provider.billed_nano() // 2
    provider.reply(error_after=3, output_tokens=30)
    with sdk(url, "erik") as client:
        stream = client.converse_stream(modelId=NOVA, messages=PARTS)["stream"]
        with pytest.raises(EventStreamError, match="The server had an error"):
            list(stream)
        stream.close()
    manager.flush()
    billed = provider.bill[-1].nano_usd
    assert manager.balance("erik").spent * NANO >= billed > 0
