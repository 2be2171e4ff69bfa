"""Diffusion against its peers in one run: the training step at equal parameter counts, and samplers with equal networks.

    pip install denoising-diffusion-pytorch diffusers          # the peers; a peer that is not there is left out
    python examples/bench_diffusion.py [--only train|sample] [--rounds 5] [--batch 32] [--size 28]

Training: one optimiser step on the same batch, each U-Net with about the same number of parameters and none with folded
pixels: in float32 and in bfloat16 autocast for everyone, so that the faster of the two is what is compared.
Samplers: DDIM with 20 steps, each peer's own loop around its own U-Net, and gentool's solver around that very U-Net.
CPU time of the process, medians of rounds that take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from gentool_diffusion import sampler
from gentool_diffusion.configs import DDIMConfig, DenoisingConfig, DiffusionConfig
from gentool_diffusion.loss import Denoising
from gentool_diffusion.model import Diffusion
from torch import Tensor, nn

from gentool import Batch, DataInfo, Step
from gentool.settings import Optim
from gentool.training.optimisers import PhaseOptimiser

STEPS = 20


@contextlib.contextmanager
def some_torchvision() -> Iterator[None]:
    """denoising-diffusion-pytorch imports torchvision, for pictures' files alone: an empty module does where it lacks."""
    if importlib.util.find_spec("torchvision") is not None:
        yield
        return
    empty = {name: types.ModuleType(name) for name in ("torchvision", "torchvision.transforms", "torchvision.utils")}
    for part in ("transforms", "utils"):
        setattr(empty["torchvision"], part, empty[f"torchvision.{part}"])
    sys.modules.update(empty)
    try:
        yield
    finally:
        for name in empty:
            sys.modules.pop(name, None)


def ours(size: int) -> Diffusion:
    config = DiffusionConfig(width=40, multiply=(1, 2, 2), blocks=2, attention=(7,), predict="eps")
    return Diffusion(config, DataInfo(image=(1, size, size)))


def lucid(size: int) -> nn.Module:
    with some_torchvision():
        from denoising_diffusion_pytorch.denoising_diffusion_pytorch import GaussianDiffusion, Unet

    net = Unet(dim=32, dim_mults=(1, 2, 4), channels=1, flash_attn=False)
    made: nn.Module = GaussianDiffusion(
        net, image_size=size, timesteps=1000, sampling_timesteps=STEPS, objective="pred_noise", beta_schedule="cosine"
    )
    return made


def hugging(size: int) -> nn.Module:
    from diffusers import UNet2DModel

    made: nn.Module = UNet2DModel(
        sample_size=size,
        in_channels=1,
        out_channels=1,
        layers_per_block=2,
        block_out_channels=(40, 80, 80),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )
    return made


def available(size: int) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    for name, make in (("denoising-diffusion-pytorch", lucid), ("diffusers", hugging)):
        try:
            found[name] = make(size)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def alternate(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of CPU time of each way; the ways take turns after a round that does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(rounds + 1):
        for name, run in ways.items():
            start = time.process_time()
            run()
            if i:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


# -- the training step -------------------------------------------------------------------------------------------------


def our_step(model: Diffusion, images: Tensor, half: bool) -> Callable[[], None]:
    objective, batch = Denoising(DenoisingConfig()), Batch(images=images * 2 - 1)
    optimiser = PhaseOptimiser("model", model, Optim())
    index = iter(range(10**9))

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            (phase,) = objective(model, batch, Step(seed=0, index=next(index)))
        optimiser.backward(phase.loss)
        optimiser.step(clip=1.0)

    return run


def peer_step(name: str, model: Any, images: Tensor, half: bool) -> Callable[[], None]:
    optimiser = torch.optim.Adam(model.parameters(), 1e-4)
    if name == "diffusers":
        from diffusers import DDPMScheduler

        scheduler = DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")

    def loss() -> Tensor:
        if name != "diffusers":
            return model(images)  # type: ignore[no-any-return]
        noise, t = torch.randn_like(images), torch.randint(0, 1000, (len(images),))
        said = model(scheduler.add_noise(images * 2 - 1, noise, t), t).sample
        return nn.functional.mse_loss(said.float(), noise)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    return run


def train(size: int, batch: int, rounds: int) -> None:
    images = torch.rand(batch, 1, size, size)
    ways: dict[str, Callable[[], Any]] = {}
    mine = ours(size)
    counts = {"gentool": parameters(mine)}
    for half in (False, True):
        word = "bf16" if half else "fp32"
        ways[f"gentool {word}"] = our_step(mine, images, half)
        for name, model in available(size).items():
            counts[name] = parameters(model)
            ways[f"{name} {word}"] = peer_step(name, model.train(), images, half)
    taken = alternate(ways, rounds)
    print(
        f"training step, batch {batch}, 1x{size}x{size}; parameters: " + str({k: f"{v:,}" for k, v in counts.items()})
    )
    for name, seconds in taken.items():
        print(f"  {name:36} {1e3 * seconds:8.0f} ms")
    peers = {name: s for name, s in taken.items() if not name.startswith("gentool")}
    if peers:
        best = min(peers, key=lambda name: peers[name])
        fastest = min(s for name, s in taken.items() if name.startswith("gentool"))
        own = min(s for name, s in peers.items() if name.endswith("fp32"))
        print(f"  fastest peer ({best}) / gentool: {peers[best] / fastest:.2f}")
        print(f"  fastest peer as it comes, in fp32 / gentool: {own / fastest:.2f}")


# -- samplers ----------------------------------------------------------------------------------------------------------


class Around(Diffusion):
    """gentool's process around another's network."""

    def __init__(self, size: int, call: Callable[[Tensor, Tensor], Tensor], network: nn.Module):
        super().__init__(DiffusionConfig(width=8, network="dense", predict="eps"), DataInfo(image=(1, size, size)))
        self.network, self.call = network, call

    def output(self, x_t: Tensor, t: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self.call(x_t, t).float(), None


def our_sampler(model: Diffusion, n: int, precision: str) -> Callable[[], Tensor]:
    options = {**DDIMConfig(steps=STEPS, precision=precision).__dict__}  # type: ignore[arg-type]

    @torch.no_grad()
    def run() -> Tensor:
        *_, last = sampler.ddim(model, n, step=Step(seed=0), **options)
        assert last.images is not None
        return last.images

    return run


def sample(size: int, n: int, rounds: int) -> None:
    for name, model in available(size).items():
        model.eval()
        peer: Any = model
        if name == "diffusers":
            from diffusers import DDIMScheduler

            scheduler = DDIMScheduler(1000, beta_schedule="squaredcos_cap_v2")

            @torch.no_grad()
            def their_loop(peer: Any = peer, scheduler: Any = scheduler) -> Tensor:
                scheduler.set_timesteps(STEPS)
                x = torch.randn(n, 1, size, size)
                for t in scheduler.timesteps:
                    x = scheduler.step(peer(x, t).sample, t, x).prev_sample
                return x

            around = Around(size, lambda x, t, peer=peer: peer(x, t).sample, peer)  # type: ignore[misc]
        else:

            def their_loop(peer: Any = peer) -> Tensor:
                return peer.sample(batch_size=n)  # type: ignore[no-any-return]

            around = Around(size, lambda x, t, peer=peer: peer.model(x, t), peer.model)  # type: ignore[misc]
        ways = {
            f"{name}'s loop": their_loop,
            "gentool fp32": our_sampler(around, n, "fp32"),
            "gentool bf16": our_sampler(around, n, "bf16"),
        }
        taken = alternate(ways, rounds)
        print(f"DDIM, {STEPS} steps, {n} pictures, the U-Net of {name} ({parameters(peer):,} parameters)")
        theirs = taken[f"{name}'s loop"]
        for way, seconds in taken.items():
            print(f"  {way:36} {seconds:8.2f} s   {theirs / seconds:5.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("rounds", 5), ("batch", 32), ("size", 28), ("n", 8)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--only", choices=("train", "sample"), default="")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if asked.only in ("", "train"):
        train(asked.size, asked.batch, asked.rounds)
    if asked.only in ("", "sample"):
        sample(asked.size, asked.n, asked.rounds)


if __name__ == "__main__":
    main()
