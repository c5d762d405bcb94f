"""Values and rows in a form that crosses processes: JSON, and many rows kept small.

pytest-xdist carries plain values only, and the JSON report is read years later: a value that JSON cannot hold
travels as ``{"type": ..., "text": ...}``. Rows past what a half should hold in memory are kept as compressed
JSON and read back chunk by chunk, so that they are compared and shown like any others.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import itertools
import json
import math
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

CHUNK_ROWS = 1_000
"""Rows that are compressed together, and so in memory at once."""


def row_values(row: Any) -> tuple[Any, ...]:
    """Return the values of one fetched row: a tuple, list, mapping or driver row; else a 1-tuple."""
    if type(row) is tuple:
        return row
    if isinstance(row, Mapping):
        return tuple(row.values())
    if isinstance(row, (str, bytes, bytearray, memoryview)):
        return (row,)
    try:
        return tuple(row)
    except TypeError:
        return (row,)


@dataclass(frozen=True, slots=True, repr=False)
class Opaque:
    """A value that has no JSON form: its type's name and its text are all that is left of it."""

    type: str
    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{self.type} {self.text!r}"


def value_to_json(value: Any) -> Any:
    """Return the JSON form of a value: itself where JSON can hold it, else ``{"type", "text"}``."""
    kind = type(value)
    if value is None or kind is str or kind is bool or kind is int:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"type": "float", "text": repr(value)}
    if kind is list or kind is tuple:
        items = [value_to_json(item) for item in value]
        return items if kind is list else {"type": "tuple", "text": items}
    if kind is set or kind is frozenset:
        # in an order of their own: that of a set differs from process to process
        return {"type": kind.__name__, "text": sorted(map(value_to_json, value), key=repr)}
    if isinstance(value, Mapping):
        return {"type": "dict", "text": [[value_to_json(k), value_to_json(v)] for k, v in value.items()]}
    encode = _ENCODERS.get(kind)
    if encode is not None:
        return {"type": kind.__name__, "text": encode(value)}
    return {"type": kind.__name__, "text": str(value)}


def value_from_json(data: Any) -> Any:
    """Return the value that `value_to_json` wrote; unknown types come back as `Opaque`."""
    if isinstance(data, list):
        return [value_from_json(item) for item in data]
    if not isinstance(data, dict):
        return data
    name, text = data["type"], data["text"]
    if name == "tuple":
        return tuple(value_from_json(item) for item in text)
    if name in ("set", "frozenset"):
        items = (_hashable(value_from_json(item)) for item in text)
        return set(items) if name == "set" else frozenset(items)
    if name == "dict":
        return {_hashable(value_from_json(k)): value_from_json(v) for k, v in text}
    decode = _DECODERS.get(name)
    return decode(text) if decode is not None else Opaque(name, text)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _bytes_to_text(value: Any) -> str:
    return base64.b64encode(bytes(value)).decode("ascii")


def _timedelta_from_text(text: str) -> datetime.timedelta:
    days, seconds, microseconds = map(int, text.split())
    return datetime.timedelta(days, seconds, microseconds)


_ENCODERS: dict[type, Callable[[Any], str]] = {
    decimal.Decimal: str,
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: lambda v: f"{v.days} {v.seconds} {v.microseconds}",
    uuid.UUID: str,
    bytes: _bytes_to_text,
    bytearray: _bytes_to_text,
    memoryview: _bytes_to_text,
}
_DECODERS: dict[str, Callable[[str], Any]] = {
    "float": float,
    "Decimal": decimal.Decimal,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": _timedelta_from_text,
    "UUID": uuid.UUID,
    "bytes": base64.b64decode,
    "bytearray": lambda text: bytearray(base64.b64decode(text)),
    "memoryview": lambda text: memoryview(base64.b64decode(text)),
}


# -------------------------------------------------------------------------------------------- many rows


class Packed(Sequence[tuple[Any, ...]]):
    """Many rows as compressed JSON, in chunks of `CHUNK_ROWS`; a sequence like any other, only slower.

    Two with the same rows, types included, have the same bytes.
    """

    __slots__ = ("_chunks", "_count", "_open")

    def __init__(self, chunks: Iterable[bytes], count: int) -> None:
        self._chunks = tuple(chunks)
        self._count = count
        self._open: tuple[int, list[tuple[Any, ...]]] = (-1, [])

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for chunk in self._chunks:
            yield from _unpacked(chunk)

    @overload
    def __getitem__(self, index: int) -> tuple[Any, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[Any, ...]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        number, place = divmod(range(self._count)[index], CHUNK_ROWS)
        if self._open[0] != number:
            self._open = (number, _unpacked(self._chunks[number]))
        return self._open[1][place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Packed):
            return self._count == other._count and self._chunks == other._chunks
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{self._count} rows in {sum(map(len, self._chunks))} bytes>"

    def to_json(self) -> dict[str, Any]:
        return {"count": self._count, "chunks": [_bytes_to_text(chunk) for chunk in self._chunks]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Packed:
        return cls(map(base64.b64decode, data["chunks"]), data["count"])


class Packing:
    """Takes rows one after the other, like a list, and keeps them small."""

    def __init__(self, rows: Iterable[Any] = ()) -> None:
        self._chunks: list[bytes] = []
        self._rest: list[Any] = []
        self.extend(rows)

    def append(self, row: Any) -> None:
        self._rest.append(row)
        if len(self._rest) >= CHUNK_ROWS:
            self._chunks.append(_packed(self._rest))
            self._rest = []

    def extend(self, rows: Iterable[Any]) -> None:
        for row in rows:
            self.append(row)

    def rows(self) -> Packed:
        """Return the rows that were taken so far."""
        rest = [_packed(self._rest)] if self._rest else []
        return Packed([*self._chunks, *rest], len(self._chunks) * CHUNK_ROWS + len(self._rest))


def kept(rows: Iterable[Any], limit: int) -> Sequence[tuple[Any, ...]]:
    """Return rows as tuples, packed if there are more than ``limit``; no more than that is held at once."""
    waiting = iter(rows)
    first = list(itertools.islice(waiting, limit + 1))
    if len(first) <= limit:
        return tuple(map(row_values, first))
    packing = Packing(first)
    packing.extend(waiting)
    return packing.rows()


_SCALARS = frozenset({type(None), bool, int, float, str, *_ENCODERS})


def _packed(rows: Sequence[Any]) -> bytes:
    values = [row_values(row) for row in rows]
    if _SCALARS.issuperset(map(type, itertools.chain.from_iterable(values))):
        text = json.dumps(values, default=value_to_json, separators=(",", ":"))
    else:  # what has values in it looks like JSON's own lists and mappings
        text = json.dumps(_rows_json(values), separators=(",", ":"))
    return zlib.compress(text.encode("ascii"), 1)


def _unpacked(chunk: bytes) -> list[tuple[Any, ...]]:
    return [tuple(map(value_from_json, row)) for row in json.loads(zlib.decompress(chunk))]


def _rows_json(rows: Iterable[Any]) -> list[list[Any]]:
    return [[value_to_json(value) for value in row_values(row)] for row in rows]


def rows_to_json(rows: Sequence[Any]) -> Any:
    """Return the JSON form of rows: a list of lists, or a mapping with what is packed."""
    return rows.to_json() if isinstance(rows, Packed) else _rows_json(rows)


def rows_from_json(data: Any) -> Sequence[tuple[Any, ...]]:
    """Return the rows that `rows_to_json` wrote."""
    if isinstance(data, Mapping):
        return Packed.from_json(data)
    return tuple(tuple(value_from_json(value) for value in row) for row in data)
