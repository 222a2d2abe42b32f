"""The keys of a gateway that a user pays with: which there are, and revoking one."""

from __future__ import annotations

from typing import Final

from budgeted.page.asking import Asked, Done, Shown
from budgeted.page.sources import ListedKey
from budgeted.page.views.questions import question

PATH: Final = "/page/keys"


def show(asked: Asked) -> Shown:
    """The keys of one user, the oldest first, without their text, which nobody has but their holder."""
    name = asked.query.get("name", "")
    if asked.keys is None or not name:
        return Shown("no_user.html", "No such user", {"name": name}, 404)
    return Shown("keys.html", f"Keys of {name}", {"name": name, "keys": asked.keys.of(asked.books, name)})


def act(asked: Asked) -> Done | Shown:
    """Revoke a key, once that was agreed to."""
    user, id, reason = (asked.form.get(name, "").strip() for name in ("name", "id", "reason"))
    found = [] if asked.keys is None else [one for one in asked.keys.of(asked.books, user) if one.id == id]
    if asked.keys is None or not found:
        return Shown("no_user.html", "No such key", {"name": user}, 404)
    [key], here = found, asked.link(PATH, name=user)
    if key.state == "revoked":
        return Done(here, f"The key {_called(key)} is revoked already")
    if "agreed" not in asked.form:
        told = [
            "From then on every call with it is refused at once, by all gateways. Calls in flight end as they would.",
            f"Whoever is refused is told: {reason}" if reason else "No reason is given to whoever is refused.",
        ]
        fields = {"name": user, "id": id, "reason": reason}
        return question(asked, f"Revoke the key {_called(key)}?", told, "Revoke", fields, is_grave=True, back=here)
    asked.keys.revoke(asked.books, id, reason)
    return Done(here, f"The key {_called(key)} is revoked", f"revoked key {id!r} of {user!r}: {reason!r}")


def _called(key: ListedKey) -> str:
    return f"{key.id} ({key.name})" if key.name else key.id
