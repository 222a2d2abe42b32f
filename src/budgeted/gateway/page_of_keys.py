"""The keys of a user as the page lists them."""

from __future__ import annotations

from budgeted.gateway.key_books import KeyBooks, KeyInfo
from budgeted.manager.administrative_manager import Books


class KeysOfGateway:
    """The keys of a gateway's project, by their users."""

    def of(self, books: Books, user: str) -> list[KeyInfo]:
        """A user's keys, the oldest first."""
        return KeyBooks(books).every(user)

    def revoke(self, books: Books, id: str, reason: str) -> None:
        """Refuse every call with a key from now on."""
        KeyBooks(books).revoke(id, reason)
