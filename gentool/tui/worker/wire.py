"""Messages over a pipe: two lengths, a JSON header, and the raw bytes of the arrays that the header describes. Light.

A message is ``uint32 header length, uint32 body length`` (little-endian), the header (a JSON object with a "kind"), and the
body: the arrays that ``header["arrays"]`` names, in that order, each C-contiguous. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

LENGTHS = struct.Struct("<II")
MOST_HEADER, MOST_BODY = 1 << 24, 1 << 30
DTYPES = {"uint8": 1, "float32": 4, "int64": 8}


class WireError(Exception):
    """What came over the pipe is no message: the two sides do not speak the same, or one of them broke off."""


@dataclass
class Message:
    """One message: its kind, plain JSON fields, and arrays by name (uint8, float32 or int64)."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.fields.get(name, default)


def pack(kind: str, fields: Mapping[str, Any] | None = None, arrays: Mapping[str, NDArray[Any]] | None = None) -> bytes:
    """A message as bytes. NaN and infinities in the header are refused by `json`."""
    shapes, parts = {}, []
    for name, array in (arrays or {}).items():
        if str(array.dtype) not in DTYPES:
            raise WireError(f"arrays of {array.dtype} are not sent")
        shapes[name] = {"dtype": str(array.dtype), "shape": list(array.shape)}
        parts.append(array.tobytes())
    header = json.dumps({**(fields or {}), "kind": kind, "arrays": shapes}, allow_nan=False).encode()
    body = b"".join(parts)
    if len(header) > MOST_HEADER or len(body) > MOST_BODY:
        raise WireError(f"a message of {len(header) + len(body):,} bytes is too long to send")
    return LENGTHS.pack(len(header), len(body)) + header + body


def lengths(prefix: bytes) -> tuple[int, int]:
    """(header, body) lengths of a message, refused where no message is that long."""
    header, body = LENGTHS.unpack(prefix)
    if header > MOST_HEADER or body > MOST_BODY:
        raise WireError(f"a message claims {header + body:,} bytes")
    return header, body


def unpack(header: bytes, body: bytes) -> Message:
    """The message that `pack` made; `WireError` for anything else."""
    import numpy as np

    try:
        fields = json.loads(header)
        kind, shapes = fields.pop("kind"), fields.pop("arrays")
        arrays: dict[str, NDArray[Any]] = {}
        start = 0
        for name, about in shapes.items():
            shape = [int(side) for side in about["shape"]]
            size = math.prod(shape) * DTYPES[about["dtype"]]
            if min(shape, default=0) < 0 or start + size > len(body):
                raise WireError(f"the array '{name}' is longer than its message")
            arrays[name] = np.frombuffer(body, about["dtype"], math.prod(shape), start).reshape(shape)
            start += size
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WireError(f"not a message ({type(error).__name__})") from None
    if start != len(body) or not isinstance(kind, str):
        raise WireError("a message is longer than its arrays")
    return Message(kind, fields, arrays)


__all__ = ["LENGTHS", "Message", "WireError", "lengths", "pack", "unpack"]
