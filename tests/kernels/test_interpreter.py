"""The Triton launches, run by Triton's interpreter on a CPU: a process each, for the variable is read as kernels are made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gentool.kernels import has_triton

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not has_triton(), reason="Triton is not installed (pip install 'gentool[test]' on Linux)"
)


@pytest.mark.parametrize(
    ("file", "which"),
    [
        ("interpreted_vqvae.py", ""),
        ("interpreted_seq2seq.py", ""),
        ("interpreted_detect.py", "chains or launches or 33-20"),
        pytest.param("interpreted_detect.py", "", marks=pytest.mark.slow),
        ("interpreted_diffusion.py", "launch or gradients or 24-3"),
        pytest.param("interpreted_diffusion.py", "", marks=pytest.mark.slow),
        ("interpreted_chains.py", "neighbouring and two or full and nade"),
        pytest.param("interpreted_chains.py", "", marks=pytest.mark.slow),
        ("interpreted_scan.py", "tall"),
        pytest.param("interpreted_scan.py", "", marks=pytest.mark.slow),
        ("interpreted_autoregressive.py", "colours or known"),
        pytest.param("interpreted_autoregressive.py", "", marks=pytest.mark.slow),
        ("interpreted_rnn.py", "1-2 or launches"),
        pytest.param("interpreted_rnn.py", "", marks=pytest.mark.slow),
    ],
)
def test_interpreted(file, which):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", "-k", which, file],
        env={**os.environ, "TRITON_INTERPRET": "1", "GENTOOL_KERNELS": "triton", "OMP_NUM_THREADS": "1"},
        cwd=HERE,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
