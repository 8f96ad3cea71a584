"""A text that arrives in pieces of any size and may grow large."""

from typing import Final

BLOCK: Final = 256 * 1024


class Pieces:
    """Kept in blocks: many small pieces would need a multiple of its size, one growing text for moments twice."""

    __slots__ = ("_blocks", "size")

    def __init__(self) -> None:
        self._blocks: list[bytearray] = []
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Append; `size` is how many bytes there are now."""
        self.size += len(piece)
        if self._blocks and len(self._blocks[-1]) < BLOCK:
            self._blocks[-1] += piece
        else:
            self._blocks.append(bytearray(piece))

    def take(self) -> bytes:
        """The whole text; nothing of it is kept."""
        text = b"".join(self._blocks)
        self.clear()
        return text

    def head(self, most: int) -> bytes:
        """Its beginning, at most `most` bytes (not more than a block)."""
        return bytes(self._blocks[0][:most]) if self._blocks else b""

    def clear(self) -> None:
        """Let go of it."""
        self._blocks = []
        self.size = 0
