"""cffi's two objects; what csrc/packet/wire.h and csrc/api/ declare is not written down twice."""

from typing import Any

ffi: Any
lib: Any
