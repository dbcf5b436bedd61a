"""cffi's two objects; what csrc/wire.h and csrc/twamp.h declare is not written down twice."""

from typing import Any

ffi: Any
lib: Any
