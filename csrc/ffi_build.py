"""Builds ``twamp._native``: the headers are the cdef as they stand, so no copy can drift."""

import os
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).resolve().parent
ROOT = CSRC.parent
SHARED_HEADERS = (  # in the order of their includes
    "packet/wire.h",
    "api/types.h",
    "api/counters.h",
    "api/reflect.h",
    "api/clock.h",
    "api/device_clock.h",
    "api/cmsg.h",
    "api/histogram.h",
    "api/reflector.h",
    "api/sender.h",
    "api/columns.h",
    "api/privileges.h",
)
DROPPED_LINES = ("#include", "#pragma", "#if", "#error", "#endif")
WARNINGS = "-Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wvla"


def cdef(header: str) -> str:
    """The header less the preprocessor lines that cffi cannot read (integer #defines it can)."""
    lines = (CSRC / header).read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith(DROPPED_LINES))


def relative(paths: list[Path]) -> list[str]:
    return [os.path.relpath(path, ROOT) for path in sorted(paths)]


sources = [path for path in CSRC.rglob("*.c") if path.name != "_native.c"]

ffibuilder = FFI()
for header in SHARED_HEADERS:
    ffibuilder.cdef(cdef(header))
ffibuilder.set_source(
    "twamp._native",
    "".join(f'#include "{header}"\n' for header in SHARED_HEADERS),
    sources=relative(sources),
    include_dirs=["csrc"],
    # An edited header rebuilds nothing unless it is named here.
    depends=relative(list(CSRC.rglob("*.h"))),
    extra_compile_args=[
        "-std=gnu11",
        "-O2",
        "-fvisibility=hidden",
        *WARNINGS.split(),
        # cffi's own generated file is not ours to mend.
        "-Wno-unused-parameter",
        "-Wno-missing-field-initializers",
        *os.environ.get("TWAMP_CFLAGS", "").split(),
    ],
    libraries=["crypto"],
    extra_link_args=os.environ.get("TWAMP_LDFLAGS", "").split(),
)

if __name__ == "__main__":
    raise SystemExit("build with: pip install -e .")
