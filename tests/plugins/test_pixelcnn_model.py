"""pixelcnn: the net against masked square kernels, its receptive field by the gradient, its likelihood by enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from gentool_autoregressive import NllConfig, PixelCNNConfig
from gentool_autoregressive.evaluate import Complete, ReceptiveField, seen
from gentool_autoregressive.field import receptive_field, slope
from gentool_autoregressive.loss import NegativeLogLikelihood
from gentool_autoregressive.model import Gate, PixelCNN
from hypothesis import given, settings
from hypothesis import strategies as st
from pixelcnn_nets import CLASSES, net

from gentool import Batch, Context, DataInfo, Step, UsageError

# -- the net ------------------------------------------------------------------------------------------------------


def masked_logits(model: PixelCNN, planes: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
    """Figure 2 of the paper by k x k kernels under masks, channels first: the oracle of the cropped kernels."""

    def square(weight, rows, columns, k):
        """The taps put back into a k x k kernel at the rows and columns that the mask keeps."""
        full = weight.new_zeros(*weight.shape[:2], k, k)
        full[:, :, rows, columns] = weight
        return full

    x = planes.permute(0, 3, 1, 2)
    v = h = x
    p = model.config.channels
    for i, layer in enumerate(model.layers):
        k = model.config.kernel if i else model.config.first_kernel
        middle = k // 2
        bias = x.new_zeros(1, 4 * p, 1, 1)
        if layer.label is not None:
            bias = bias + layer.label(labels)[:, :, None, None]
        if i == 0 and model.place is not None:
            bias = bias + model.place.permute(2, 0, 1)
        own = i > 0 and model.config.field == "full"
        kernel = square(layer.v.weight, slice(0, middle + own), slice(0, k), k)
        if i and not own:
            kernel[:, :, middle, middle] = layer.v_own.weight
        ab = F.conv2d(v, kernel, layer.v.bias, padding=middle) + bias[:, : 2 * p]
        kernel = square(layer.h.weight, slice(middle, middle + 1), slice(0, middle + (i > 0)), k)
        cd = F.conv2d(h, kernel, layer.h.bias, padding=middle) + bias[:, 2 * p :]
        cd = cd + F.conv2d(ab, layer.v_to_h.weight[:, :, None, None])
        y = torch.tanh(cd[:, :p]) * torch.sigmoid(cd[:, p:])
        y = F.conv2d(y, layer.out.weight[:, :, None, None], layer.out.bias)
        h = y if i == 0 else h + y
        v = torch.tanh(ab[:, :p]) * torch.sigmoid(ab[:, p:])
    made = []
    for c, (hidden, lower, logits) in enumerate(model.head.parts()):
        a = F.conv2d(F.relu(h), hidden.weight[:, :, None, None], hidden.bias)
        if lower is not None:
            assert lower.in_features == c * x.shape[1] // len(model.head.hidden)
            a = a + F.conv2d(x[:, : lower.in_features], lower.weight[:, :, None, None])
        made.append(F.conv2d(F.relu(a), logits.weight[:, :, None, None], logits.bias))
    return torch.stack(made, 1).permute(0, 3, 4, 1, 2)


@pytest.mark.parametrize(
    ("image", "levels", "config"),
    [
        ((1, 6, 7), 2, {}),
        ((1, 9, 5), 4, {"field": "cone", "conditional": True, "kernel": 5, "first_kernel": 5}),
        ((3, 6, 6), 7, {"conditional": True, "place": False}),
        ((1, 8, 8), 512, {"first_kernel": 3}),
        ((2, 4, 9), 5, {"input": "embedding", "layers": 1}),
    ],
)
def test_net_equals_masked_square_kernels(image, levels, config):
    model = net(image, levels, **config)
    x = torch.randint(levels, (3, *image))
    labels = torch.tensor([2, 0, 1]) if model.conditional else None
    planes = model.planes(x)
    torch.testing.assert_close(model(x, labels), masked_logits(model, planes, labels), rtol=1e-10, atol=1e-10)


def test_gate_and_its_gradient():
    ab = torch.randn(3, 2, 8, dtype=torch.float64, requires_grad=True)
    a, b = ab.chunk(2, -1)
    torch.testing.assert_close(Gate.apply(ab), torch.tanh(a) * torch.sigmoid(b))
    assert torch.autograd.gradcheck(Gate.apply, (ab,))


# -- what a pixel sees --------------------------------------------------------------------------------------------

KINDS = [((1, 7, 8), 2), ((1, 7, 8), 256), ((3, 7, 8), 256), ((1, 7, 8), 300)]


@pytest.mark.parametrize(("image", "levels"), KINDS, ids=["binary", "256-way", "colour", "codes"])
def test_every_earlier_pixel_is_seen_and_none_after(image, levels):
    """With enough layers: the past in raster order, all of it, and nothing else, at every place."""
    model = net(image, levels, layers=8, first_kernel=3)
    for place in range(7 * 8):
        amount = seen(model, place // 8, place % 8, tries=2).flatten()
        assert (amount[:place] > 0).all(), f"pixel {place} misses one before it"
        assert (amount[place:] == 0).all(), f"pixel {place} sees itself or a later one"


@settings(max_examples=25, deadline=None)
@given(
    first=st.sampled_from([3, 5, 7]),
    kernel=st.sampled_from([3, 5]),
    layers=st.integers(1, 4),
    field=st.sampled_from(["full", "cone"]),
    row=st.integers(0, 8),
    column=st.integers(0, 10),
)
def test_gradient_shows_the_field_that_the_config_gives(first, kernel, layers, field, row, column):
    model = net((1, 9, 11), first_kernel=first, kernel=kernel, layers=layers, field=field, channels=4)
    expected = torch.zeros(9, 11, dtype=torch.bool)
    for up, right in receptive_field(model.config, 9, 11):
        if up <= row and 0 <= column + right < 11:
            expected[row - up, column + right] = True
    assert torch.equal(seen(model, row, column, tries=2) > 0, expected)


@settings(max_examples=40, deadline=None)
@given(
    first=st.sampled_from([3, 5, 7, 9]),
    kernel=st.sampled_from([3, 5, 7]),
    layers=st.integers(1, 5),
    field=st.sampled_from(["full", "cone"]),
)
def test_slope_is_the_least_that_the_field_allows(first, kernel, layers, field):
    config = PixelCNNConfig(first_kernel=first, kernel=kernel, layers=layers, field=field)
    size = 60  # larger than any of these fields
    offsets = receptive_field(config, size, size)
    assert slope(config) == max(right // up + 1 for up, right in offsets if up > 0)


def test_colours_come_in_turn():
    """Within a pixel, the logits of channel c depend on the channels before c, and on no other."""
    model = net((3, 4, 5), 256)
    planes = model.planes(torch.randint(256, (2, 3, 4, 5))).requires_grad_()
    logits = model.logits(planes)
    for c in range(3):
        (gradient,) = torch.autograd.grad(logits[:, 2, 3, c].abs().sum(), planes, retain_graph=True)
        own = gradient[:, 2, 3].abs().sum(0)
        assert (own[:c] > 0).all()
        assert (own[c:] == 0).all()
        assert (gradient[:, 2, 2] != 0).all(), "the pixel before, in all its colours"


# -- the likelihood -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("image", "levels"), [((1, 3, 3), 2), ((1, 2, 3), 3), ((3, 1, 2), 3), ((2, 2, 1), 5)])
def test_probabilities_of_all_grids_sum_to_one(image, levels):
    model = net(image, levels, conditional=True)
    grids = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(image)))).view(-1, *image)
    for label in range(3):
        log_p = model.log_prob_levels(grids, torch.full((len(grids),), label))
        assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)  # the log-softmax is in float32
    assert (log_p.exp().max() / log_p.exp().min()) > 2, "a uniform density proves nothing"


def test_labels_change_the_density_of_a_conditional_net():
    model = net(conditional=True)
    x = torch.randint(2, (1, 1, 6, 7)).expand(3, -1, -1, -1)
    assert len(set(model.log_prob_levels(x, torch.arange(3)).tolist())) == 3


@pytest.mark.parametrize("levels", [2, 3, 16, 17, 100, 255, 256])
def test_levels_and_pictures_round_trip(levels):
    model = net((1, 1, levels), levels, input="scalar")
    x = torch.arange(levels).view(1, 1, 1, levels)
    images = model.dequantise(x)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (-1, 1)
    assert torch.equal(model.quantise(images), x)
    torch.testing.assert_close(model.planes(x).flatten(), images.flatten().double(), rtol=0, atol=1e-6)
    assert torch.equal(model.quantise(x.float().div((levels - 1) / 2).sub(1)), x), "the host's own scaling"


def test_log_prob_of_pictures_is_that_of_their_levels():
    model = net((3, 4, 5), 17)
    x = torch.randint(17, (4, 3, 4, 5))
    assert torch.equal(model.log_prob(model.dequantise(x)), model.log_prob_levels(x))


def test_objective_is_nats_per_dimension():
    model = net((3, 4, 5), 17).float()
    images = model.dequantise(torch.randint(17, (4, 3, 4, 5)))
    (phase,) = NegativeLogLikelihood(NllConfig())(model, Batch(images=images), Step(seed=0))
    nll = -model.log_prob(images).mean().item()
    assert phase.loss.item() == pytest.approx(nll / 60, rel=1e-6)
    assert float(phase.scalars["nll"]) == pytest.approx(nll, rel=1e-6)
    assert float(phase.scalars["bits/dim"]) == pytest.approx(nll / 60 / math.log(2), rel=1e-6)


def test_bf16_autocast_keeps_the_loss_in_fp32():
    model = net(levels=16).float()
    x = torch.randint(16, (2, 1, 6, 7))
    with torch.autocast("cpu", torch.bfloat16):
        log_p = model.log_prob_levels(x)
        log_p.sum().backward()
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p, model.log_prob_levels(x), rtol=0.02, atol=0)


def test_training_learns_a_pattern():
    model = PixelCNN(PixelCNNConfig(channels=8, layers=2, hidden=8), DataInfo(image=(1, 6, 6), levels=2))
    optimiser = torch.optim.Adam(model.parameters(), 2e-2)
    columns = (torch.arange(6) % 2).expand(8, 1, 6, 6).clone()
    columns[::2] = 1 - columns[::2]  # stripes or their negative: one bit, in the first pixel
    for _ in range(60):
        optimiser.zero_grad()
        loss = -model.log_prob_levels(columns).mean()
        loss.backward()
        optimiser.step()
    assert math.log(2) - 0.01 < loss.item() < math.log(2) + 0.3


def test_codes_are_embedded_and_amounts_are_not():
    assert net(levels=256).embedding is None
    assert net(levels=64, extra={"codes": True}).embedding is not None
    assert net(levels=512).embedding is not None
    assert net(levels=512, input="scalar").embedding is None


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "info", "word"),
    [
        ({"kernel": 4}, {}, "odd"),
        ({"first_kernel": 6}, {}, "odd"),
        ({"conditional": True}, {"classes": ()}, "classes"),
        ({}, {"image": None}, "--data"),
        ({}, {"levels": 1}, "levels"),
    ],
)
def test_refusals(change, info, word):
    with pytest.raises(UsageError, match=word):
        PixelCNN(PixelCNNConfig(**change), DataInfo(**{"image": (1, 8, 8), "levels": 2, "classes": CLASSES, **info}))


def test_conditional_net_refuses_to_go_without_labels():
    with pytest.raises(UsageError, match="label"):
        net(conditional=True).log_prob_levels(torch.zeros(1, 1, 6, 7, dtype=torch.int64))


# -- views --------------------------------------------------------------------------------------------------------


def context(model: PixelCNN, images: torch.Tensor, labels: torch.Tensor) -> Context:
    return Context(
        model=model,
        model_name="pixelcnn",
        info=model.info,
        step=Step(seed=0),
        device=torch.device("cpu"),
        dataset="none",
        split="test",
        limit=None,
        open_batches=lambda split, limit: iter([Batch(images=images[:limit], labels=labels[:limit])]),
        draw_samples=None,
    )


def test_complete_keeps_what_is_given():
    from gentool_autoregressive import CompleteConfig

    model = net((1, 6, 7), 5, conditional=True)
    images = model.dequantise(torch.randint(5, (9, 1, 6, 7)))
    report = Complete(CompleteConfig(n=4, tries=3), context(model, images, torch.arange(9) % 3)).compute()
    shown = report.pictures[0].images.view(4, 5, 1, 6, 7)
    assert report.pictures[0].columns == 5
    assert torch.equal(shown[:, 0], images[:4])
    assert torch.equal(shown[:, 2:, :, :3], images[:4, None, :, :3].expand(-1, 3, -1, -1, -1))
    assert not torch.equal(shown[:, 2, :, 3:], shown[:, 3, :, 3:])


def test_receptive_field_view_counts():
    model = net((1, 8, 8), layers=7)
    report = ReceptiveField(None, context(model, None, None)).compute()
    values = {scalar.name: scalar.value for scalar in report.scalars}
    assert values["earlier pixels seen"] == 4 * 8 + 4
    assert values["itself or later ones seen"] == 0
    assert report.pictures[0].images[0, 0, 4, 4] == 1
