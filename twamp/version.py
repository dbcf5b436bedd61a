"""The version of this package, as it is installed."""

import importlib.metadata


def version() -> str:
    """``"0.1.0"``; ``"unknown"`` in a tree that is not installed."""
    try:
        return importlib.metadata.version("twamp")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
