"""The network that all detectors share: a small residual net with group normalisation, and a feature pyramid on it.

He et al. 2016 (residual blocks), Wu and He 2018 (group normalisation: detectors train on few pictures a step), Lin et
al. 2017, "Feature Pyramid Networks for Object Detection".

Pictures of a batch have sizes of their own and lie on one canvas. What is filled in must change nothing, so wherever a
batch has such places, features are put back to 0 there after every layer, and normalisation counts real places alone:
a picture's features are those it has on a canvas of its own (convolutions pad with 0 too).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gentool import UsageError

STRIDES = (4, 8, 16, 32)  # of the four stages


class Places:
    """Which places of the canvas belong to the pictures, at every stride. size: int64 (N, 2); canvas: (H, W), multiples
    of 4. A map of stride s has ceil(H / s) rows, so that a picture has as many on any canvas."""

    def __init__(self, size: Tensor, canvas: tuple[int, int]):
        self.size, self.canvas = size, canvas
        self.whole = bool((-(-size // 4) * 4 == size.new_tensor(canvas)).all())
        self._masks: dict[int, Tensor] = {}

    def inside(self, stride: int) -> Tensor:
        """bool (N, h, w): the cell of this stride has at least a pixel of the picture."""
        if stride not in self._masks:
            rows, columns = (
                torch.arange(-(-side // stride), device=self.size.device) * stride < self.size[:, d, None]
                for d, side in enumerate(self.canvas)
            )
            self._masks[stride] = rows[:, :, None] & columns[:, None, :]
        return self._masks[stride]

    def mask(self, stride: int) -> Tensor | None:
        """`inside` as (N, 1, h, w), or None where every place is."""
        return None if self.whole else self.inside(stride)[:, None]


class Norm(nn.GroupNorm):
    """Group normalisation over the places of the picture: x is 0 elsewhere, and comes out 0 elsewhere."""

    def __init__(self, channels: int):
        super().__init__(groups_of(channels), channels)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return super().forward(x)
        n, channels = x.shape[:2]
        sums = torch.stack([x.float().sum((2, 3)), x.float().square().sum((2, 3))])
        sums = sums.view(2, n, self.num_groups, -1).sum(3)
        count = mask.sum((1, 2, 3)).clamp(min=1)[:, None] * (channels // self.num_groups)
        mean = sums[0] / count
        rstd = (sums[1] / count - mean.square()).clamp(min=0).add(self.eps).rsqrt()
        each = channels // self.num_groups
        scale = rstd.repeat_interleave(each, 1) * self.weight
        shift = self.bias - mean.repeat_interleave(each, 1) * scale
        out = torch.addcmul(shift[:, :, None, None], x.float(), scale[:, :, None, None])
        return out.to(x.dtype) * mask.to(x.dtype)


def groups_of(channels: int) -> int:
    """8 groups, or fewer where that does not divide or leaves a group less than 4 channels: over a map of one cell there
    has to be something to normalise."""
    return next((g for g in (8, 4, 2) if channels % g == 0 and channels >= 4 * g), 1)


def keep(x: Tensor, mask: Tensor | None) -> Tensor:
    """Features with what lies outside of the pictures back at 0."""
    return x if mask is None else x * mask.to(x.dtype)


class ConvNorm(nn.Module):
    """Convolution, normalisation, ReLU (unless told otherwise)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, relu: bool = True):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = Norm(outputs)
        self.relu = relu

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.norm(keep(self.conv(x), mask), mask)
        return F.relu(x) if self.relu else x


class Residual(nn.Module):
    """x + f(x) with f two 3x3 convolutions; a stride or new width is taken along by a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride)
        self.second = ConvNorm(outputs, outputs, relu=False)
        same = inputs == outputs and stride == 1
        self.skip = None if same else ConvNorm(inputs, outputs, 1, stride, relu=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        short = x if self.skip is None else self.skip(x, mask)
        return F.relu(short + self.second(self.first(x, mask), mask))


class Backbone(nn.Module):
    """Pictures (N, 3, H, W) -> features by stride (4, 8, 16, 32), with their `Places`.

    widths: channels of the four stages; blocks: residual blocks of each; deepest: the stride of the last one. The stem cuts the
    picture into patches of 4x4 pixels: on a CPU convolutions of whole pictures at full size would cost most of the time.
    """

    def __init__(self, channels: int, widths: Sequence[int], blocks: Sequence[int], deepest: int = 32):
        super().__init__()
        if min(widths) < 1 or min(blocks) < 0 or min(blocks[1:]) < 1:
            raise UsageError(
                f"model.widths = {list(widths)} and model.blocks = {list(blocks)} make no backbone: every width and every "
                "stage after the first needs 1 at least."
            )
        self.stem = nn.Conv2d(channels, widths[0], 4, 4, bias=False)
        self.norm = Norm(widths[0])
        self.stages = nn.ModuleList()
        inputs = widths[0]
        for stride, width, count in zip(STRIDES, widths, blocks, strict=True):
            if stride > deepest:
                break
            stage = nn.ModuleList()
            for block in range(count):
                stage.append(Residual(inputs, width, 2 if stride > 4 and not block else 1))
                inputs = width
            self.stages.append(stage)

    def forward(self, images: Tensor, size: Tensor) -> tuple[dict[int, Tensor], Places]:
        images = trimmed(images, size)
        places = Places(size, (images.shape[2], images.shape[3]))
        mask = places.mask(4)
        x = F.relu(self.norm(keep(self.stem(images), mask), mask))
        maps = {}
        for stride, stage in zip(STRIDES, self.stages, strict=False):
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, places.mask(stride))
            maps[stride] = x
        return maps, places


class Pyramid(nn.Module):
    """The feature pyramid (Lin et al. 2017, figure 3): every level sees what the coarser ones know.

    widths: channels of the backbone's stages; finest: the stride of the first level, 4 or 8; the last is 32.
    """

    def __init__(self, widths: Sequence[int], channels: int, finest: int = 8):
        super().__init__()
        first = STRIDES.index(finest)
        self.strides = STRIDES[first:]
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths[first:])
        self.smooth = nn.ModuleList(ConvNorm(channels, channels) for _ in self.strides)

    def forward(self, maps: Mapping[int, Tensor], places: Places) -> list[Tensor]:
        above: Tensor | None = None
        levels = []
        for lateral, smooth, stride in reversed(list(zip(self.lateral, self.smooth, self.strides, strict=True))):
            x = keep(lateral(maps[stride]), places.mask(stride))
            if above is not None:
                doubled = F.interpolate(above, scale_factor=2.0, mode="nearest")[:, :, : x.shape[2], : x.shape[3]]
                x = x + keep(doubled, places.mask(stride))
            above = x
            levels.append(smooth(x, places.mask(stride)))
        return levels[::-1]


def trimmed(images: Tensor, size: Tensor) -> Tensor:
    """The canvas no larger than its largest picture, in multiples of 4."""
    height, width = (-(-int(side) // 4) * 4 for side in size.amax(0))
    images = images[:, :, :height, :width]
    more = (0, width - images.shape[3], 0, height - images.shape[2])
    return F.pad(images, more) if any(more) else images


def load_weights(backbone: nn.Module, file: str) -> None:
    """A user's weights into a backbone: a safetensors file with its tensors, by their names here, with or without
    ``backbone.`` before them (so a whole detector's checkpoint serves). `UsageError` where names or shapes do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from gentool.show.text import safe_text

    name = safe_text(file)
    if not Path(file).is_file():
        raise UsageError(f"There is no file '{name}', which model.backbone_weights names.")
    try:
        found = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UsageError(f"'{name}' cannot be read as safetensors ({safe_text(str(error))[:100]}).") from None
    if any(key.startswith("backbone.") for key in found):
        found = {k.removeprefix("backbone."): t for k, t in found.items() if k.startswith("backbone.")}
    wanted = backbone.state_dict()
    missing = [k for k in wanted if k not in found]
    wrong = [k for k in wanted if k in found and found[k].shape != wanted[k].shape]
    if missing or wrong:
        first = (missing or wrong)[0]
        what = "has no" if missing else "has another shape of"
        raise UsageError(
            f"'{name}' {what} '{first}' ({len(missing)} tensors missing, {len(wrong)} of another shape): it is no backbone "
            "of these model.widths and model.blocks."
        )
    backbone.load_state_dict({k: found[k].to(wanted[k].dtype) for k in wanted})
