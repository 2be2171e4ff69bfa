"""pixelrnn: the scan against slow loops over pixels, its gradient, its field, its likelihood, and what it draws."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from gentool_autoregressive import PixelRNNConfig, scan_kernel
from gentool_autoregressive.evaluate import seen
from gentool_autoregressive.pixelrnn import DiagonalBiLSTM, PixelRNN, RowLSTM
from gentool_autoregressive.sampler import reevaluate
from gentool_autoregressive.scan import Lines, Scan, scan
from hypothesis import given, settings
from hypothesis import strategies as st

from gentool import DataInfo, Partial, Step, UsageError

KINDS = ("row-lstm", "diagonal-bilstm")
CLASSES = ("a", "b", "c")


def net(image=(1, 6, 7), levels=2, **config) -> PixelRNN:
    """A small net in float64 whose logits vary from place to place."""
    torch.manual_seed(0)
    config = {"hidden": 3, "layers": 2, "head": 5, "embed": 3, "first_kernel": 5, **config}
    model = PixelRNN(PixelRNNConfig(**config), DataInfo(image=image, levels=levels, classes=CLASSES))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model.double().eval()


# -- the layers, pixel by pixel, without skewing -------------------------------------------------------------------


def cell(a, c):
    """Equation 3 of the paper."""
    i, f, o, g = a.chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def slow_row_lstm(layer: RowLSTM, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x (H, W, N, 2h): each row from the one above, by convolutions as torch has them."""
    height, width, n, p = x.shape
    hidden, k = p // 2, layer.state.shape[1]
    k_is = layer.input.weight.view(4 * hidden, layer.taps, p).transpose(1, 2)  # (4h, 2h, taps)
    k_ss = layer.state[0].permute(2, 1, 0)  # (4h, h, k)
    h = c = x.new_zeros(n, hidden, width)
    rows = []
    for r in range(height):
        row = x[r].permute(1, 2, 0)
        a = F.conv1d(F.pad(row, (layer.taps - 1, 0)), k_is) + F.conv1d(h, k_ss, padding=k // 2) + bias[:, :, None]
        h, c = (y.transpose(1, 2) for y in cell(a.transpose(1, 2), c.transpose(1, 2)))
        rows.append(x[r] + layer.out(h.permute(2, 0, 1)))
    return torch.stack(rows)


def slow_diagonal(layer: DiagonalBiLSTM, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x (H, W, N, 2h): pixel by pixel in raster order, and in mirrored raster order."""
    height, width, n, p = x.shape
    hidden = p // 2
    zero = x.new_zeros(n, hidden)
    total = torch.zeros(height, width, n, hidden, dtype=x.dtype)
    for direction, towards in ((0, 1), (1, -1)):
        size = slice(direction * 4 * hidden, (direction + 1) * 4 * hidden)
        h: dict[tuple[int, int], torch.Tensor] = {}
        c: dict[tuple[int, int], torch.Tensor] = {}
        for r in range(height):
            for col in range(width)[::towards]:
                beside, above = (r, col - towards), (r - 1, col)
                a = x[r, col] @ layer.input.weight[size].t() + bias[:, size]
                a = a + h.get(above, zero) @ layer.state[direction, 0] + h.get(beside, zero) @ layer.state[direction, 1]
                h[r, col], c[r, col] = cell(a, c.get(beside, zero))
                to = r + direction  # against the raster: what is in a pixel's own row is not before it
                if to < height:
                    total[to, col] += h[r, col]
    return x + layer.out(total)


@pytest.mark.parametrize("size", [(5, 7), (7, 4), (1, 6), (6, 1)])
@pytest.mark.parametrize("kind", ["row 1", "row 3", "row 5", "diagonal"])
@pytest.mark.parametrize("classes", [0, 3])
def test_layers_equal_slow_loops(kind, size, classes):
    torch.manual_seed(0)
    name, _, k = kind.partition(" ")
    layer = (RowLSTM(4, int(k), classes) if name == "row" else DiagonalBiLSTM(4, classes)).double()
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(0.6 * torch.randn_like(weight))
    x = torch.randn(*size, 3, 8, dtype=torch.float64)
    labels = torch.tensor([2, 0, 1]) if classes else None
    bias = layer.input.bias + (layer.label(labels) if classes else torch.zeros(3, 1).double())
    slow = slow_row_lstm if name == "row" else slow_diagonal
    torch.testing.assert_close(layer(x, labels), slow(layer, x, bias), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("diagonal", "offsets"), [(True, (-1, 0)), (False, (-1, 0, 1)), (False, (0,))])
def test_gradient_of_the_scan(diagonal, offsets):
    torch.manual_seed(0)
    x = torch.randn(2, 2, 3, 1, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, len(offsets), 1, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: Scan.apply(x, w, Lines(2, 3, diagonal), offsets), (x, w))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_lines_are_a_partition_of_the_picture(height, width, diagonal):
    lines = Lines(height, width, diagonal)
    x = torch.arange(height * width).view(1, height, width, 1, 1)
    seen = torch.cat([lines.of(x, t).flatten() for t in range(lines.count)])
    assert torch.equal(seen.sort().values, x.flatten())
    for t in range(lines.count):
        first, stop = lines.there(t)
        place = [t - r if diagonal else r for r in range(first, stop)]
        assert [int(v) % width for v in lines.of(x, t).flatten()] == place


def test_no_gradient_is_kept_where_none_is_asked_for():
    x, w = torch.randn(1, 2, 3, 1, 8), torch.randn(1, 1, 2, 8, requires_grad=True)
    with torch.no_grad():
        assert not scan(x, w, Lines(2, 3, False), (0,)).requires_grad
    made = scan(x, w, Lines(2, 3, False), (0,))
    assert made.requires_grad
    strided = x.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(scan(strided, w, Lines(2, 3, False), (0,)), made)


# -- what a pixel sees --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("image", "levels"), [((1, 6, 7), 2), ((3, 6, 7), 256)], ids=["binary", "colour"])
def test_diagonal_bilstm_sees_all_that_is_before(image, levels):
    """But for one pixel, and so it is in the paper: the last of the row above is in no feature of that row, so the states
    that come from the right do not carry it; it is seen where the first convolution reaches it, and from the next row on.
    """
    model = net(image, levels, kind="diagonal-bilstm")
    for place in range(0, 6 * 7, 1 if levels == 2 else 5):
        row, column = divmod(place, 7)
        before = torch.arange(42).view(6, 7) < place
        if row and column + model.first.reach < 6:
            before[row - 1, 6] = False
        assert torch.equal(seen(model, row, column, tries=2) > 0, before), (row, column)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_row_lstm_sees_a_triangle(layers, kernel):
    """Each row up adds k // 2 columns at both sides, each layer k // 2 to the left, on top of the first convolution."""
    model = net((1, 6, 9), kind="row-lstm", layers=layers, kernel=kernel, first_kernel=3)
    reach = kernel // 2
    for row, column in ((0, 4), (3, 0), (4, 4), (5, 8)):
        expected = torch.zeros(6, 9, dtype=torch.bool)
        features = {(row, column)}
        for _ in range(layers):
            features |= {(r, c - left) for r, c in features for left in range(reach + 1)}
            for up in range(1, row + 1):
                features |= {
                    (r - 1, c + across)
                    for r, c in features
                    if r == row - up + 1
                    for across in range(-reach, reach + 1)
                    if r >= 1
                }
        for r, c in features:
            if not 0 <= c < 9:
                continue
            if c >= 1:
                expected[r, c - 1] = True
            if r >= 1:
                expected[r - 1, max(0, c - 1) : c + 2] = True
        assert torch.equal(seen(model, row, column, tries=2) > 0, expected), (row, column)


@pytest.mark.parametrize("kind", KINDS)
def test_colours_come_in_turn(kind):
    model = net((3, 4, 5), 256, kind=kind)
    planes = model.planes(torch.randint(256, (2, 3, 4, 5))).requires_grad_()
    logits = model.logits(planes)
    for c in range(3):
        (gradient,) = torch.autograd.grad(logits[:, 2, 3, c].abs().sum(), planes, retain_graph=True)
        own = gradient[:, 2, 3].abs().sum(0)
        assert (own[:c] > 0).all()
        assert (own[c:] == 0).all()


# -- the likelihood -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("image", "levels"), [((1, 3, 3), 2), ((3, 1, 2), 3)])
@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_of_all_grids_sum_to_one(kind, image, levels):
    model = net(image, levels, kind=kind, conditional=True)
    grids = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(image)))).view(-1, *image)
    for label in range(3):
        p = model.log_prob_levels(grids, torch.full((len(grids),), label)).exp()
        assert p.sum().item() == pytest.approx(1, abs=1e-5)  # the log-softmax is in float32
        assert p.max() / p.min() > 2


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_autocast_agrees(kind):
    model = net(levels=16, kind=kind).float()
    x = torch.randint(16, (2, 1, 6, 7))
    with torch.autocast("cpu", torch.bfloat16):
        log_p = model.log_prob_levels(x)
        log_p.sum().backward()
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p, model.log_prob_levels(x), rtol=0.02, atol=0)
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


# -- drawing ------------------------------------------------------------------------------------------------------


def last(events):
    *_, event = events
    return event


@pytest.mark.parametrize(
    ("image", "levels", "config"),
    [
        ((1, 6, 7), 2, {"conditional": True}),
        ((1, 5, 4), 17, {"layers": 1, "place": False, "kernel": 5}),
        ((3, 4, 5), 6, {"conditional": True, "layers": 3}),
        ((1, 4, 4), 300, {"first_kernel": 3}),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_carried_states_draw_what_reevaluation_draws(kind, image, levels, config):
    model = net(image, levels, kind=kind, **config)
    labels = torch.tensor([0, 2, 1]) if model.conditional else None
    for temperature in (1.0, 0.5):
        anew = reevaluate(model, 3, step=Step(seed=1), labels=labels, temperature=temperature)
        drawn = last(model.draw_levels(3, step=Step(seed=1), labels=labels, temperature=temperature))
        assert torch.equal(drawn, anew)
    assert anew.unique().numel() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_known_pixels_are_kept_and_the_rest_follows_them(kind):
    model = net((1, 5, 6), 3, kind=kind)
    known = torch.full((4, 1, 5, 6), -1)
    known[:, :, :2] = torch.randint(3, (4, 1, 2, 6))
    drawn = last(model.draw_levels(4, step=Step(seed=0), known=known))
    assert torch.equal(drawn[:, :, :2], known[:, :, :2])
    again = last(model.draw_levels(4, step=Step(seed=0), known=torch.where(known < 0, known, drawn)))
    assert torch.equal(again, drawn)
    assert not torch.equal(last(model.draw_levels(4, step=Step(seed=0)))[:, :, 2:], drawn[:, :, 2:])


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_do_not_depend_on_how_many_are_painted_at_a_time(kind, monkeypatch):
    from gentool_autoregressive import carried

    model = net(kind=kind, conditional=True)
    labels = torch.arange(7) % 3
    whole = last(model.draw_levels(7, step=Step(seed=0), labels=labels))
    monkeypatch.setattr(carried, "CACHE_BYTES", 1)
    *partials, parts = model.draw_levels(7, step=Step(seed=0), labels=labels)
    assert torch.equal(whole, parts)
    assert all(isinstance(p, Partial) for p in partials)
    assert [p.done for p in partials] == [7 * i for i in range(1, 43)]


@pytest.mark.parametrize("change", [{"kernel": 4}, {"first_kernel": 6}])
def test_even_kernels_are_refused(change):
    with pytest.raises(UsageError, match="odd"):
        net(**change)


@pytest.mark.parametrize(("diagonal", "offsets"), [(True, (-1, 0)), (False, (-1, 0, 1)), (False, (0,))])
def test_the_plain_form_of_the_launches_is_the_scan(diagonal, offsets):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 2, 8, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, len(offsets), 2, 8, dtype=torch.float64, requires_grad=True)
    exact = Scan.apply(x, w, Lines(3, 4, diagonal), offsets)
    h, gates, c = scan_kernel.plain_scan(x.detach(), w.detach(), offsets[0], diagonal)
    torch.testing.assert_close(h, exact)
    grad = torch.randn_like(h)
    dx, dw = torch.autograd.grad(exact, (x, w), grad)
    mine = scan_kernel.plain_scan_backward(grad, gates, c, w.detach(), offsets[0], diagonal)
    torch.testing.assert_close(mine, dx)
    torch.testing.assert_close(scan_kernel.weight_gradient(h, mine, len(offsets), offsets[0], diagonal), dw)
