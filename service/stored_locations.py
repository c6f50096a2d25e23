"""The locations of a whole store in little memory: 17 bytes each, so ten million take 170 MB."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from service.encryption.medium import LOCATION, SUFFIX

NAME_BYTES = 16
"""A file's name is a random number of 128 bits, in hexadecimal."""


class StoredLocations:
    """What a store holds, and which of it has been asked for."""

    def __init__(self, locations: Iterable[str]) -> None:
        """Take them in; names that no file of ours has are kept as they are."""
        packed, others = bytearray(), set()
        for location in locations:
            name = _packed(location)
            if name is None:
                others.add(location)
            else:
                packed += name
        # Of one length, they are compared whole: NumPy's padding is the bytes that it leaves out.
        self._names = np.unique(np.frombuffer(packed, dtype=f"S{NAME_BYTES}"))
        self._asked = np.zeros(len(self._names), dtype=np.bool_)
        self._others = dict.fromkeys(sorted(others), False)

    def __len__(self) -> int:
        return len(self._names) + len(self._others)

    def ask(self, locations: Sequence[str]) -> list[bool]:
        """Tell which of these are stored, and remember that they were asked for."""
        found = [location in self._others for location in locations]
        self._others |= {location: True for location in locations if location in self._others}
        packed = [(at, name) for at, one in enumerate(locations) if (name := _packed(one)) is not None]
        if not packed or not len(self._names):
            return found
        wanted = np.array([name for _at, name in packed], dtype=self._names.dtype)
        places = np.minimum(np.searchsorted(self._names, wanted), len(self._names) - 1)
        hits = self._names[places] == wanted
        self._asked[places[hits]] = True
        for (at, _name), is_there in zip(packed, hits.tolist(), strict=True):
            found[at] = is_there
        return found

    def not_asked(self) -> Iterator[str]:
        """Name in order what nobody has asked for."""
        for name in self._names[~self._asked]:
            text = bytes(name).ljust(NAME_BYTES, b"\0").hex()
            yield f"{text[:2]}/{text}{SUFFIX}"
        yield from (location for location, asked in self._others.items() if not asked)


def _packed(location: str) -> bytes | None:
    """Return a file's name as bytes; None unless it lies where its name tells."""
    if LOCATION.fullmatch(location) is None or location[:2] != location[3:5]:
        return None
    return bytes.fromhex(location[3 : 3 + 2 * NAME_BYTES])
