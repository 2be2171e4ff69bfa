"""pixelcnn's samplers: the same pixels whatever the order and the cache, and the pixels that the density says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gentool_autoregressive import PixelCNNConfig, field, sampler
from gentool_autoregressive.model import PixelCNN
from gentool_autoregressive.painter import Painter, chances_of
from gentool_autoregressive.wavefront import Wavefront
from gentool_autoregressive.weights import plain
from hypothesis import given, settings
from hypothesis import strategies as st
from pixelcnn_nets import net

from gentool import DataInfo, Partial, Samples, Step


def last(events):
    *_, event = events
    return event


CASES = [
    ((1, 9, 12), 2, {"field": "cone", "first_kernel": 5}),
    ((1, 9, 12), 2, {"first_kernel": 5}),
    ((1, 6, 5), 2, {}),
    ((1, 8, 11), 17, {"conditional": True}),
    ((3, 6, 9), 9, {"conditional": True, "field": "cone", "place": False}),
    ((1, 6, 9), 300, {"field": "cone", "first_kernel": 3, "kernel": 7}),
    ((2, 5, 9), 6, {"layers": 1, "input": "embedding"}),
]


@pytest.mark.parametrize(("image", "levels", "config"), CASES)
def test_every_order_gives_the_pixels_of_reevaluation(image, levels, config):
    model = net(image, levels, **config)
    labels = torch.tensor([0, 1, 2, 1]) if model.conditional else None
    anew = sampler.reevaluate(model, 4, step=Step(seed=3), labels=labels)
    assert anew.unique().numel() == levels or levels > 100
    for order in ("raster", "wavefront"):
        drawn = last(sampler.draw(model, 4, step=Step(seed=3), labels=labels, order=order))
        assert torch.equal(drawn, anew), order


@settings(max_examples=15, deadline=None)
@given(
    first=st.sampled_from([3, 5, 7]),
    kernel=st.sampled_from([3, 5]),
    layers=st.integers(1, 4),
    cone=st.booleans(),
    height=st.integers(1, 8),
    width=st.integers(1, 14),
    seed=st.integers(0, 1000),
)
def test_orders_agree_for_any_shape(first, kernel, layers, cone, height, width, seed):
    kind = "cone" if cone else "full"
    model = net((1, height, width), 3, first_kernel=first, kernel=kernel, layers=layers, field=kind, channels=4)
    step = Step(seed=seed)
    raster = last(sampler.draw(model, 2, step=step, order="raster"))
    assert torch.equal(raster, last(sampler.draw(model, 2, step=step, order="wavefront")))
    assert torch.equal(raster, sampler.reevaluate(model, 2, step=step))


@pytest.mark.parametrize("kind", ["cone", "full"])
def test_a_smaller_slope_gives_other_pixels(kind):
    """So the equality above can fail: one column too early, and a pixel misses one that it has to see."""
    model = net((1, 12, 16), 2, field=kind, layers=3)
    weights = plain(model)
    uniform = Step(seed=0).uniform(8, 1, 12, 16, purpose="pixels")
    anew = sampler.reevaluate(model, 8, step=Step(seed=0))

    def paint(slope):
        painter = Painter(weights, chances_of(uniform, 2, 1.0, torch.float64), 1.0, None)
        last(Wavefront(model, weights, painter, None, slope).paint())
        return painter.grid.permute(2, 3, 0, 1)

    least = field.slope(model.config)
    assert least == (4 if kind == "cone" else 6)
    assert torch.equal(paint(least), anew)
    assert torch.equal(paint(least + 1), anew)
    assert not torch.equal(paint(least - 1), anew)


def test_float32_gives_equal_pixels_too():
    """A pixel would differ where a uniform falls between two roundings of its probability: about one in 1e6."""
    torch.manual_seed(0)
    model = PixelCNN(PixelCNNConfig(channels=8, layers=4, field="cone"), DataInfo(image=(1, 14, 14), levels=2)).eval()
    step = Step(seed=1)
    anew = sampler.reevaluate(model, 8, step=step)
    for name in ("ancestral", "wavefront"):
        drawn = last(getattr(sampler, name)(model, 8, step=step))
        assert isinstance(drawn, Samples)
        assert torch.equal(model.quantise(drawn.images), anew)


@pytest.mark.parametrize("image", [(1, 2, 3), (2, 1, 2)])
def test_frequencies_are_the_probabilities(image):
    """Against all grids enumerated: chi-square over grids expected at least 5 times."""
    model, levels, n = net(image, 3), 3, 20000
    cells = int(np.prod(image))
    grids = torch.tensor(list(itertools.product(range(levels), repeat=cells))).view(-1, *image)
    expected = n * model.log_prob_levels(grids).exp().double().detach().numpy()
    drawn = last(sampler.draw(model, n, step=Step(seed=5))).view(n, -1)
    index = (drawn * levels ** torch.arange(cells - 1, -1, -1)).sum(1)
    observed = np.bincount(index.numpy(), minlength=levels**cells)
    kept = expected >= 5
    chi = ((observed - expected)[kept] ** 2 / expected[kept]).sum()
    degrees = kept.sum() - 1
    assert degrees > 20
    assert abs(chi - degrees) < 5 * np.sqrt(2 * degrees)


def test_painter_inverts_the_distribution():
    """Levels at given uniforms, against numpy's searchsorted on the cumulative probabilities."""
    model = net((1, 1, 1), 7)
    weights = plain(model)
    rng = np.random.default_rng(0)
    uniform = torch.from_numpy(rng.random((500, 1)))
    context = torch.from_numpy(rng.normal(size=(500, 6)))
    for temperature in (0.5, 1.0, 2.0):
        painter = Painter(weights, uniform.view(1, 1, 500, 1), temperature, None)
        levels, planes = painter.draw(context, uniform, None)
        logits = model.head(context, torch.zeros(500, 1, dtype=torch.float64))[:, 0].detach().numpy() / temperature
        p = np.exp(logits - logits.max(1, keepdims=True))
        cumulative = np.cumsum(p / p.sum(1, keepdims=True), 1)
        expected = [np.searchsorted(row, u, side="right") for row, u in zip(cumulative, uniform[:, 0].numpy())]
        assert levels[:, 0].tolist() == expected
        torch.testing.assert_close(planes[:, 0], levels[:, 0] / 3 - 1.0, check_dtype=False)


@pytest.mark.parametrize("levels", [2, 5])
def test_low_temperature_takes_the_likeliest_value(levels):
    model = net((1, 5, 6), levels)
    x = last(sampler.draw(model, 3, step=Step(seed=0), temperature=1e-3))
    logits = model(x)[..., 0, :]
    likeliest = (logits[..., 0] > 0).long() if levels == 2 else logits.argmax(-1)
    assert torch.equal(x[:, 0], likeliest)


def test_extreme_uniforms_stay_in_range():
    model = net((1, 1, 1), 4)
    weights = plain(model)
    ends = torch.tensor([0.0, 1 - 2**-24])
    for levels in (2, 4):
        chances = chances_of(ends.view(2, 1, 1, 1), levels, 1.0, torch.float64)
        assert not chances.isnan().any()
    drawn = Painter(weights, ends.view(1, 1, 2, 1).double(), 1.0, None).draw(
        torch.zeros(2, 6, dtype=torch.float64), ends.view(2, 1).double(), None
    )[0]
    assert drawn.flatten().tolist() == [0, 3]


def test_pictures_depend_neither_on_their_number_nor_on_the_memory(monkeypatch):
    model = net((1, 5, 6), conditional=True)
    labels = torch.arange(7) % 3
    many = last(sampler.draw(model, 7, step=Step(seed=2), labels=labels))
    few = last(sampler.draw(model, 3, step=Step(seed=2), labels=labels[:3]))
    assert torch.equal(many[:3], few)
    monkeypatch.setattr(sampler, "CACHE_BYTES", 1)
    events = list(sampler.draw(model, 7, step=Step(seed=2), labels=labels))
    assert sampler.chunk(model, "raster") == 1
    assert torch.equal(events[-1], many)
    assert [e.done for e in events[:-1]] == [6 * i for i in range(1, 36)]
    assert not torch.equal(last(sampler.draw(model, 7, step=Step(seed=3), labels=labels)), many)


def test_cache_is_bounded_for_large_nets():
    info = DataInfo(image=(1, 28, 28), levels=2)
    model = PixelCNN(PixelCNNConfig(channels=64, layers=15), info)
    n = sampler.chunk(model, "wavefront")
    engine = Wavefront(model, plain(model), Painter(plain(model), torch.zeros(28, 28, n, 1), 1.0, None), None)
    kept = {id(plane): plane.data.nbytes for plane in [*engine.v, *engine.h, *engine.ahead] if plane is not None}
    assert sum(kept.values()) < 1.5 * sampler.CACHE_BYTES


def test_partials_show_the_picture_grow():
    model = net((1, 5, 6), 4, conditional=True)
    labels = torch.tensor([1, 2])
    for draw in (sampler.ancestral, sampler.wavefront):
        *partials, samples = draw(model, 2, step=Step(seed=0), labels=labels)
        assert len(partials) >= 5
        assert all(isinstance(p, Partial) for p in partials)
        assert partials[-1].done == partials[-1].total == 60
        assert torch.equal(partials[-1].images, samples.images)
        assert (partials[0].images[:, :, 1:] == -1).all()
        assert not torch.equal(partials[0].images, partials[1].images)
        assert torch.equal(samples.labels, labels)
        assert samples.images.shape == (2, 1, 5, 6)


def test_known_pixels_are_kept_and_the_rest_follows_them():
    model = net((1, 6, 8), 3, field="cone", first_kernel=3)
    known = torch.full((4, 1, 6, 8), -1)
    known[:, :, :3] = torch.randint(3, (4, 1, 3, 8))
    drawn = [last(sampler.draw(model, 4, step=Step(seed=0), order=o, known=known)) for o in ("raster", "wavefront")]
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0][:, :, :3], known[:, :, :3])
    free = last(sampler.draw(model, 4, step=Step(seed=0)))
    assert not torch.equal(free[:, :, 3:], drawn[0][:, :, 3:])


def test_draw_levels_as_a_prior_of_codes():
    """As another family uses it: built by name, trained on grids of codes, drawn from."""
    from gentool.registry import build_model

    info = DataInfo(image=(1, 4, 5), levels=40, extra={"codes": True})
    prior = build_model("pixelcnn", info, channels=8, layers=2, hidden=8)
    codes = torch.randint(40, (3, 1, 4, 5))
    log_p = prior.log_prob_levels(codes)
    assert log_p.shape == (3,)
    log_p.sum().backward()
    with torch.no_grad():
        drawn = last(prior.draw_levels(3, step=Step(seed=0)))
    assert drawn.dtype == torch.int64
    assert drawn.shape == (3, 1, 4, 5)
    assert drawn.min() >= 0
    assert drawn.max() < 40
    assert drawn.requires_grad is False
    (drawn + 1).float().mul_(2)  # an ordinary tensor, not one of inference mode
