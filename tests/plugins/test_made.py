"""made and nade: densities that sum to one, conditionals by Jacobian, chains against naive loops, and what they draw."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from gentool_autoregressive import MadeConfig, NadeConfig
from gentool_autoregressive.configs import NllConfig
from gentool_autoregressive.incremental import full_passes
from gentool_autoregressive.loss import OrderAgnostic
from gentool_autoregressive.made import Made, components
from gentool_autoregressive.nade import BLOCK, Nade, Products
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gentool import Batch, DataInfo, Partial, Step, UsageError

CLASSES = ("a", "b", "c")


def noisy(model: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.4 * torch.randn_like(weight))
    return model.double().eval()


def made(image=(1, 3, 4), **config) -> Made:
    config = {"hidden": 9, **config}
    return noisy(Made(MadeConfig(**config), DataInfo(image=image, levels=2, classes=CLASSES)))


def nade(image=(1, 3, 4), **config) -> Nade:
    config = {"hidden": 5, **config}
    return noisy(Nade(NadeConfig(**config), DataInfo(image=image, levels=2, classes=CLASSES)))


def all_grids(image) -> torch.Tensor:
    size = image[0] * image[1] * image[2]
    return torch.tensor(list(itertools.product((0, 1), repeat=size))).view(-1, *image)


MODELS = {
    "nade": lambda **c: nade(**c),
    "made": lambda **c: made(**c),
    "made, one layer, no direct": lambda **c: made(layers=1, direct=False, **c),
    "made, three layers": lambda **c: made(layers=3, **c),
    "made, orders and masks": lambda **c: made(orders=3, masks=2, **c),
}


@pytest.fixture(params=MODELS)
def make(request):
    return MODELS[request.param]


# -- the densities ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [(1, 2, 5), (2, 2, 2)])
def test_probabilities_of_all_pictures_sum_to_one(make, image):
    model = make(image=image, conditional=True)
    grids = all_grids(image)
    for label in range(3):
        p = model.log_prob_levels(grids, torch.full((len(grids),), label)).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-12)
        assert p.max() / p.min() > 5, "a uniform density proves nothing"


@pytest.mark.parametrize("component", range(6))
def test_an_output_depends_on_the_inputs_before_it_and_on_all_of_them(component):
    model = made((1, 3, 4), orders=3, masks=2, hidden=40)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: model.logits(x, None, component).sum(0), torch.rand(5, 12).double()
    )
    depends = jacobian.abs().sum(1) > 0  # (out, in)
    position = model.components[component].position
    assert torch.equal(depends, position[:, None] > position[None])


def test_without_direct_connections_too():
    model = made((1, 3, 4), direct=False, hidden=200, layers=3)
    jacobian = torch.autograd.functional.jacobian(lambda x: model.logits(x).sum(0), torch.rand(9, 12).double())
    assert torch.equal(jacobian.abs().sum(1) > 0, torch.ones(12, 12).tril(-1).bool())


@settings(max_examples=40, deadline=None)
@given(
    places=st.integers(1, 30),
    hidden=st.integers(1, 40),
    layers=st.integers(1, 3),
    orders=st.integers(1, 3),
    masks=st.integers(1, 3),
)
def test_components_have_orders_and_degrees_in_range(places, hidden, layers, orders, masks):
    made = components(places, hidden, layers, orders, masks)
    assert len(made) == orders * masks
    assert torch.equal(made[0].order, torch.arange(places))
    for component in made:
        assert torch.equal(component.order.sort().values, torch.arange(places))
        assert torch.equal(component.position[component.order], torch.arange(1, places + 1))
        for degrees in component.degrees:
            assert degrees.min() >= 1
            assert degrees.max() <= max(1, places - 1)
    again = components(places, hidden, layers, orders, masks)
    assert all(torch.equal(a, b) for one, two in zip(made, again) for a, b in zip(one.degrees, two.degrees))


def naive_nade(x, start, w, v):
    """Equations 9 and 10, one conditional after another."""
    return torch.stack([torch.sigmoid(start + x[:, :d] @ w[:d]) @ v[d] for d in range(x.shape[1])], 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 75), st.integers(1, 7), st.floats(0, 1), st.integers(0, 99))
@example(n=3, places=2 * BLOCK, hidden=4, share=0.0, seed=0)
@example(n=3, places=2 * BLOCK + 1, hidden=4, share=1.0, seed=0)
def test_nade_is_the_naive_loop_and_so_is_its_gradient(n, places, hidden, share, seed):
    torch.manual_seed(seed)
    x = (torch.rand(n, places) < share).double()
    start, w, v = (
        torch.randn(size, dtype=torch.float64, requires_grad=True)
        for size in ((n, hidden), (places, hidden), (places, hidden))
    )
    weight = torch.randn(n, places, dtype=torch.float64)
    mine, naive = Products.apply(x, start, w, v), naive_nade(x, start, w, v)
    torch.testing.assert_close(mine, naive, rtol=1e-10, atol=1e-10)
    for a, b in zip(
        torch.autograd.grad((mine * weight).sum(), (start, w, v)),
        torch.autograd.grad((naive * weight).sum(), (start, w, v), allow_unused=True),
    ):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-9, atol=1e-9)


def test_nade_log_prob_is_that_of_its_conditionals():
    model = nade(conditional=True)
    x, labels = torch.randint(2, (4, 1, 3, 4)), torch.tensor([2, 0, 1, 1])
    flat = x.flatten(1).double()
    logits = naive_nade(flat, model.c + model.label(labels), model.w, model.v) + model.bias
    expected = -F.binary_cross_entropy_with_logits(logits, flat, reduction="none").sum(1)
    torch.testing.assert_close(model.log_prob_levels(x, labels), expected)


def test_a_mixture_is_the_mean_of_its_components():
    model = made(orders=2, masks=2)
    x = torch.randint(2, (5, 1, 3, 4))
    each = torch.stack([model.log_prob_of(m, x) for m in range(4)])
    torch.testing.assert_close(model.log_prob_levels(x).exp(), each.exp().mean(0))
    assert (each.std(0) > 0.01).all()
    assert "2 orders x 2 masks" in model.protocol()


def test_the_objective_takes_components_in_turn_and_validates_the_mixture():
    model = made(orders=2, masks=1)
    images = model.dequantise(torch.randint(2, (5, 1, 3, 4)))
    x = model.quantise(images)
    objective = OrderAgnostic(NllConfig())
    for index in range(4):
        (phase,) = objective(model.train(), Batch(images=images), Step(seed=0, index=index))
        torch.testing.assert_close(phase.loss * 12, -model.log_prob_of(index % 2, x).mean())
    (phase,) = objective(model.eval(), Batch(images=images), Step(seed=0, index=1))
    torch.testing.assert_close(phase.loss * 12, -model.log_prob_levels(x).mean())


def test_bf16_autocast_keeps_sums_in_fp32():
    model = made().float()
    x = torch.randint(2, (2, 1, 3, 4))
    with torch.autocast("cpu", torch.bfloat16):
        assert model.log_prob_levels(x).dtype == torch.float32
        assert nade().float().log_prob_levels(x).dtype == torch.float32


# -- drawing ------------------------------------------------------------------------------------------------------


def last(events):
    *_, event = events
    return event


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_what_is_drawn_is_what_full_passes_draw(make, temperature):
    model = make(image=(2, 5, 6), conditional=True)
    labels = torch.arange(20) % 3
    step = Step(seed=3)
    drawn = last(model.draw_levels(20, step=step, labels=labels, temperature=temperature))
    assert torch.equal(drawn, full_passes(model, 20, step=step, labels=labels, temperature=temperature))
    assert drawn.dtype == torch.int64
    assert drawn.unique().tolist() == [0, 1]


def test_frequencies_are_the_density(make):
    image = (1, 1, 4)
    model, grids, n = make(image=image), all_grids(image), 20_000
    drawn = last(model.draw_levels(n, step=Step(seed=0)))
    counts = torch.bincount((drawn.flatten(1) * torch.tensor([8, 4, 2, 1])).sum(1), minlength=16)
    p = model.log_prob_levels(grids).exp()
    error = (counts / n - p).abs() / (p * (1 - p) / n).sqrt()
    assert error.max() < 4.5


def test_a_partial_after_each_row(make):
    *partials, grid = make(image=(1, 3, 4)).draw_levels(3, step=Step(seed=0))
    assert all(isinstance(p, Partial) for p in partials)
    assert [p.done for p in partials] == sorted(p.done for p in partials)
    assert partials[-1].done == partials[-1].total == 36
    assert torch.equal(partials[-1].images, grid.float() * 2 - 1)


def test_completion_is_exact():
    """x_below given x_above under a mixture of masks: frequencies against the enumerated conditional."""
    model, image, n = made((1, 2, 3), masks=3, hidden=6), (1, 2, 3), 20_000
    known = torch.tensor([[1, 0, 1], [-1, -1, -1]]).view(1, 1, 2, 3)
    drawn = last(model.draw_levels(n, step=Step(seed=0), known=known.expand(n, -1, -1, -1)))
    assert torch.equal(drawn[:, :, 0], known[:, :, 0].expand(n, -1, -1))
    grids = all_grids(image)
    fits = (grids[:, 0, 0] == torch.tensor([1, 0, 1])).all(1)
    p = model.log_prob_levels(grids[fits]).exp()
    p = p / p.sum()
    counts = torch.bincount((drawn[:, 0, 1] * torch.tensor([4, 2, 1])).sum(1), minlength=8)
    assert ((counts / n - p).abs() / (p * (1 - p) / n).sqrt()).max() < 4.5


def test_completion_takes_raster_components_and_refuses_what_it_cannot_give():
    model = made((1, 3, 4), orders=3, masks=2)
    known = torch.full((8, 1, 3, 4), -1)
    known[:, :, :2] = torch.randint(2, (8, 1, 2, 4))
    chosen = model.choose(8, Step(seed=0), None, known)
    assert set(chosen.tolist()) <= {0, 3}
    drawn = last(model.draw_levels(8, step=Step(seed=0), known=known))
    assert torch.equal(drawn[:, :, :2], known[:, :, :2])
    with pytest.raises(UsageError, match="upper rows"):
        last(model.draw_levels(8, step=Step(seed=0), known=known.flip(2)))


def test_nade_keeps_what_is_given():
    known = torch.full((4, 1, 3, 4), -1)
    known[:, :, 1] = 1
    drawn = last(nade().draw_levels(4, step=Step(seed=0), known=known))
    assert (drawn[:, :, 1] == 1).all()


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", [lambda i: Made(MadeConfig(), i), lambda i: Nade(NadeConfig(), i)], ids=["made", "nade"]
)
def test_refusals(model):
    with pytest.raises(UsageError, match="binarize"):
        model(DataInfo(image=(1, 8, 8), levels=17))
    with pytest.raises(UsageError, match="--data"):
        model(DataInfo(image=None, levels=2))
