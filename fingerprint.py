"""What finds a thing again: a hash of all that it depends on."""

import hashlib
import json
from typing import Any


def fingerprint(values: dict[str, Any]) -> str:
    """Hash of plain values, the same on every machine: 32 hexadecimal digits."""
    text = json.dumps(values, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
