"""The golden octets, read once."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
VECTORS: dict[str, Any] = json.loads((HERE / "vectors.json").read_text())
CAPTURED: dict[str, Any] = json.loads((HERE / "captured.json").read_text())


def conversations() -> list[tuple[str, dict[str, Any]]]:
    """Every control conversation, with a name that tells where it is from."""
    return [
        (f"{origin}-{conversation['name']}", conversation)
        for origin, found in (
            ("generated", VECTORS["control_conversations"]),
            ("captured", CAPTURED["conversations"]),
        )
        for conversation in found
    ]
