"""Writes the reports of a continuous measurement to a stream, or to a file that is rotated.

``results.jsonl`` becomes ``results.jsonl.1`` before it grows beyond its size, that becomes ``….2``, and so
on; the oldest is deleted.  A line is never split.  If another program moves the file away, a new one is
begun.  The stream and every file begin with the head of their form, if it has one.
"""

import contextlib
import io
import os
from typing import IO, Protocol


class Output(Protocol):
    """Takes lines; raises OSError when they cannot be written."""

    def write(self, text: str) -> None: ...

    def close(self) -> None: ...


class StreamOutput:
    """Writes to a stream of the caller, at once; ``head`` goes before the first line."""

    def __init__(self, stream: IO[str], head: str = "") -> None:
        self._stream = stream
        self._head = head

    def write(self, text: str) -> None:
        head, self._head = self._head, ""
        self._stream.write(head + text)
        self._stream.flush()

    def close(self) -> None:
        """The stream stays open."""


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
        self._write_whole(octets)
        self._is_split = False

    def close(self) -> None:
        self._file.close()

    def _write_whole(self, octets: bytes) -> None:
        """Writes all of it, or nothing."""
        begin, written = self._file.tell(), 0
        try:
            while written < len(octets):  # a disk that fills up takes a part
                written += self._file.write(octets[written:])
        except OSError:
            with contextlib.suppress(OSError):
                if self._file.seek(0, os.SEEK_END) == begin + written:  # the end is ours
                    self._file.truncate(begin)
                    self._file.seek(begin)
            raise

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
