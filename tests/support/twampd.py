"""``twampd`` as a process of its own, for tests: start it, query it, signal it, end it."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

WITHIN = 20.0  # a bound, not a measurement


class Twampd:
    """A running responder: its log, its TCP port, its control socket."""

    def __init__(self, process: "subprocess.Popen[str]", directory: Path) -> None:
        self.process = process
        self.control_socket = directory / "control.sock"
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @classmethod
    @contextmanager
    def running(
        cls,
        directory: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        prefix: Sequence[str] = (),
    ) -> Iterator[Self]:
        """Started in ``directory``, where its control socket is, and ready."""
        command = [
            *prefix,
            *(sys.executable, "-m", "twamp.reflector"),
            *("--control-socket", str(directory / "control.sock"), "--port", "0"),
            *("--log-format", "text", *arguments),
        ]
        process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
            pass_fds=pass_fds,
        )
        twampd = cls(process, directory)
        try:
            twampd.wait_for("listening on")
            yield twampd
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            twampd._reader.join()
            assert process.stderr is not None
            process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(iter(self.process.stderr.readline, ""))

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def port(self) -> int:
        match = re.search(r"listening on \S*?:(\d+)[, ]", self.log)
        assert match is not None, self.log
        return int(match[1])

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until the log has ``text`` so many times."""
        until = time.monotonic() + WITHIN
        while self.log.count(text) < count:
            assert time.monotonic() < until, f"{text!r} did not come: {self.log}"
            if self.process.poll() is not None:
                self._reader.join()
                assert self.log.count(text) >= count, f"it ended: {self.log}"
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self) -> int:
        """Waits for its end; the exit code."""
        return self.process.wait(WITHIN)

    async def show(self, *parts: str, **request: str) -> dict[str, Any]:
        """What the control socket answers."""
        async with asyncio.timeout(WITHIN):
            reader, writer = await asyncio.open_unix_connection(
                str(self.control_socket), limit=1 << 28
            )
            writer.write(json.dumps({"show": parts, **request}).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await reader.readline())
            writer.close()
            return answer
