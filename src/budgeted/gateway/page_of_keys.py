"""The keys of a user as the page lists them."""

from __future__ import annotations

from budgeted.gateway.key_books import KeyBooks
from budgeted.manager.administrative_manager import Books
from budgeted.page.sources import ListedKey


class KeysOfGateway:
    """The keys of a gateway's project, by their users."""

    def of(self, books: Books, user: str) -> list[ListedKey]:
        """A user's keys, the oldest first."""
        return [
            ListedKey(
                id=one.id,
                name=one.name,
                state=one.state,
                revoked=one.revoked,
                spent=one.spent,
                limits=one.limits,
                created=one.created,
                expires=one.expires,
            )
            for one in KeyBooks(books).every(user)
        ]

    def revoke(self, books: Books, id: str, reason: str) -> None:
        """Refuse every call with a key from now on."""
        KeyBooks(books).revoke(id, reason)
