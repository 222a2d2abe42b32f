"""Who asks by a key: found in a request, read, and looked up in the ledger now and then."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from budgeted.errors import LedgerError
from budgeted.gateway import key_records, key_secret, keys
from budgeted.gateway.beside import beside
from budgeted.gateway.callers import Caller, CallerError, Headers
from budgeted.gateway.credentials import CREDENTIALS
from budgeted.gateway.keys import Key, KeyTextError
from budgeted.limits.periods import local_time
from budgeted.manager.budget_manager import BudgetManager

logger = logging.getLogger("budgeted")

OWN: Final = b"x-budgeted-key"
"""The header that is for a key of ours alone: it wins, and leaves the provider's own to the provider."""

STANDING_SECONDS: Final = 2.0
"""How long it is remembered that a key was not revoked. For what is paid for, the ledger decides at each call."""

MOST_READ: Final = 4_096
"""Keys that are kept in mind."""

REVOKED_STATUS: Final = 402
"""As other refusals of the ledger have it: agents then show the reason, and not that somebody should log in."""

_BEARER: Final = re.compile(rb"\Abearer[ \t]+", re.IGNORECASE)

_SIGNED: Final = re.compile(rb"\A\s*AWS4-[A-Z0-9-]+\s.*?\bCredential=(bk-[^/,\s]*)")
"""Amazon's signature, of whoever has a key of ours for an access key id: it is signed anew where it is sent on."""

_HOW: Final = "send one that `budgeted keys create` has made, as `Authorization: Bearer bk-...` or in `x-budgeted-key`"


class KeyCallers:
    """Tells who asks by the key in a request.

    Args:
        manager: whose accounts pay; its project's keys are taken, and no others.
        environment: where ``BUDGETED_SECRET`` may be; None for this process's.
        now: seconds that go on, for what is remembered.

    Raises:
        SecretError: there is a secret, and it must not be used, or cannot be read.

    Example:
        >>> app = create_gateway(manager, KeyCallers(manager))
    """

    def __init__(
        self,
        manager: BudgetManager,
        environment: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._environment = os.environ if environment is None else environment
        self._now = now
        self._secret = key_secret.find(self._environment)
        if self._secret is not None and (weakness := key_secret.weakness(self._secret)):
            logger.warning("budgeted: %s", weakness)
        self._read: dict[bytes, Key] = {}
        self._good: dict[str, float] = {}
        """When the ledger said last of which keys that they are not revoked."""

    async def caller(self, headers: Headers) -> Caller:
        """Who asks.

        Args:
            headers: of the request.

        Raises:
            CallerError: there is no key, or none that is good here. No text has more of it than its beginning.
        """
        header, text = shown_key(headers)
        key = self._key(text)
        self._check(key, keys.beginning(text))
        await self._check_standing(key)
        return Caller(key.user, (key_records.account(key.id),), key.models, key.id, header)

    @property
    def secret(self) -> bytes | None:
        """What keys are signed with; None where there is none yet."""
        try:
            return self._signed_with()
        except CallerError:
            return None

    def holder(self, text: str) -> Key:
        """Who holds a key that is good now: its ledger is asked, in the caller's own thread.

        Args:
            text: of the key.

        Raises:
            CallerError: it is none that is good here. The text has no more of it than its beginning.
            LedgerError: nobody knows, as the ledger is away.
        """
        key = self._read_key(text)
        self._check(key, keys.beginning(text))
        found = key_records.standing(self._manager.ledger, key.id)
        if not found.known or found.revoked:
            raise _refused(key, found, "")
        return key

    def is_good(self, id: str) -> bool:
        """Whether a key is known, and was not revoked: its ledger is asked, in the caller's own thread.

        Args:
            id: of the key.

        Raises:
            LedgerError: nobody knows, as the ledger is away.
        """
        found = key_records.standing(self._manager.ledger, id)
        return found.known and not found.revoked

    def _key(self, text: str) -> Key:
        # By a hash: what is kept in memory is nobody's key. It is one of the text as it came, of any length.
        digest = hashlib.sha256(text.encode()).digest()
        if (known := self._read.get(digest)) is not None:
            return known
        key = self._read_key(text)
        if len(self._read) >= MOST_READ:
            self._read.pop(next(iter(self._read)))
        self._read[digest] = key
        return key

    def _read_key(self, text: str) -> Key:
        try:
            return keys.read(text, self._signed_with())
        except KeyTextError as error:
            raise CallerError(401, str(error)) from None

    def _signed_with(self) -> bytes:
        """The secret, as soon as there is one: the first key may be made while the gateway runs."""
        if self._secret is None:
            try:
                self._secret = key_secret.find(self._environment)
            except key_secret.SecretError as error:
                logger.error("budgeted: %s", error)  # noqa: TRY400 - its text tells all
                text = (
                    "this gateway cannot read the secret that it checks keys with; whoever runs it finds why in its log"
                )
                raise CallerError(503, text) from error
        if self._secret is None:
            raise CallerError(401, f"this gateway knows of no keys yet: {_HOW}, where the gateway runs")
        return self._secret

    def _check(self, key: Key, beginning: str) -> None:
        """Refuse a key that has expired, or is of another project."""
        payer = self._manager.payer
        which = f"the key {beginning}" + (f" ({key.name})" if key.name else "")
        if 0 < key.expires <= payer.clock():
            at = local_time(key.expires, payer.timezone).isoformat(" ", "minutes")
            raise CallerError(401, f"{which} has expired, on {at}; ask for a new one")
        if key.project != payer.project_name:
            text = f"{which} is of another project than this gateway's; use one of the project that it serves"
            raise CallerError(401, text)

    async def _check_standing(self, key: Key) -> None:
        """Refuse a key that was revoked, or was made for another ledger: that knows none of its limits."""
        now, asked = self._now(), self._good.get(key.id)
        if asked is not None and now < asked + STANDING_SECONDS:
            return
        if asked is not None:
            self._good[key.id] = now  # other requests with it go on with what was known while this one asks
        payer, ledger, at = self._manager.payer, self._manager.ledger, asked
        try:
            found = await beside(ledger, lambda: key_records.standing(ledger, key.id))
            at = now
        except LedgerError as error:
            if asked is None:
                if payer.allows_without(error):
                    return
                text = "the ledger that knows of this gateway's keys is away or damaged; try again later"
                raise CallerError(503, text) from error
            at = now  # what was known goes on to count: what is paid for is refused by the ledger itself
            return
        finally:
            self._note(key.id, at)  # where whoever asks has gone meanwhile, the next one looks
        if not found.known or found.revoked:
            self._good.pop(key.id, None)
            raise _refused(key, found)

    def _note(self, id: str, at: float | None) -> None:
        if at is None:
            return
        if id not in self._good and len(self._good) >= MOST_READ:
            self._good.pop(next(iter(self._good)))
        self._good[id] = at


def shown_key(headers: Headers) -> tuple[bytes, str]:
    """The key of ours in a request's headers, with the name of the header.

    Args:
        headers: by names in lower case.

    Raises:
        CallerError: there is none, or there are two.
    """
    found: dict[bytes, bytes] = {}
    others: list[bytes] = []
    own = any(name == OWN for name, _ in headers)
    for name, value in headers:
        if name == OWN or (not own and name in CREDENTIALS):
            signed = _SIGNED.match(value)
            key = signed[1] if signed else _BEARER.sub(b"", value.strip(), count=1)
            if name == OWN or key.startswith(keys.PREFIX.encode()):
                found.setdefault(key, name)
            else:
                others.append(name)
    if len(found) > 1:
        raise CallerError(400, "the request has two keys of this gateway, and nobody knows which one pays; send one")
    for key, name in found.items():
        if key.startswith(keys.PREFIX.encode()):
            return name, key.decode("latin-1")
        raise CallerError(401, f"{name.decode()} holds no key of this gateway, which begin with {keys.PREFIX}: {_HOW}")
    if others:
        which = " and ".join(sorted({name.decode() for name in others}))
        text = f"the key in {which} is none of this gateway's, which begin with {keys.PREFIX}: {_HOW}"
        raise CallerError(401, text)
    raise CallerError(401, f"the request has no key: {_HOW}")


def _refused(key: Key, found: key_records.Standing, outcome: str = ", and nothing was sent") -> CallerError:
    which = f"the key {key.id}" + (f" ({key.name})" if key.name else "")
    if not found.known:
        text = (
            f"{which} is not known in the ledger that this gateway uses, which has none of its limits; ask for another"
        )
        return CallerError(401, text)
    return CallerError(REVOKED_STATUS, f"{which} was revoked{outcome}: {found.revoked}")
