"""The networks at every size and option, conditioning, samplers and views."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from gentool_gan import GANConfig, GeneratorConfig, WalkConfig
from gentool_gan.model import GAN, Blur, channels, pyramid
from gentool_gan.norm import BatchNorm
from gentool_gan.sampler import generator, latent_walk, slerp, truncated
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import correlate1d
from scipy.stats import truncnorm

from gentool import DataInfo, Samples, Step, UsageError


def make(image=(1, 8, 8), classes=("a", "b", "c"), **config) -> GAN:
    torch.manual_seed(0)
    return GAN(GANConfig(**{"width": 4, "latent": 6, **config}), DataInfo(image=image, classes=classes))


SIZES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 9, 9), (3, 30, 45), (1, 25, 25), (3, 8, 40)]


@pytest.mark.parametrize("image", SIZES)
@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
@pytest.mark.parametrize("conditional", [False, True])
def test_every_size_is_drawn_and_judged(image, architecture, conditional):
    model = make(image, architecture=architecture, conditional=conditional)
    labels = torch.tensor([0, 2]) if conditional else None
    images = model.generator(torch.randn(2, 6), labels)
    assert images.shape == (2, *image)
    assert images.abs().max() <= 1
    logits = model.discriminator(images, labels)
    assert logits.shape == (2,)
    slopes = torch.autograd.grad(logits.sum(), list(model.parameters()))
    assert all(bool((s != 0).any()) for s in slopes)  # nothing is out of reach of the loss


@given(st.integers(8, 256), st.integers(8, 256))
def test_pyramid_halves_down_to_a_short_side_below_eight(height, width):
    sizes = pyramid(height, width)
    assert sizes[-1] == (height, width)
    assert min(sizes[0]) < 8
    assert len(sizes) == 3 or min(sizes[1]) >= 8
    for (h, w), (h2, w2) in itertools.pairwise(sizes):
        assert (h, w) == (math.ceil(h2 / 2), math.ceil(w2 / 2))


def test_channels_double_up_to_the_widest():
    assert channels(GANConfig(width=16, widest=4), pyramid(64, 64)) == [64, 64, 32, 16]
    assert channels(GANConfig(width=16, widest=8), pyramid(28, 28)) == [32, 16]


def test_default_networks_are_small_enough_to_ship():
    """16-bit weights of the whole model stay under 8 MB at 28x28 and at 32x32 in colour, also conditional."""
    for image in ((1, 28, 28), (3, 32, 32)):
        torch.manual_seed(0)
        config = GANConfig(conditional=True)
        model = GAN(config, DataInfo(image=image, classes=tuple("0123456789")))
        assert sum(p.numel() for p in model.parameters()) * 2 < 8e6


@pytest.mark.parametrize("image", [(1, 4, 4), (1, 7, 28), (3, 300, 300), None])
def test_sizes_it_cannot_draw_are_refused(image):
    with pytest.raises(UsageError, match=r"data\.resize|image data set"):
        make(image)


def test_conditional_without_classes_is_refused():
    with pytest.raises(UsageError, match="classes"):
        make(classes=(), conditional=True)
    model = make(conditional=True)
    with pytest.raises(UsageError, match="class"):
        model.decode(torch.zeros(1, 6))


@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
@pytest.mark.parametrize("norm", ["group", "none"])
def test_no_example_sees_another(architecture, norm):
    """Real and fake pictures may share a pass of D, and a logit's gradient is that of its own picture."""
    model = make((1, 12, 12), architecture=architecture, norm=norm, spectral_norm=True).double().eval()
    z, x = torch.randn(3, 6, dtype=torch.float64), torch.randn(3, 1, 12, 12, dtype=torch.float64)
    together, apart = model.discriminator(x), torch.cat([model.discriminator(x[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-10)
    together, apart = model.generator(z), torch.cat([model.generator(z[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("architecture", ["dcgan", "resnet"])
def test_the_class_matters_to_both_networks(architecture):
    model = make(architecture=architecture, conditional=True)
    z = torch.randn(1, 6).repeat(3, 1)
    images = model.generator(z, torch.arange(3))
    assert not torch.allclose(images[0], images[1])
    x = torch.randn(1, 1, 8, 8).repeat(3, 1, 1, 1)
    d = model.discriminator(x, torch.arange(3))
    assert len(set(d.tolist())) == 3


def test_projection_adds_the_class_vector_times_the_features():
    """D(x, y) = w.h(x) + b + v_y.h(x) (Miyato and Koyama 2018, equation 3), with h recomputed layer by layer."""
    model = make(conditional=True).double()
    d = model.discriminator
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    h = x
    for down in d.down:
        h = torch.nn.functional.leaky_relu(down.conv(h), 0.2)
    h = h.permute(0, 2, 3, 1).reshape(2, -1)
    y = torch.tensor([2, 0])
    want = h @ d.output.weight[0] + d.output.bias + (d.project.weight[y] * h).sum(1)
    torch.testing.assert_close(d(x, y), want)


def test_spectral_norm_bounds_every_layer():
    """After a few power iterations the largest singular value of each weight matrix is 1."""
    model = make((3, 16, 16), spectral_norm=True, conditional=True)
    x, y = torch.randn(2, 3, 16, 16), torch.tensor([0, 1])
    for _ in range(60):
        model.discriminator(x, y)
    model.eval()
    weights = [m.weight for m in model.discriminator.modules() if hasattr(m, "parametrizations")]
    assert len(weights) == 4
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), ord=2).item() == pytest.approx(1, abs=0.05)


def test_first_activations_are_neither_faint_nor_loud():
    """Initial weights keep the scale: pictures are not grey, logits neither all equal nor huge."""
    for architecture in ("dcgan", "resnet"):
        for norm in ("group", "batch", "none"):
            torch.manual_seed(1)
            config = GANConfig(architecture=architecture, norm=norm)
            model = GAN(config, DataInfo(image=(1, 28, 28)))
            images = model.generator(torch.randn(64, 64))
            assert 0.1 < images.std() < 0.95, (architecture, norm)
            logits = model.discriminator(torch.rand(64, 1, 28, 28) * 2 - 1)
            assert 0.05 < logits.std() < 5, (architecture, norm)


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (28, 28)])
def test_blur_is_binomial_on_each_side_and_continues_the_border(size):
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = x.numpy()
    for axis in (2, 3):
        expected = correlate1d(expected, [0.25, 0.5, 0.25], axis, mode="nearest")
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(Blur().double()(x.to(memory_format=layout)), torch.from_numpy(expected))
    assert not Blur().state_dict()


def test_batch_norm_is_that_of_torch_in_training():
    ours, theirs = BatchNorm(3), torch.nn.BatchNorm2d(3)
    x = torch.randn(8, 3, 5, 5)
    with torch.no_grad():
        for parameter in (ours.weight, theirs.weight):
            parameter.copy_(torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("conditional", [False, True])
def test_batch_norm_statistics_are_those_of_the_weights_in_use(conditional):
    """Averaged weights, loaded weights, changed weights: at sampling time each has statistics of its own."""
    model = make((1, 16, 16), norm="batch", conditional=conditional)
    assert not [key for key in model.state_dict() if "mean" in key or "var" in key]
    g = model.generator
    y = torch.arange(400) % 3 if conditional else None
    z = torch.randn(400, 6, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        for change in (1.0, 3.0):
            for parameter in g.parameters():
                parameter.mul_(change)
            batch = g.train()(z, y)
            g.eval()
            kept = g(z, y)
            # The batch's own statistics and the reference's are two estimates of the same thing.
            assert (batch - kept).abs().mean() < 0.1
            alone = g(z[:1], None if y is None else y[:1])
            torch.testing.assert_close(alone, kept[:1], rtol=1e-4, atol=1e-5)
        twin = make((1, 16, 16), norm="batch", conditional=conditional)
        twin.load_state_dict(model.state_dict())
        assert torch.equal(twin.eval().generator(z, y), kept)


# -- samplers ----------------------------------------------------------------------------------------------------------


def last(events) -> Samples:
    samples = [event for event in events if isinstance(event, Samples)][-1]
    assert samples.images is not None
    return samples


def test_samples_are_the_generator_at_the_steps_noise():
    model = make(conditional=True).eval()
    labels = torch.tensor([0, 1, 2, 0])
    step = Step(seed=4)
    samples = last(generator(model, 4, step=step, labels=labels))
    assert torch.equal(samples.images, model.decode(step.noise(4, 6, purpose="latent"), labels))
    assert torch.equal(samples.labels, labels)
    assert torch.equal(samples.images, last(generator(model, 4, step=step, labels=labels)).images)
    assert not torch.equal(samples.images, last(generator(model, 4, step=step.at(1), labels=labels)).images)


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0])
def test_truncation_is_the_truncated_normal(threshold):
    z = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    got = truncated(z, threshold)
    assert got.abs().max() <= threshold
    shares = np.linspace(0.05, 0.95, 19)
    want = truncnorm(-threshold, threshold).ppf(shares)
    np.testing.assert_allclose(np.quantile(got.numpy(), shares), want, atol=0.02 * threshold + 0.01)
    order = z.argsort()
    assert bool((got[order].diff() >= 0).all())  # quantiles are kept
    assert torch.equal(truncated(z, 0.0), z)


def test_truncation_survives_extreme_noise():
    z = torch.tensor([-40.0, -9.0, 0.0, 9.0, 40.0])
    got = truncated(z, 1.0)
    assert bool(got.isfinite().all())
    assert got.tolist() == pytest.approx([-1, -1, 0, 1, 1], abs=1e-6)
    assert truncated(z, 10.0).isfinite().all()


def test_slerp_goes_round_the_sphere():
    a, b = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    path = slerp(a, b, torch.tensor([0.0, 1 / 3, 0.5, 1.0]))[0]
    want = [[3, 0], [3 * math.cos(math.pi / 6), 3 * math.sin(math.pi / 6)], [3 / math.sqrt(2)] * 2, [0, 3]]
    torch.testing.assert_close(path, torch.tensor(want), rtol=1e-5, atol=1e-5)


def test_slerp_between_equal_and_opposite_vectors_is_finite():
    a = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    path = slerp(a, torch.stack([a[0], -a[1]]), torch.linspace(0, 1, 5))
    assert bool(path.isfinite().all())
    torch.testing.assert_close(path[0], a[:1].expand(5, 2), rtol=1e-2, atol=1e-2)


def test_latent_walk_starts_and_ends_at_draws_of_the_prior():
    model = make(conditional=True).eval()
    step = Step(seed=1)
    samples = last(latent_walk(model, 1, step=step, labels=torch.tensor([2, 1]), walks=3, columns=5))
    assert samples.columns == 5
    assert len(samples) == 15
    assert samples.labels.tolist() == [2] * 5 + [1] * 5 + [2] * 5
    ends = step.noise(6, 6, purpose="latent")
    torch.testing.assert_close(samples.images[0], model.decode(ends[:1], torch.tensor([2]))[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(samples.images[-1], model.decode(ends[5:], torch.tensor([2]))[0], rtol=1e-4, atol=1e-4)
    plain = last(latent_walk(make().eval(), 1, step=step))
    assert len(plain) == WalkConfig().walks * WalkConfig().columns
    assert plain.labels is None
    assert GeneratorConfig().truncation == 0
