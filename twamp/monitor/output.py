"""Writes the reports of a continuous measurement to a stream, or to a file that is rotated.

``results.jsonl`` becomes ``results.jsonl.1`` before it grows beyond its size, that becomes ``….2``, and so
on; the oldest is deleted.  A line is never split.  If another program moves the file away, a new one is
begun.  The stream and every file begin with the head of their form, if it has one.
"""

import contextlib
import io
import os
import stat
from typing import Protocol, TextIO


class Output(Protocol):
    """Takes lines; raises OSError when they cannot be written."""

    def write(self, text: str) -> None: ...

    def close(self) -> None: ...


class StreamOutput:
    """Writes to a stream that is somebody else's, at once; ``head`` before the first line."""

    def __init__(self, stream: TextIO, head: str = "") -> None:
        self._stream = stream
        self._head = head
        self._file = _regular_file(stream)

    def write(self, text: str) -> None:
        text = self._head + text
        if self._file is None:
            self._stream.write(text)
            self._stream.flush()
        else:  # whole lines, as a file that we open ourselves has
            encoded = text.encode(self._stream.encoding, self._stream.errors or "strict")
            _write_whole(self._file, encoded)
        self._head = ""

    def close(self) -> None:
        """The stream stays open."""


def _regular_file(stream: TextIO) -> io.FileIO | None:
    """The file that a stream writes to; None for a terminal, a pipe and what has no descriptor."""
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            stream.flush()
            return io.FileIO(stream.fileno(), "wb", closefd=False)
    return None


def _write_whole(file: io.FileIO, octets: bytes) -> None:
    """Writes all of it, or nothing."""
    begin, written = file.seek(0, os.SEEK_CUR), 0
    try:
        while written < len(octets):  # a disk that fills up takes a part
            written += file.write(octets[written:])
    except OSError:
        with contextlib.suppress(OSError):
            if file.seek(0, os.SEEK_END) == begin + written:  # the end is ours
                file.truncate(begin)
                file.seek(begin)
        raise


class RotatingFile:
    """Appends to ``path``; ``size`` in octets, 0: never rotated; ``count`` old files are kept.

    An empty file begins with ``head``.  Raises OSError when it cannot be opened.
    """

    def __init__(self, path: str, size: int = 0, count: int = 5, head: str = "") -> None:
        self._path = path
        self._head = head.encode()
        self._size = size
        self._count = count
        self._is_split = False  # the file ends in half a line
        self._file = self._open()

    def write(self, text: str) -> None:
        octets = text.encode()
        if self._was_moved():
            self._file.close()
            self._file = self._open()
        length = self._file.tell()
        if self._size and length > len(self._head) and length + len(octets) > self._size:
            self._rotate()
        if not self._file.tell():
            octets = self._head + octets
        elif self._is_split:
            octets = b"\n" + octets
        _write_whole(self._file, octets)
        self._is_split = False

    def close(self) -> None:
        self._file.close()

    def _open(self) -> io.FileIO:
        # Unbuffered: what could not be written (a full disk) is not tried again with the next line.
        file = io.FileIO(self._path, "a+b")
        length = file.seek(0, os.SEEK_END)
        # Of a program that was killed, or of another one.
        self._is_split = length > 0 and os.pread(file.fileno(), 1, length - 1) != b"\n"
        return file

    def _was_moved(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        ours = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _rotate(self) -> None:
        self._file.close()
        try:
            if self._count == 0:
                os.unlink(self._path)
            for number in reversed(range(self._count)):
                older = f"{self._path}.{number}" if number else self._path
                if os.path.exists(older):
                    os.replace(older, f"{self._path}.{number + 1}")
        finally:
            self._file = self._open()
