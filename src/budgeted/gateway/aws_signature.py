"""Amazon's signatures: requests to it are signed anew with the gateway's own credentials, where it runs."""

from __future__ import annotations

import asyncio
import functools
import re
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from budgeted.gateway.callers import CallerError
from budgeted.gateway.outgoing_request import Outgoing, Sign

SERVICE: Final = "bedrock"
"""As which requests are signed to whichever of Bedrock's hosts."""

AGAIN_SECONDS: Final = 10.0
"""How long it is believed that there are no credentials: they are looked for in files, and over the network."""

_REGION: Final = re.compile(r"(?:.*\.)?bedrock[a-z-]*\.([a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com(?:\.cn)?|api\.aws)")
_SIGNED: Final = ("content-type", "x-amzn-bedrock-")
"""What is signed beside the host and the body: headers that nobody changes on the way."""


class Signer:
    """Signs requests to one of Amazon's hosts.

    The credentials are found as boto3 finds them: variables, files with profiles, roles. They are looked for when
    the first request comes, and renewed before they expire.

    Args:
        url: of the upstream.
        environment: where the keys of the gateway's upstreams are.
    """

    def __init__(self, url: str, environment: Mapping[str, str]) -> None:
        self._host, self._environment = urlsplit(url).hostname or "", environment
        self._looking = asyncio.Lock()
        self._found: Any = None  # botocore's, which has no types
        self._looked = -AGAIN_SECONDS

    async def ready(self) -> Sign | None:
        """What signs a request with the credentials of now; None if there are none.

        Raises:
            CallerError: they cannot be used here; the text says why, and has nothing of them.
        """
        found = await self._credentials()
        if found is None:
            return None
        try:
            # A thread for those alone that are renewed over the network.
            renews = getattr(found, "refresh_needed", None)
            if renews is not None and renews():
                frozen = await asyncio.to_thread(found.get_frozen_credentials)
            else:
                frozen = found.get_frozen_credentials()
        except Exception as error:
            raise _unusable(f"the credentials have expired, and cannot be renewed ({type(error).__name__})") from error
        return functools.partial(_signed, frozen, self._region())

    async def _credentials(self) -> Any:
        if self._is_due():
            async with self._looking:
                if self._is_due():
                    self._found = await asyncio.to_thread(_look, self._environment)
                    self._looked = time.monotonic()
        return self._found

    def _is_due(self) -> bool:
        return self._found is None and time.monotonic() >= self._looked + AGAIN_SECONDS

    def _region(self) -> str:
        place = _REGION.fullmatch(self._host)
        if place is not None:
            return place[1]
        region = self._environment.get("AWS_REGION") or self._environment.get("AWS_DEFAULT_REGION")
        if not region:
            raise _unusable("its address names no region, and neither does AWS_REGION")
        return region


def _look(environment: Mapping[str, str]) -> Any:
    """The credentials, as botocore finds them; None if there are none."""
    try:
        import botocore.credentials  # type: ignore[import-untyped]
        import botocore.session  # type: ignore[import-untyped]
    except ImportError as error:
        raise _unusable("botocore, which signs, is not installed (`pip install botocore`)") from error
    try:
        stated = botocore.credentials.EnvProvider(dict(environment)).load()
        if stated is not None:
            return stated
        session = botocore.session.Session(profile=environment.get("AWS_PROFILE") or None)
        return session.get_credentials()
    except Exception as error:  # a profile that is not there, a file that cannot be read, half of a key
        raise _unusable(f"the credentials cannot be used ({type(error).__name__}: {error})") from error


def _signed(frozen: Any, region: str, out: Outgoing) -> list[tuple[str, str]]:
    """The headers of a request with a signature of what is sent: of the path as it is written, and of the body."""
    from botocore.auth import SigV4Auth  # type: ignore[import-untyped]
    from botocore.awsrequest import AWSRequest  # type: ignore[import-untyped]

    kept = {name: value for name, value in out.headers if name.startswith(_SIGNED)}
    url = f"{out.origin}{out.target}{out.query}"
    request = AWSRequest(method=out.method, url=url, data=out.body or b"", headers=kept)
    SigV4Auth(frozen, SERVICE, region).add_auth(request)
    made = [(name, value) for name, value in request.headers.items() if name not in kept]
    return [*out.headers, *made]


def _unusable(why: str) -> CallerError:
    return CallerError(403, f"this gateway cannot sign requests to Amazon Bedrock: {why}; nothing was sent")
