"""The worker as the application uses it: a real process, a model that misbehaves on demand, and shipped ones."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import imp_family as imp
import numpy as np
import pytest

from gentool.tui.worker.client import Worker, WorkerError

T = TypeVar("T")
PLUGIN = Path(imp.__file__)
Run = Callable[[Callable[[Worker], Awaitable[T]]], T]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imp")
    (folder / "plain.safetensors").write_bytes(imp.checkpoint())
    (folder / "classes.safetensors").write_bytes(imp.checkpoint(("a", "b", "c")))
    return folder


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    """`run(coroutine function of a worker)`: one worker for all tests, since starting torch takes seconds."""
    with asyncio.Runner() as runner:
        made: list[Worker] = []

        async def call(work: Any) -> Any:
            if not made:
                made.append(Worker(env={"OMP_NUM_THREADS": "1"}))
            return await asyncio.wait_for(work(made[0]), 60)

        yield lambda work: runner.run(call(work))
        runner.run(made[0].stop())


async def opened(worker: Worker, file: Path) -> dict[str, Any]:
    found = await worker.ask("open", source=str(file), plugins=[str(PLUGIN)], device="cpu")
    assert found is not None
    return found.fields


async def refusal(worker: Worker, kind: str, arrays: Any = None, **fields: Any) -> tuple[str, str]:
    with pytest.raises(WorkerError) as error:
        await worker.ask(kind, arrays, **fields)
    return error.value.kind, str(error.value)


def test_it_says_what_a_model_can_do(run: Run, files: Path) -> None:
    async def work(worker: Worker) -> None:
        await worker.stop()
        worker.opened = None  # else the next request opens what another test has opened
        assert await refusal(worker, "sample") == ("refused", "No model is open; choose one first.")
        about = await opened(worker, files / "classes.safetensors")
        assert (about["model"], about["latent"], about["step"]) == ("imp", 3, 3)
        assert (about["conditional"], about["classes"]) == (True, ["a", "b", "c"])
        assert about["samplers"]["imp-draw"] == {"deed": "paint", "steps": 20, "pause": 0.0}
        assert about["sampler"] == "imp-draw"

    run(work)


def test_samples_come_with_what_is_painted_on_the_way(run: Run, files: Path) -> None:
    async def work(worker: Worker) -> None:
        await opened(worker, files / "plain.safetensors")
        events = [m async for m in worker.request("sample", n=5, seed=2, options={"pause": 0.01})]
        partials, last = events[:-1], events[-1]
        assert {m.kind for m in partials} == {"partial"}
        assert 1 < len(partials) <= 20
        assert all(m.arrays["images"].shape == (5, 6, 6, 1) for m in partials)
        done = [m["done"] for m in partials]
        assert done == sorted(done)
        assert last.kind == "samples"
        again = await worker.ask("sample", n=5, seed=2)
        assert again is not None
        assert np.array_equal(last.arrays["images"], again.arrays["images"])
        other = await worker.ask("sample", n=5, seed=3)
        assert other is not None
        assert not np.array_equal(last.arrays["images"], other.arrays["images"])

    run(work)


def test_latent_vectors_are_drawn_decoded_ordered_and_walked(run: Run, files: Path) -> None:
    async def work(worker: Worker) -> None:
        await opened(worker, files / "classes.safetensors")
        drawn = await worker.ask("latents", n=6, seed=1)
        assert drawn is not None
        z, labels = drawn.arrays["z"], drawn.arrays["labels"]
        assert labels.tolist() == [0, 1, 2, 0, 1, 2]
        shade = z + labels[:, None] * np.array([1.0, 0, 0])
        expected = np.rint((np.tanh(shade) + 1) * 127.5)
        assert np.abs(drawn.arrays["images"][:, ::2, 0, 0] - expected).max() <= 1
        again = await worker.ask("decode", {"z": z, "labels": labels})
        assert again is not None
        assert np.array_equal(again.arrays["images"], drawn.arrays["images"])
        effects = await worker.ask("effects", {"z": z[:1]})
        assert effects is not None
        assert effects.arrays["change"].shape == (3,)
        way = await worker.ask("interpolate", {"z": z[:2], "labels": labels[1:3]}, steps=7)
        assert way is not None
        assert np.allclose(way.arrays["z"][[0, -1]], z[:2], atol=1e-5)
        assert way.arrays["images"].shape == (7, 6, 6, 1)
        kind, why = await refusal(worker, "decode", {"z": z[:, :2]})
        assert (kind, why) == ("refused", "Latent vectors of 'imp' have 3 numbers.")
        assert (await refusal(worker, "latents", n=2, **{"class": 3}))[0] == "refused"

    run(work)


def test_of_the_requests_of_a_channel_the_newest_is_obeyed(run: Run, files: Path) -> None:
    async def work(worker: Worker) -> None:
        await opened(worker, files / "plain.safetensors")
        block = worker.request("sample", n=1, options={"pause": 0.01})
        many = [worker.request("decode", {"z": np.full((1, 3), i, np.float32)}, channel="d") for i in range(30)]
        obeyed = []
        for number, reply in enumerate(many):
            async for message in reply:
                assert message.kind == "decoded"
                obeyed.append(number)
            assert reply.ended in ("done", "cancelled")
        assert obeyed == [29]
        assert [m.kind async for m in block][-1] == "samples"

    run(work)


def test_a_running_request_is_cancelled(run: Run, files: Path) -> None:
    async def work(worker: Worker) -> None:
        await opened(worker, files / "plain.safetensors")
        long = worker.request("sample", n=1, options={"pause": 0.02, "steps": 10_000})
        assert (await anext(long)).kind == "partial"
        begun = time.monotonic()
        long.cancel()
        assert all([m.kind == "partial" async for m in long])
        assert long.ended == "cancelled"
        assert time.monotonic() - begun < 2
        assert await worker.ask("sample", n=1) is not None

    run(work)


@pytest.mark.parametrize(("deed", "kind", "words"), [
    ("refuse", "refused", "It does not want to."),
    ("memory", "failed", "There is not enough memory for this; ask for fewer at once."),
    ("raise", "failed", r"The model failed (ZeroDivisionError: [bold]\x1b[31mno)."),
])  # fmt: skip
def test_what_a_model_does_wrong_is_one_sentence(run: Run, files: Path, deed: str, kind: str, words: str) -> None:
    async def work(worker: Worker) -> None:
        await opened(worker, files / "plain.safetensors")
        before = worker.pid
        assert await refusal(worker, "sample", n=1, options={"deed": deed}) == (kind, words)
        assert worker.pid == before
        assert await worker.ask("sample", n=1) is not None

    run(work)


def test_wrong_requests_are_refused(run: Run, files: Path) -> None:
    async def work(worker: Worker) -> None:
        await opened(worker, files / "plain.safetensors")
        assert "Between 1 and" in (await refusal(worker, "sample", n=0))[1]
        assert "Between 1 and" in (await refusal(worker, "sample", n=10**9))[1]
        assert "steps" in (await refusal(worker, "sample", n=1, options={"steps": 0}))[1]
        assert "no request 'dance'" in (await refusal(worker, "dance"))[1]
        assert "There is no sampler" in (await refusal(worker, "sample", n=1, sampler="imp-drow"))[1]
        assert "turns no picture" in (await refusal(worker, "encode", path="x.png"))[1]
        kind, why = await refusal(worker, "open", source="no-such-thing", runs=str(files))
        assert kind == "refused"
        assert "no-such-thing" in why

    run(work)


def test_what_is_printed_stays_out_of_the_pipe(run: Run, files: Path) -> None:
    async def work(worker: Worker) -> None:
        await opened(worker, files / "plain.safetensors")
        found = await worker.ask("sample", n=1, options={"deed": "print"})
        assert found is not None
        assert found.kind == "samples"

    run(work)


@pytest.mark.parametrize(("deed", "words"), [
    ("kill", "The model's process was killed, most likely for want of memory; ask again to start a new one."),
    ("exit", r"The model's process ended with code 7 (last words \x1b[31mof it); ask again to start a new one.",
),
])  # fmt: skip
@pytest.mark.slow  # one death is in the default tests: of the page that plays with it
def test_a_worker_that_dies_says_so_and_comes_back_with_its_model(run: Run, files: Path, deed: str, words: str) -> None:
    async def work(worker: Worker) -> None:
        await opened(worker, files / "plain.safetensors")
        before = worker.pid
        waiting = worker.request("sample", n=1, options={"deed": deed})
        behind = worker.request("latents", n=2)
        for reply in (waiting, behind):
            with pytest.raises(WorkerError) as error:
                _ = [m async for m in reply]
            assert (error.value.kind, str(error.value)) == ("gone", words)
        assert not worker.alive
        found = await worker.ask("latents", n=2)  # a new process, the same model
        assert found is not None
        assert worker.pid not in (None, before)

    run(work)


def test_shipped_models_draw_pictures_and_stream_text(run: Run) -> None:
    async def work(worker: Worker) -> None:
        about = await worker.ask("open", source="vae", pretrained=True, device="cpu")
        assert about is not None
        assert about["latent"] == 50
        drawn = await worker.ask("latents", n=2, seed=0)
        assert drawn is not None
        assert drawn.arrays["images"].shape == (2, 28, 28, 1)
        assert drawn.arrays["images"].max() > 200
        await worker.ask("open", source="pixelcnn", pretrained=True, device="cpu")
        events = [m async for m in worker.request("sample", n=1, seed=0)]
        assert sum(m.kind == "partial" and "images" in m.arrays for m in events) >= 2
        await worker.ask("open", source="charlm", pretrained=True, device="cpu")
        options = {"prompt": "ROMEO:", "length": 60, "temperature": 0.7}
        texts = [m["text"][0] async for m in worker.request("sample", n=1, options=options)]
        assert all(text.startswith("ROMEO:") for text in texts)
        assert all(late.startswith(early) for early, late in itertools.pairwise(texts))
        assert len(texts[-1]) == 66
        await worker.ask("open", source="seq2seq", pretrained=True, device="cpu")
        found = await worker.ask("sample", n=1, options={"prompt": "forty two"})
        assert found is not None
        assert found["text"] == ["zwei und vierzig"]
        report = await worker.ask("view", name="attention", options={"prompt": "forty two"})
        assert report is not None
        assert report["heatmaps"][0]["columns"][:2] == ["forty", "two"]

    run(work)


PARENT = """
import asyncio, sys
from gentool.tui.worker.client import Worker

async def main():
    worker = Worker()
    await worker.start()
    print(worker.pid, "torch" in sys.modules, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def gone(pid: int) -> bool:
    """Whether a process is no more (a zombie waits only to be counted)."""
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_dies_with_its_parent_and_the_parent_never_imports_torch() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid, torch = parent.stdout.readline().split()
        assert torch == "False"
        assert not gone(int(pid))
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        if parent.stdout:
            parent.stdout.close()
    deadline = time.monotonic() + 20
    while not gone(int(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone(int(pid))
