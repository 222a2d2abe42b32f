"""Sessions of a page: a token is given once, and a signed cookie stands for what it may do.

The cookie has no secret in it. It is signed with a key that is made of the tokens, so it is good in every process of a
server, after a restart as well, and no longer when they are replaced. Where nobody needs a token, there is a session
all the same: its forms are signed with it.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets
from collections.abc import Callable

import msgspec

from budgeted.page.ended_sessions import EndedSessions
from budgeted.page.sources import Access, Role

SECONDS = 12 * 3600
"""How long a session lasts at most."""

LONGEST = 4096
"""Characters that are looked at: browsers keep no longer cookies."""

_BY_CHANCE = secrets.token_bytes(32)
"""What sessions are signed with where there are no tokens: drawn before a server forks, for all its processes."""


class Session(msgspec.Struct, frozen=True, array_like=True):
    """Who looks at a page.

    Attributes:
        role: what may be done.
        ends: unix seconds.
        nonce: what tells this session from others.
        own: the user whose page alone may be looked at; "" for everything.
        key: by which it is asked at each look whether it goes on; "" for one of which nobody has to be asked.
    """

    role: Role
    ends: int
    nonce: str
    own: str = ""
    key: str = ""


class Sessions:
    """Makes sessions, and knows them again.

    Args:
        access: who may look.
        clock: unix seconds.
    """

    def __init__(self, access: Access, clock: Callable[[], float]) -> None:
        self._access, self._clock = access, clock
        self._ended = EndedSessions(clock)

    def begin(self, token: str | None) -> Session:
        """A new session for the bearer of a token. It may wait for a ledger.

        Raises:
            NotLetInError: the token opens nothing.
            LedgerError: nobody knows, as the ledger is away.
        """
        visitor = self._access.visitor(token)
        ends = int(self._clock()) + SECONDS
        ends = min(ends, visitor.until) if visitor.until else ends
        return Session(visitor.role, ends, secrets.token_urlsafe(18), visitor.own, visitor.key)

    def cookie(self, session: Session) -> str:
        """What the browser keeps."""
        return self.signed("session", msgspec.json.encode(session))

    def of_cookie(self, cookie: str | None) -> Session | None:
        """The session that a cookie stands for; None if it is none of ours, or has ended."""
        told = self.read("session", cookie)
        if told is None:
            return None
        try:
            session = msgspec.json.decode(told, type=Session)
        except msgspec.DecodeError:
            return None
        return session if session.role and session.ends > self._clock() and not self.has_ended(session) else None

    def end(self, session: Session) -> None:
        """End a session before its time, for this process: also for those who have copied its cookie."""
        self._ended.add(session.nonce, session.ends)

    def has_ended(self, session: Session) -> bool:
        """Whether a session was ended before its time."""
        return session.nonce in self._ended

    def form_token(self, session: Session) -> str:
        """What each form of a session carries, and a page of somebody else cannot know."""
        return self._mac("form", session.nonce.encode())

    def is_of(self, session: Session, form_token: str) -> bool:
        """Whether a form is one of a session's."""
        return hmac.compare_digest(self.form_token(session).encode(), form_token.encode("utf-8", "replace"))

    def signed(self, purpose: str, data: bytes) -> str:
        """Data as text that :meth:`read` takes for the same purpose alone."""
        return f"{_text(data)}.{self._mac(purpose, data)}"

    def read(self, purpose: str, signed: str | None) -> bytes | None:
        """The data of :meth:`signed`; None if somebody else has written it."""
        if not signed or len(signed) > LONGEST or not signed.isascii():
            return None
        text, _, mac = signed.partition(".")
        try:
            data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            return None
        return data if hmac.compare_digest(self._mac(purpose, data), mac) else None

    def _mac(self, purpose: str, data: bytes) -> str:
        told = "\n".join(self._access.secrets).encode()
        # Without secrets nobody is told apart by one, and nothing has to be known again after a restart.
        return _text(hmac.digest(_key_of(told) if told else _BY_CHANCE, purpose.encode() + b"\0" + data, "sha256"))


@functools.lru_cache(maxsize=8)  # as each look asks
def _key_of(tokens: bytes) -> bytes:
    """A key that takes its time: who may only look has a cookie, and must not find a short token by trying all."""
    return hashlib.scrypt(tokens, salt=b"budgeted page", n=2**14, r=8, p=1, dklen=32)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
