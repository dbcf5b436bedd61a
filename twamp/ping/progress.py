"""Shows the progress of a long run: with rich where it is installed, else in plain text."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import IO

from twamp.engine.session_sender import SessionSender

FIRST_AFTER = 1.0  # seconds: a shorter run needs no progress
PERIOD = 0.5

Show = Callable[[int, int], None]  # packets sent and answered, so far


@contextlib.asynccontextmanager
async def progress(
    senders: Sequence[SessionSender], count: int, stream: IO[str], wanted: str
) -> AsyncIterator[None]:
    """Shows how many of ``count`` packets have been sent and answered, while the context lasts.

    ``wanted``: ``on``, ``off``, or ``auto``, which is on for a terminal.
    """
    if wanted == "off" or (wanted == "auto" and not stream.isatty()):
        yield
        return
    task = asyncio.create_task(_show(senders, count, stream))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _show(senders: Sequence[SessionSender], count: int, stream: IO[str]) -> None:
    await asyncio.sleep(FIRST_AFTER)
    with contextlib.ExitStack() as stack:
        try:
            show = stack.enter_context(_rich(count, stream))
        except ImportError:
            show = stack.enter_context(_plain(count, stream))
        while True:
            stats = [sender.stats() for sender in senders]
            show(
                sum(one.sent + one.send_errors for one in stats), sum(one.replies for one in stats)
            )
            await asyncio.sleep(PERIOD)


def _text(sent: int, answered: int, count: int) -> str:
    return f"{sent} of {count} sent, {answered} answered"


@contextlib.contextmanager
def _plain(count: int, stream: IO[str]) -> Iterator[Show]:
    """Shows one line that is overwritten on a terminal, else a line each time."""
    over = stream.isatty()
    begin = time.monotonic() - FIRST_AFTER

    def show(sent: int, answered: int) -> None:
        line = f"{_text(sent, answered, count)}, {time.monotonic() - begin:.0f} s"
        stream.write(f"\r\x1b[K{line}" if over else f"{line}\n")
        stream.flush()

    try:
        yield show
    finally:
        if over:
            stream.write("\r\x1b[K")
            stream.flush()


@contextlib.contextmanager
def _rich(count: int, stream: IO[str]) -> Iterator[Show]:
    """Shows a bar that disappears at the end; raises ImportError without rich."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("", total=count)

        def show(sent: int, answered: int) -> None:
            bar.update(task, completed=sent, description=_text(sent, answered, count))

        yield show
