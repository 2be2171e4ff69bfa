"""Which part of a picture is painted anew: a named half or square of it, or the light part of a mask's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gentool import UsageError
from gentool.data.pictures import BadPicture, read_picture
from gentool.show.text import safe_text

PARTS = ("top", "bottom", "left", "right", "centre", "border")


def painted_part(name: str, height: int, width: int) -> Tensor:
    """bool (H, W), True where the part of that name is: a half, the middle square of half the side, or all around it."""
    part = torch.zeros(height, width, dtype=torch.bool)
    if name == "top":
        part[: height // 2] = True
    elif name == "bottom":
        part[height // 2 :] = True
    elif name == "left":
        part[:, : width // 2] = True
    elif name == "right":
        part[:, width // 2 :] = True
    else:
        part[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
        if name == "border":
            part = ~part
    return part


def painted_by_file(path: Path, height: int, width: int) -> Tensor:
    """bool (H, W), True where a grey picture of a file is light; it is resized to the place, by nearest neighbour."""
    if not path.is_file():
        raise UsageError(
            f"The mask '{safe_text(str(path))[:80]}' is neither a part ({', '.join(PARTS)}) nor a picture's file."
        )
    try:
        grey = torch.from_numpy(read_picture(path, 1, 0).copy())
    except BadPicture as error:
        raise UsageError(f"The mask '{safe_text(str(path))}' cannot be used: {error}.") from None
    resized = torch.nn.functional.interpolate(grey[None].float(), size=(height, width), mode="nearest")
    return resized[0, 0] >= 128


def mask_of(word: str, picture: Tensor, model: Any) -> Tensor:
    """float (1, 1, H, W): 1 where the picture is kept."""
    if not model.bounded:
        raise UsageError("A mask is of pixels, and this model paints latents; leave the mask out.")
    height, width = picture.shape[2:]
    painted = painted_part(word, height, width) if word in PARTS else painted_by_file(Path(word), height, width)
    return (~painted)[None, None].to(picture)
