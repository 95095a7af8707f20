"""Thrift's compact protocol, which Parquet uses for its footer and page headers. Pure.

pyarrow can read it too, but its metadata objects crash the process if a damaged footer is inconsistent.
Protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

_DEPTH = 64
"""Deepest nesting of structures."""


class EndOfData(ValueError):
    """The data end before the value does."""


class Reader:
    """Reads `data` from `place`. Raises ValueError for invalid data."""

    def __init__(self, data: bytes, place: int = 0) -> None:
        self.data = data
        self.place = place

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """Field number -> value. Lists become lists; structures become such dicts."""
        fields: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            number = number + (kind >> 4) if kind >> 4 else self.integer()
            kind &= 15
            # The kind of a Boolean field is its value; a Boolean list element has its own byte.
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def integer(self) -> int:
        """A signed varint (zigzag encoding)."""
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _value(self, kind: int, depth: int) -> Any:
        if depth > _DEPTH:
            raise ValueError("structures are nested too deep")
        match kind:
            case 1 | 2 | 3:
                return self._byte()
            case 4 | 5 | 6:
                return self.integer()
            case 7:
                return self._bytes(8)
            case 8:
                return self._bytes(self._varint())
            case 9 | 10:
                head = self._byte()
                count = head >> 4 if head >> 4 < 15 else self._varint()
                return [self._value(head & 15, depth + 1) for _ in range(count)]
            case 11:
                count = self._varint()
                kinds = self._byte() if count else 0
                for _ in range(count):
                    self._value(kinds >> 4, depth + 1)
                    self._value(kinds & 15, depth + 1)
                return None  # Parquet has no maps
            case 12:
                return self.struct(depth + 1)
            case 13:
                return self._bytes(16)
        raise ValueError(f"there is no kind {kind}")

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number is too long")

    def _byte(self) -> int:
        if self.place >= len(self.data):
            raise EndOfData("the data end too early")
        self.place += 1
        return self.data[self.place - 1]

    def _bytes(self, count: int) -> bytes:
        self.place += count
        if self.place > len(self.data):
            raise EndOfData("the data end too early")
        return self.data[self.place - count : self.place]
