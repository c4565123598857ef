"""A stretch of an open file as a file of its own, for audio that is too long to be in memory.

The window is what libsndfile sees of a long file, or of a file inside an archive. Nothing is
decoded here. Two things differ from the bytes and habits of the file itself:

- a FLAC header claims no length (see `claims`), so that decoding goes on to the true end;
- an error of the storage is kept in `failure`: soundfile calls `readinto` from C, where an
  exception would be printed and then taken for the end of the file.
"""

import io
import os
import sys
from typing import Any, BinaryIO

from sllm_data.audio.claims import flac_claim, forget_flac_claim, is_flac

_HEADER_BYTES = 64


class FileWindow(io.RawIOBase):
    """Bytes [start, start + size) of a seekable file, which stays open and is not ours."""

    def __init__(self, file: BinaryIO, *, start: int = 0, size: int) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._position = 0
        self.failure: OSError | None = None
        """The first error of the storage; what was read since is worth nothing."""
        file.seek(start)
        header = file.read(min(_HEADER_BYTES, size))
        self._header = bytearray(header)
        self.flac_claim = flac_claim(header) if is_flac(header) else None
        """Samples that a FLAC header claims; None for unknown and for all but FLAC."""
        if self.flac_claim is not None:
            forget_flac_claim(memoryview(self._header))

    def readable(self) -> bool:
        """Says yes."""
        return True

    def seekable(self) -> bool:
        """Says yes."""
        return True

    def tell(self) -> int:
        """Returns the position within the window."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Sets the position; before the beginning is the beginning, as damaged headers ask for."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = min(max(0, base + offset), sys.maxsize)
        return self._position

    def readinto(self, buffer: Any, /) -> int:  # Any: a buffer of Python or of C
        """Fills the buffer; returns how many bytes, 0 at the end and after a failure."""
        at = self._position
        view = memoryview(buffer).cast("B")[: max(0, self._size - at)]
        if self.failure is not None or not len(view):
            return 0
        try:
            self._file.seek(self._start + at)
            num_bytes = self._file.readinto(view)  # type: ignore[attr-defined] # BinaryIO lacks it
        except OSError as error:
            self.failure = error
            return 0
        header = self._header[at : at + num_bytes]
        view[: len(header)] = header
        self._position = at + num_bytes
        return int(num_bytes)
