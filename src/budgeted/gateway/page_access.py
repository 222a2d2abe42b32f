"""Who may look at a gateway's page: its tokens' bearers at everything, a key's holder at what is its user's alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from budgeted.gateway import keys
from budgeted.gateway.callers import CallerError, Callers
from budgeted.gateway.key_callers import KeyCallers
from budgeted.http_server.same_machine import why_not_from_here
from budgeted.http_server.tokens import Tokens
from budgeted.page.sources import NotLetInError, Visitor


class GatewayAccess:
    """Who may look at the page of a gateway, and who may change what it shows.

    Without tokens, everything is shown by an open gateway alone, which serves its own machine and nobody else. One that
    wants keys then shows nobody but a key's holder anything: whoever asks from this machine may be an agent that has a
    key, and is not to raise its own limit.

    Args:
        tokens: of those who may see everything.
        callers: who tells who asks.
        is_open: whether the gateway wants no keys.
    """

    def __init__(self, tokens: Tokens, callers: Callers, *, is_open: bool) -> None:
        self._tokens, self._is_open = tokens, is_open
        self._keys = callers if isinstance(callers, KeyCallers) else None

    @property
    def open(self) -> bool:
        """Whether there are no tokens, and no keys are wanted."""
        return self._is_open and not self._tokens.every

    @property
    def takes_keys(self) -> bool:
        """Whether there are keys at all."""
        return self._keys is not None

    @property
    def secrets(self) -> Sequence[str]:
        """The tokens, and what keys are signed with."""
        secret = None if self._keys is None else self._keys.secret
        return self._tokens.every if secret is None else (*self._tokens.every, secret.hex())

    def why_not(self, server: Sequence[object] | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """An open gateway serves its own machine alone."""
        if not self._is_open or (why := why_not_from_here(server, headers)) is None:
            return None
        return f"a gateway without keys serves its own machine alone, and {why}; start it without --open"

    def visitor(self, token: str | None) -> Visitor:
        """Who comes with a token, or with a key."""
        if self.open:
            return Visitor("write")
        if role := self._tokens.may(token):
            return Visitor(role)
        if self._keys is None or token is None or not token.startswith(keys.PREFIX):
            raise NotLetInError("That is none of this gateway's tokens or keys.")
        try:
            key = self._keys.holder(token)
        except CallerError as error:
            raise NotLetInError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
        return Visitor("read", key.user, key.id, key.expires)

    def still(self, key: str) -> bool:
        """Whether a key is still good."""
        return self._keys is not None and self._keys.is_good(key)
