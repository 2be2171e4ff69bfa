"""Samplers around a model: guidance, pictures to start from, masks, what is shown on the way, precision."""

from __future__ import annotations

import pytest
import torch
from gentool_diffusion import sampler
from gentool_diffusion.configs import AncestralConfig, DDIMConfig, FewStepsConfig, HeunConfig
from gentool_diffusion.masks import PARTS, painted_part
from gentool_diffusion.sampler import Denoiser
from gentool_diffusion.schedule import Schedule
from PIL import Image
from test_diffusion_model import tiny

from gentool import Batch, Partial, Samples, Step, UsageError

SAMPLERS = {
    "ddpm": (sampler.ddpm, AncestralConfig(steps=5, precision="fp32")),
    "ddim": (sampler.ddim, DDIMConfig(steps=5, precision="fp32")),
    "ddim-noisy": (sampler.ddim, DDIMConfig(steps=5, eta=0.7, precision="fp32")),
    "heun": (sampler.heun, HeunConfig(steps=5, precision="fp32")),
    "dpm-solver": (sampler.dpm_solver, FewStepsConfig(steps=5, precision="fp32")),
    "logsnr": (sampler.dpm_solver, FewStepsConfig(steps=5, spacing="logsnr", precision="fp32")),
}


@torch.no_grad()
def events(name, model, n=3, labels=None, given=None, **changes):
    import dataclasses

    draw, config = SAMPLERS[name]
    options = dataclasses.asdict(dataclasses.replace(config, **changes))
    return list(draw(model, n, step=Step(seed=1), labels=labels, given=given, **options))


def images(*args, **options) -> torch.Tensor:
    return events(*args, **options)[-1].images


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_show_their_estimates_and_end_with_samples(name):
    made = events(name, tiny())
    *parts, last = made
    assert [(p.done, p.total) for p in parts] == [(i + 1, 5) for i in range(5)]
    assert all(isinstance(p, Partial) and p.images.shape == (3, 1, 8, 8) and p.images.abs().max() <= 1 for p in parts)
    assert isinstance(last, Samples)
    assert last.images.shape == (3, 1, 8, 8)
    assert last.images.abs().max() <= 1
    assert torch.equal(last.images, images(name, tiny()))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_picture_does_not_depend_on_who_is_drawn_with_it(name):
    torch.testing.assert_close(
        images(name, tiny(conditional=True), labels=torch.tensor([0, 1, 2]))[0],
        images(name, tiny(conditional=True), labels=torch.tensor([0, 2, 2]))[0],
        rtol=1e-3,
        atol=1e-4,
    )


def test_guidance_1_is_the_plain_conditional_and_0_the_unconditional():
    model, labels = tiny(conditional=True, predict="v"), torch.tensor([0, 1, 2])
    plain = images("ddim", model, labels=labels)
    assert torch.equal(plain, images("ddim", model, labels=labels, guidance=1.0))
    torch.testing.assert_close(plain, images("ddim", model, labels=labels, guidance=1 + 1e-6), rtol=1e-3, atol=1e-4)
    none = images("ddim", model, labels=torch.full((3,), model.null))
    torch.testing.assert_close(none, images("ddim", model, labels=labels, guidance=0.0), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(plain, images("ddim", model, labels=labels, guidance=3.0), atol=1e-2)


def test_guidance_is_linear_in_the_answers():
    model, labels = tiny(conditional=True), torch.tensor([0, 1, 2])
    x, node = torch.randn(3, 1, 8, 8), model.schedule.node(10)
    with torch.no_grad():
        eps = {w: Denoiser(model, labels, guidance=w, clip=False).say(x, node).eps for w in (0.0, 1.0, 2.5)}
    torch.testing.assert_close(eps[2.5], eps[0.0] + 2.5 * (eps[1.0] - eps[0.0]), rtol=1e-3, atol=1e-4)


def test_guidance_needs_classes():
    with pytest.raises(UsageError, match="conditional"):
        events("ddim", tiny(), guidance=2.0)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("part", PARTS)
def test_inpainting_keeps_known_pixels(name, part):
    picture = torch.rand(3, 1, 8, 8) * 2 - 1
    painted = painted_part(part, 8, 8)
    assert painted.any()
    assert not painted.all()
    made = images(name, tiny(), given=Batch(images=picture), mask=part)
    assert torch.equal(made[:, :, ~painted], picture[:, :, ~painted])
    assert not torch.allclose(made[:, :, painted], picture[:, :, painted])


def test_a_mask_from_a_file(tmp_path):
    grey = Image.new("L", (16, 16), 0)
    grey.paste(255, (8, 0, 16, 16))
    grey.save(tmp_path / "mask.png")
    picture = Batch(images=torch.rand(3, 1, 8, 8) * 2 - 1)
    by_file = images("ddim", tiny(), given=picture, mask=str(tmp_path / "mask.png"))
    assert torch.equal(by_file, images("ddim", tiny(), given=picture, mask="right"))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="cannot be used"):
        events("ddim", tiny(), given=picture, mask=str(tmp_path / "bad.png"))
    with pytest.raises(UsageError, match="neither a part"):
        events("ddim", tiny(), given=picture, mask="tpo")
    with pytest.raises(UsageError, match="--image"):
        events("ddim", tiny(), mask="top")


@pytest.mark.parametrize("name", ["ddim", "dpm-solver", "ddpm"])
def test_strength_says_how_much_of_a_picture_is_left(name):
    model = tiny(timesteps=200)
    picture = Batch(images=torch.rand(3, 1, 8, 8) * 2 - 1)
    off = [
        float((images(name, model, given=picture, strength=s) - picture.images).abs().mean()) for s in (0.02, 0.3, 1.0)
    ]
    assert off[0] < off[1] < off[2]
    assert off[0] < 0.15


def test_half_precision_changes_pictures_little():
    plain, half = (images("ddim", tiny(), precision=p) for p in ("fp32", "bf16"))
    assert not torch.equal(plain, half)
    assert (plain - half).abs().mean() < 0.05


def test_a_learned_variance_is_used():
    model = tiny(variance="learned")
    made = images("ddpm", model)
    for shift in (-10.0, 10.0):
        model.network.head.bias.data[1:] = shift
        assert not torch.allclose(made, images("ddpm", model), atol=1e-3)


def test_all_steps_are_those_of_training():
    asked = []
    model = tiny()
    model.network.register_forward_hook(lambda *_: asked.append(1))
    events("ddpm", model, steps=0)
    assert len(asked) == model.schedule.steps == len(Schedule("cosine", 20).path(20, "linear")) - 1
