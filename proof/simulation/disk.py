"""A simulated disk behind a simulated cache: what all processes see, and what would be left after a power cut.

A write changes the cache at once, and the disk when the file is synced. Until then it is pending: a power cut may keep
it, lose it, tear it, or keep a later one without it. A sync that fails leaves it pending for ever, as Linux does: the
cache has it, no later sync writes it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

SECTOR = 512


@dataclass(eq=False)
class File:
    """A file's content in the cache and on the disk."""

    number: int
    cached: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes by their offset, and truncations (None) to a size, that are not on the disk yet."""
    links: int = 0
    modified: float = 0.0
    mapped: bool = False
    errors: int = 0
    """Syncs that failed: each who has it open is told once."""
    locked_by: object = None

    def write(self, offset: int, data: bytes) -> None:
        """Write, filling what lies between with NULs."""
        if offset > len(self.cached):
            self.cached.extend(bytes(offset - len(self.cached)))
        self.cached[offset : offset + len(data)] = data
        if not self.mapped:
            self.pending.append((offset, data))

    def truncate(self, size: int) -> None:
        """Cut it off, or fill it up with NULs."""
        del self.cached[size:]
        self.cached.extend(bytes(size - len(self.cached)))
        self.pending.append((size, None))

    def sync(self) -> None:
        """Have all of it on the disk."""
        if self.mapped:
            self.durable = bytearray(self.cached)
        for change in self.pending:
            _apply(self.durable, change)
        self.pending = []

    def fail_to_sync(self) -> None:
        """Have none of what is pending ever written."""
        self.pending = []
        self.errors += 1

    def lose_power(self, rng: random.Random) -> None:
        """Have what a power cut leaves of it."""
        left = bytearray(self.durable)
        if self.mapped:
            left = bytearray(self.cached) if rng.random() < 0.5 else left
        kind = rng.choice(["none", "all", "beginning", "some", "sizes"])
        if kind != "none":
            pending = self.pending[: rng.randint(0, len(self.pending))] if kind == "beginning" else self.pending
            for i, (offset, data) in enumerate(pending):
                if kind == "some" and rng.random() < 0.5:
                    continue
                kept = data
                if kept is not None and kind == "sizes" and rng.random() < 0.5:
                    kept = bytes(len(kept))
                if kept is not None and i == len(pending) - 1 and rng.random() < 0.5:
                    kept = _torn(offset, kept, rng)
                _apply(left, (offset, kept))
        self.cached, self.durable, self.pending, self.mapped, self.locked_by = left, bytearray(left), [], False, None


def _apply(content: bytearray, change: tuple[int, bytes | None]) -> None:
    offset, data = change
    if data is None:
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _torn(offset: int, data: bytes, rng: random.Random) -> bytes:
    """The beginning of a write: up to a sector's end, or to any byte."""
    if rng.random() < 0.5:
        return data[: rng.randint(0, len(data))]
    return data[: max(0, (offset // SECTOR + 1) * SECTOR - offset)]


class Directory:
    """A directory's entries, in the cache and on the disk."""

    def __init__(self) -> None:
        self.entries: dict[str, File | Directory] = {}
        self.durable: dict[str, File | Directory] = {}
        self.pending: list[tuple[str, str, File | Directory | None]] = []
        """What was changed and is not on the disk: the name that goes, the name that comes, and what bears it."""

    def link(self, name: str, node: File | Directory, was: str = "") -> None:
        """Have an entry, instead of the one of that name; ``was``: its name until now."""
        self._drop(name)
        self.entries[name] = node
        if was:
            del self.entries[was]
        elif isinstance(node, File):
            node.links += 1
        self.pending.append((was, name, node))

    def unlink(self, name: str) -> None:
        """Remove an entry."""
        self._drop(name)
        del self.entries[name]
        self.pending.append((name, "", None))

    def _drop(self, name: str) -> None:
        old = self.entries.get(name)
        if isinstance(old, File):
            old.links -= 1

    def sync(self) -> None:
        """Have all entries on the disk."""
        self.durable, self.pending = dict(self.entries), []

    def lose_power(self, rng: random.Random) -> None:
        """Have what a power cut leaves: file systems keep the order of changes to a directory, and do each whole."""
        for goes, comes, node in self.pending[: rng.randint(0, len(self.pending))]:
            if goes:
                self.durable.pop(goes, None)
            if node is not None:
                self.durable[comes] = node
        self.entries, self.pending = dict(self.durable), []
        for node in self.entries.values():
            node.lose_power(rng)
            if isinstance(node, File):
                node.links = 1


class Disk:
    """All directories, by their paths."""

    def __init__(self) -> None:
        self.root = Directory()
        self._number = 0

    def new_file(self) -> File:
        """A file without a name."""
        self._number += 1
        return File(self._number)

    def find(self, path: str) -> File | Directory | None:
        """What stands at a path."""
        node: File | Directory | None = self.root
        for name in path.split("/"):
            if name:
                if not isinstance(node, Directory):
                    return None
                node = node.entries.get(name)
        return node

    def parent(self, path: str) -> tuple[Directory, str]:
        """The directory that a path is in, and its name there.

        Raises:
            FileNotFoundError: there is no such directory.
        """
        head, _, name = path.rpartition("/")
        node = self.find(head)
        if not isinstance(node, Directory):
            raise FileNotFoundError(2, "No such file or directory", path)
        return node, name

    def copy(self, path: str) -> dict[str, bytes]:
        """The content of the files in a directory, as a backup has it."""
        node = self.find(path)
        found = node.entries if isinstance(node, Directory) else {}
        return {name: bytes(file.cached) for name, file in found.items() if isinstance(file, File)}

    def put_back(self, path: str, backup: dict[str, bytes], but: tuple[str, ...]) -> None:
        """Have a directory's files as a backup has them, as new files; those called in ``but`` are left alone."""
        node = self.find(path)
        if not isinstance(node, Directory):
            return
        for name in [name for name, file in node.entries.items() if isinstance(file, File) and name not in but]:
            node.unlink(name)
        for name, content in backup.items():
            if name not in but:
                file = self.new_file()
                file.write(0, content)
                file.sync()
                node.link(name, file)
        node.sync()

    def lose_power(self, rng: random.Random) -> None:
        """Leave what was on the disk, and some of what was not."""
        self.root.lose_power(rng)
