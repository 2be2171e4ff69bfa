"""Messages of the worker: what is packed comes back, and nothing else is taken for a message."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gentool.tui.worker.wire import LENGTHS, WireError, lengths, pack, unpack

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
arrays = st.builds(
    lambda dtype, shape, seed: np.random.default_rng(seed).integers(0, 99, shape).astype(dtype),
    st.sampled_from(["uint8", "float32", "int64"]),
    st.lists(st.integers(0, 4), min_size=0, max_size=4),
    st.integers(0, 99),
)


@given(st.dictionaries(st.text(min_size=2).filter(lambda k: k not in ("kind", "arrays")), plain, max_size=3),
       st.dictionaries(st.text(max_size=5), arrays, max_size=3))  # fmt: skip
def test_a_message_comes_back(fields: dict, given_arrays: dict) -> None:
    data = pack("x", fields, given_arrays)
    header, body = lengths(data[: LENGTHS.size])
    assert len(data) == LENGTHS.size + header + body
    found = unpack(data[LENGTHS.size : LENGTHS.size + header], data[LENGTHS.size + header :])
    assert (found.kind, found.fields) == ("x", fields)
    assert found.arrays.keys() == given_arrays.keys()
    for name, array in given_arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert np.array_equal(found.arrays[name], array)


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_noise_is_no_message(header: bytes, body: bytes) -> None:
    with pytest.raises(WireError):
        unpack(header, body)


@pytest.mark.parametrize("header", [
    b'{"kind": "x", "arrays": {"a": {"dtype": "object", "shape": [1]}}}',
    b'{"kind": "x", "arrays": {"a": {"dtype": "uint8", "shape": [9]}}}',
    b'{"kind": "x", "arrays": {"a": {"dtype": "uint8", "shape": [-4, -1]}}}',
    b'{"kind": "x", "arrays": {}}',
    b'{"kind": 3, "arrays": {"a": {"dtype": "uint8", "shape": [4]}}}',
    b"[]",
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(header: bytes) -> None:
    with pytest.raises(WireError):
        unpack(header, b"four")


def test_impossible_lengths_are_refused_before_anything_is_read() -> None:
    with pytest.raises(WireError):
        lengths(LENGTHS.pack(2**32 - 1, 0))
    with pytest.raises(WireError):
        pack("x", {}, {"a": np.zeros(2, np.float64)})
