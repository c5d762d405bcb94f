"""Tell which rows of a table differ between two states of a SQLite file, from the pages that differ.

To read a table of 100,000 rows takes half a second, to compare the 10 MB of its file two milliseconds. The
file format (https://www.sqlite.org/fileformat2.html) is stable, and only the shape of the trees and the
rowids are read of it. Nothing here opens a database, and nothing is guessed: None means "read it all".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from struct import unpack_from

_AT_ONCE = 16
"""Pages that are compared in one go."""
_INTERIOR_INDEX, _INTERIOR_TABLE, _LEAF_INDEX, _LEAF_TABLE = 2, 5, 10, 13
_Tree = tuple[frozenset[int], frozenset[int]]
"""The numbers of a tree's leaf pages, and of the pages above them with the root."""


class Image:
    """The pages of a database at one moment."""

    def __init__(self, read: Callable[[int, int], bytes | bytearray], size: int) -> None:
        """Take what reads a number of bytes from an offset, and the size in bytes."""
        self.read = read
        self.size = size
        header = read(100, 0)
        self.page = int.from_bytes(header[16:18], "big")
        if self.page == 1:
            self.page = 65536
        # a journal of its own holds what is new, or pages are numbered around maps of pages
        self.plain = header[18:20] == b"\x01\x01" and header[52:56] == bytes(4)
        self._first_free = int.from_bytes(header[32:36], "big")

    def changed(self, other: Image) -> frozenset[int]:
        """Return the numbers of the pages in which two images differ, or that only one of them has."""
        found = set()
        step, page = self.page * _AT_ONCE, self.page
        shared = min(self.size, other.size)
        for start in range(0, shared, step):
            end = min(start + step, shared)
            one, two = self.read(end - start, start), other.read(end - start, start)
            if one != two:
                found |= {
                    (start + at) // page + 1
                    for at in range(0, len(one), page)
                    if one[at : at + page] != two[at : at + page]
                }
        found |= set(range(shared // page + 1, max(self.size, other.size) // page + 1))
        return frozenset(found)

    def free(self) -> frozenset[int]:
        """Return the pages of the freelist."""
        found: set[int] = set()
        trunk = self._first_free
        while trunk and trunk not in found:
            data = self._page(trunk)
            following, count = unpack_from(">II", data)
            found |= {trunk, *unpack_from(f">{count}I", data, 8)}
            trunk = following
        return frozenset(found)

    def tree(self, root: int) -> _Tree:
        """Return the pages of the tree at a root page."""
        leaves, above = set(), {root}
        waiting = [root]
        while waiting:
            number = waiting.pop()
            data = self._page(number)
            if data[0] in (_INTERIOR_TABLE, _INTERIOR_INDEX):
                above.add(number)
                (count,) = unpack_from(">H", data, 3)
                waiting += (unpack_from(">I", data, at)[0] for at in unpack_from(f">{count}H", data, 12))
                waiting += unpack_from(">I", data, 8)
            else:
                leaves.add(number)
        return frozenset(leaves), frozenset(above)

    def rowids(self, number: int) -> Iterator[int]:
        """Yield the rowids on a leaf page of a table. Raises ValueError for another page."""
        data = self._page(number)
        if data[0] != _LEAF_TABLE:
            raise ValueError(number)
        (count,) = unpack_from(">H", data, 3)
        for at in unpack_from(f">{count}H", data, 8):
            _, at = _varint(data, at)
            rowid, _ = _varint(data, at)
            yield rowid - (1 << 64) if rowid >> 63 else rowid

    def _page(self, number: int) -> bytes | bytearray:
        if number == 1:
            raise ValueError(number)  # begins with the file's header; no table of a user's is there
        return self.read(self.page, (number - 1) * self.page)


class Original:
    """An image to compare others with, of a database with the same schema."""

    def __init__(self, image: Image, roots: Mapping[int, str]) -> None:
        """Take the image and the name of each tree by its root page: indexes are trees as well."""
        self._image = image
        self._free = image.free()
        self._trees = {root: image.tree(root) for root in roots}
        self._roots = {name: root for root, name in roots.items()}

    def differing(self, image: Image, names: frozenset[str]) -> dict[str, frozenset[int]] | None:
        """Return the rowids that may differ in each of the named tables; None if pages do not tell."""
        before = self._image
        if not (before.plain and image.plain and before.page == image.page):
            return None
        changed = before.changed(image)
        now = {root: image.tree(root) if changed & tree[1] else tree for root, tree in self._trees.items()}
        known = {1, *self._free, *image.free()}
        for trees in (self._trees, now):
            known = known.union(*(part for tree in trees.values() for part in tree))
        if changed - known:
            return None  # the rest of a row that is longer than a page: of which row, only its page tells
        found = {}
        for name in names:
            root = self._roots[name]
            old, new = self._trees[root][0], now[root][0]
            differ = (old ^ new) | (old & new & changed)
            try:
                found[name] = frozenset(
                    rowid
                    for pages, source in ((old, before), (new, image))
                    for number in differ & pages
                    for rowid in source.rowids(number)
                )
            except ValueError:  # WITHOUT ROWID
                return None
        return found


def _varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return a number of up to nine bytes, the high ones first, and the position behind it."""
    value = 0
    for end in range(at, at + 8):
        byte = data[end]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, end + 1
    return value << 8 | data[at + 8], at + 9
