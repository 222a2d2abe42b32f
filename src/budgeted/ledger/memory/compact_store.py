"""Values by name, as objects while they are used and as bytes while they are not: most of a million accounts rest.

A frozen store is still read and written while somebody writes down, beside the lock, what it was when it was frozen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class CompactStore(Mapping[str, T]):
    """Values by name. The caller holds the ledger's lock, except to iterate over :meth:`frozen`.

    A name is looked up in four places, the first of which counts: ``live``, objects in use; ``_cooling``, objects
    that nobody uses any more and that are still to be packed; ``_later``, what was packed since the store was frozen,
    None where something has gone; ``_packed``, all the others, and what they were before.

    Args:
        encode: makes bytes of a value.
        decode: makes an equal value of a name and those bytes.
    """

    __slots__ = ("_cooling", "_decode", "_encode", "_later", "_live", "_packed", "is_frozen", "live")

    def __init__(self, encode: Callable[[T], bytes], decode: Callable[[str, bytes], T]) -> None:
        self._encode, self._decode = encode, decode
        self.live: dict[str, T] = {}
        self._cooling: dict[str, T] = {}
        self._later: dict[str, bytes | None] = {}
        self._packed: dict[str, bytes] = {}
        self.is_frozen = False

    # -- looking up

    def find(self, name: str) -> T | None:
        """A value: the object in use, or one that is as good as a copy until it is put back."""
        found = self.live.get(name)
        if found is not None:
            return found
        if name in self._cooling:
            if not self.is_frozen:
                return self._cooling[name]
            self._settle(name)
        data = self._later[name] if name in self._later else self._packed.get(name)
        return None if data is None else self._decode(name, data)

    def use(self, name: str) -> T | None:
        """The one object of a value, which is kept from now on until :meth:`rest` or :meth:`cool`."""
        found = self.live.get(name)
        if found is None:
            found = self.find(name)
            if found is not None:
                self.live[name] = found
                self._cooling.pop(name, None)
        return found

    def __getitem__(self, name: str) -> T:
        found = self.find(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        if name in self.live or name in self._cooling:
            return True
        return self._later[name] is not None if name in self._later else name in self._packed

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def names(self) -> list[str]:
        """All names, in no order."""
        packed = self._packed
        others = [name for name in {**self.live, **self._cooling, **self._later} if name not in packed]
        if not self._later:
            return [*packed, *others]
        return [name for name in itertools.chain(packed, others) if name in self]

    def packed(self, name: str) -> bytes:
        """A value as bytes, as it is now."""
        return self._encode(self[name])

    def read(self, names: Iterable[str]) -> tuple[list[bytes], list[T]]:
        """Values of these names, where they are there: of those that rest the bytes, of others the objects in use."""
        resting, in_use = [], []
        for name in names:
            if name in self.live or name in self._cooling or name in self._later:
                value = self.find(name)
                if value is not None:
                    in_use.append(value)
            elif (data := self._packed.get(name)) is not None:
                resting.append(data)
        return resting, in_use

    # -- changing

    def __setitem__(self, name: str, value: T) -> None:
        self._leave(name)
        self.live[name] = value

    def load(self, name: str, data: bytes) -> None:
        """Have a value that is packed already, and was not here."""
        self._packed[name] = data

    def pop(self, name: str) -> None:
        """Forget a value, if it is there."""
        self._leave(name)
        if self.is_frozen:
            self._later[name] = None
        else:
            self._packed.pop(name, None)
        self.live.pop(name, None)

    def rest(self, name: str) -> None:
        """Pack a value that nobody uses any more."""
        value = self.live.get(name)
        if value is not None:
            data = self._encode(value)
            if self.is_frozen:
                self._later[name] = data
            else:
                self._packed[name] = data
            del self.live[name]

    def cool(self, name: str | None = None) -> None:
        """Have a value, or every one, packed at the next occasion: nobody uses it now."""
        if self.is_frozen:  # what cools belongs to what was frozen; this is packed when it was used again, or next time
            return
        if name is None:
            self._cooling.update(self.live)
            self.live = {}
        elif name in self.live:
            self._cooling[name] = self.live[name]
            del self.live[name]

    def settle(self, most: int) -> bool:
        """Pack some of what cools. Returns whether any is left."""
        cooling = self._cooling
        for name in list(itertools.islice(reversed(cooling), most)):
            self._settle(name)
        return bool(cooling)

    def _leave(self, name: str) -> None:
        """Have what cools of a name out of the way of another value."""
        if self.is_frozen:
            self._settle(name)
        else:
            self._cooling.pop(name, None)

    def _settle(self, name: str) -> None:
        value = self._cooling.get(name)
        if value is not None:
            self._packed[name] = self._encode(value)
            del self._cooling[name]

    # -- what it was

    def freeze(self) -> None:
        """Keep what every value is now until :meth:`thaw`. Nobody may go on using an object from before."""
        self._cooling.update(self.live)
        self.live = {}
        self.is_frozen = True

    def frozen(self) -> Iterator[bytes]:
        """All values as they were when the store was frozen, once :meth:`settle` has left none; without the lock."""
        return iter(self._packed.values())

    def thaw(self, most: int) -> bool:
        """Take over some of what was packed since the store was frozen. Returns whether any is left."""
        if self._cooling:
            self.settle(most)
            return True
        later, packed = self._later, self._packed
        for name in list(itertools.islice(reversed(later), most)):
            data = later[name]
            if data is None:
                packed.pop(name, None)
            else:
                packed[name] = data
            del later[name]
        self.is_frozen = bool(later)
        return self.is_frozen
