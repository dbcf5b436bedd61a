"""Starts and ends a program, so that no state of its streams or signals makes a traceback.

The console scripts begin here, and so does ``python -m``: before anything is imported that takes time.
Standard streams that are closed become /dev/null, because the event loop must not get their numbers
(libuv aborts then).  A character that the terminal cannot show is spelled out.
"""

import codecs
import importlib
import io
import os
import signal
import sys

# How the characters of our texts are spelled where the encoding lacks them.
PLAIN = {"–": "-", "—": "-", "…": "...", "×": "x", "µ": "u", "±": "+-", "≥": ">=", "≤": "<="}
# twampd heeds these once it serves, so that a reload that is asked for earlier is not lost.
HELD_BACK = (signal.SIGHUP, signal.SIGUSR1)
INTERRUPTED = 130  # 128 + SIGINT, as a shell has it


def twampd() -> int:
    """The responder; returns its exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    return run("twampd", "twamp.reflector.__main__")


def twping() -> int:
    """The measuring program; returns its exit code."""
    return run("twping", "twamp.ping.__main__", interrupted=2)


def twampctl() -> int:
    """The program that shows a responder; returns its exit code."""
    return run("twampctl", "twamp.ctl.__main__", interrupted=0)


def run(name: str, module: str, interrupted: int = INTERRUPTED) -> int:
    """Calls ``main`` of a module; ``interrupted`` is the exit code after Ctrl-C."""
    heeds = signal.getsignal(signal.SIGINT) != signal.SIG_IGN  # as in the background of a script
    if heeds:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends the program while it is loading
    open_streams()
    main = importlib.import_module(module).main
    try:
        if heeds:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = main()
    except SystemExit as end:  # of argparse
        code = end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        code = interrupted
    except OSError as error:  # of a print
        code = _complain(name, error)
    if heeds:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return _flush(name, code)


def open_streams() -> None:
    """Opens /dev/null in place of closed streams, and has every stream take every character."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    codecs.register_error("twamp.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="twamp.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: our punctuation in ASCII, other characters as JSON escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelled, error.object[error.start : error.end])), error.end


def _spelled(character: str) -> str:
    if character in PLAIN:
        return PLAIN[character]
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def _flush(name: str, code: int) -> int:
    """Writes what is buffered; returns the exit code."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # so that nothing fails at exit
        return code or _complain(name, error)  # of a bad code the reason has been told
    return code


def _complain(name: str, error: OSError) -> int:
    """Says that standard output takes nothing more, unless its reader (head, less) has had enough."""
    if isinstance(error, BrokenPipeError):
        return 0
    print(f"{name}: standard output: {error.strerror or error}", file=sys.stderr)
    return 1
