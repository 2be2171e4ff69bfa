"""What the operations of detection cost on a CPU, beside other ways to do the same, in one run.

    OMP_NUM_THREADS=1 python examples/bench_detection.py [nms] [roi] [map] [--rounds 5] [--skip-pycocotools] [--json]
    python examples/bench_detection.py --make FOLDER      # only writes the files that `map` reads

nms: 20,000 boxes, a loop over survivors and (where it is installed) OpenCV beside ours. roi: RoI align of 1000 regions to
7 x 7 of 256 channels, forward and with gradients, beside one call of grid_sample. map: a results file as large as one of
COCO's validation set (5000 pictures, 80 categories, 100 detections each), each engine in a process of its own: CPU seconds
of parsing and of scoring, and the most memory the process ever had. CPU time, the ways take turns, medians.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ENGINES = ("gentool", "gentool eval", "hotcoco", "pycocotools")


def timed(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median CPU milliseconds of each way; the ways take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.process_time()
            way()
            times[name].append(1e3 * (time.process_time() - begin))
    return {name: round(statistics.median(values), 1) for name, values in times.items()}


# -- NMS --------------------------------------------------------------------------------------------------------------


def random_boxes(n: int, rng: np.random.Generator) -> Any:
    """Anywhere on a picture of 1000 x 1000, 20 to 100 pixels a side."""
    centre, side = rng.random((n, 2)) * 1000, rng.random((n, 2)) * 80 + 20
    return np.concatenate((centre - side / 2, centre + side / 2), 1).astype(np.float32)


def clustered_boxes(n: int, rng: np.random.Generator) -> Any:
    """About 200 things: what a detector finds before suppression."""
    things, sides = rng.random((200, 2)) * 1000, rng.random((200, 2)) * 150 + 50
    which = rng.integers(0, 200, n)
    centre = things[which] + rng.normal(size=(n, 2)) * sides[which] * 0.1
    side = sides[which] * np.exp(rng.normal(size=(n, 2)) * 0.1)
    return np.concatenate((centre - side / 2, centre + side / 2), 1).astype(np.float32)


def loop_nms(boxes: Any, threshold: float) -> Any:
    """What is usually written: each survivor against all that are left."""
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.T)
    area, left, kept = (x2 - x1) * (y2 - y1), np.arange(len(boxes)), []
    while len(left):
        best, rest = left[0], left[1:]
        kept.append(best)
        wide = np.maximum(np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]), 0)
        common = wide * np.maximum(np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]), 0)
        left = rest[common <= threshold * (area[best] + area[rest] - common)]
    return np.array(kept)


def bench_nms(rounds: int) -> list[dict[str, Any]]:
    import torch
    from gentool_detect.nms import nms

    rows = []
    for name, make, threshold in (("clustered, 0.7", clustered_boxes, 0.7), ("random, 0.5", random_boxes, 0.5)):
        rng = np.random.default_rng(0)
        boxes = make(20_000, rng)
        scores = np.sort(rng.random(len(boxes)).astype(np.float32))[::-1].copy()
        tensors = torch.from_numpy(boxes), torch.from_numpy(scores)
        ways: dict[str, Callable[[], Any]] = {
            "ours": lambda: nms(*tensors, threshold),  # noqa: B023
            "loop over survivors": lambda: loop_nms(boxes, threshold),  # noqa: B023
        }
        assert ways["ours"]().tolist() == ways["loop over survivors"]().tolist()
        try:
            import cv2

            sides = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1).astype(np.float64)
            ways["OpenCV"] = lambda: cv2.dnn.NMSBoxes(sides, scores, 0.0, threshold)  # noqa: B023
        except ImportError:
            pass
        rows.append({"NMS of 20,000 boxes": name, "stay": len(ways["ours"]()), **_milliseconds(timed(ways, rounds))})
    return rows


def _milliseconds(times: dict[str, float]) -> dict[str, float]:
    return {f"{name}, ms": value for name, value in times.items()}


# -- RoI align --------------------------------------------------------------------------------------------------------


def grid_sample_align(features: Any, rois: Any, scale: float) -> Any:
    """RoI align of one picture by one call of grid_sample, two samples a bin along each axis."""
    import torch
    from torch.nn import functional as F

    (_, c, height, width), k = features.shape, len(rois)
    start, side = rois[:, 1:3] * scale - 0.5, (rois[:, 3:] - rois[:, 1:3]) * scale
    at = (torch.arange(14) + 0.5) / 14
    x = (start[:, :1] + side[:, :1] * at).clamp(0, width - 1) / (width - 1) * 2 - 1
    y = (start[:, 1:] + side[:, 1:] * at).clamp(0, height - 1) / (height - 1) * 2 - 1
    grid = torch.stack((x[:, None, :].expand(k, 14, 14), y[:, :, None].expand(k, 14, 14)), -1)
    sampled = F.grid_sample(features, grid.reshape(1, 14 * k, 14, 2), align_corners=True)
    return F.avg_pool2d(sampled, 2).view(c, k, 7, 7).transpose(0, 1)


def bench_roi(rounds: int) -> list[dict[str, Any]]:
    import torch
    from gentool_detect.roi import roi_align, roi_pool

    torch.manual_seed(0)
    features = torch.randn(1, 256, 50, 50, requires_grad=True)
    centre, side = torch.rand(1000, 2) * 600 + 100, torch.rand(1000, 2) * 180 + 20
    rois = torch.cat((torch.zeros(1000, 1), centre - side / 2, centre + side / 2), 1)
    ways = {
        "ours": lambda: roi_align(features, rois, (7, 7), 1 / 16, 2),
        "grid_sample": lambda: grid_sample_align(features, rois, 1 / 16),
        "our RoI pool": lambda: roi_pool(features, rois, (7, 7), 1 / 16),
    }
    assert torch.allclose(ways["ours"](), ways["grid_sample"](), atol=1e-4)

    def forward(way: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            with torch.no_grad():
                way()

        return run

    def both(way: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: torch.autograd.grad(way().square().sum(), features)

    return [
        {"RoI align of 1000 regions": name, **_milliseconds(timed({n: make(w) for n, w in ways.items()}, rounds))}
        for name, make in (("forward", forward), ("forward and backward", both))
    ]


# -- mAP --------------------------------------------------------------------------------------------------------------


def make_files(folder: Path, pictures: int = 5000, classes: int = 80, each: int = 100) -> tuple[Path, Path]:
    """Annotations like COCO's validation set (a few classes a picture, 1 % crowds), and what a middling detector finds."""
    rng = np.random.default_rng(0)
    n = round(7.36 * pictures)
    image = np.sort(rng.integers(0, pictures, n))
    own = rng.integers(0, classes, (pictures, 3))  # a picture's classes
    label = own[image, rng.integers(0, 3, n)]
    size = np.exp(rng.normal(4, 1, (n, 2))).clip(4, 400)
    boxes = np.concatenate((rng.random((n, 2)) * (640 - size).clip(1), size), 1).round(2)
    ids, categories = np.arange(pictures) * 7 + 139, np.arange(classes) * 2 + 1
    truth = {
        "images": [{"id": int(i), "width": 640, "height": 640, "file_name": f"{i:012d}.jpg"} for i in ids],
        "categories": [{"id": int(k), "name": f"class {k}"} for k in categories],
        "annotations": [
            {
                "id": j + 1,
                "image_id": int(ids[image[j]]),
                "category_id": int(categories[label[j]]),
                "bbox": boxes[j].tolist(),
                "area": round(float(boxes[j, 2] * boxes[j, 3] * 0.7), 2),
                "iscrowd": int(j % 100 == 7),
            }
            for j in range(n)
        ],
    }
    count = pictures * each
    where = np.repeat(np.arange(pictures), each)
    first, there = np.searchsorted(image, np.arange(pictures)), np.bincount(image, minlength=pictures)
    copy = np.minimum(first[where] + (rng.random(count) * np.maximum(there[where], 1)).astype(int), n - 1)
    near = (rng.random(count) < 0.6) & (there[where] > 0)
    moved = boxes[copy] + rng.normal(size=(count, 4)) * np.tile(size[copy], 2) * 0.12
    anywhere = np.concatenate((rng.random((count, 2)) * 500, rng.random((count, 2)) * 100 + 2), 1)
    found = np.where(near[:, None], moved, anywhere).round(2)
    found[:, 2:] = np.maximum(found[:, 2:], 1)
    said = np.where(near & (rng.random(count) < 0.9), label[copy], rng.integers(0, classes, count))
    scores = np.where(near, rng.beta(3, 3, count), rng.beta(1, 5, count)).round(3)
    results = [
        {"image_id": i, "category_id": k, "bbox": b, "score": s}
        for i, k, b, s in zip(ids[where].tolist(), categories[said].tolist(), found.tolist(), scores.tolist())
    ]
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    paths = folder / "annotations" / "instances_val.json", folder / "results.json"
    for path, data in zip(paths, (truth, results)):
        path.write_text(json.dumps(data))
    return paths


def score_here(engine: str, truth: Path, results: Path) -> dict[str, Any]:
    """One engine in this process: {"AP", "parse, s", "score, s", "errors, s", "MiB"}."""
    marks = [time.process_time()]

    def mark() -> float:
        marks.append(time.process_time())
        return round(marks[-1] - marks[-2], 2)

    row: dict[str, Any] = {"engine": engine}
    if engine == "gentool":
        from gentool_detect.average_precision import Truth, evaluate
        from gentool_detect.breakdown import break_down
        from gentool_detect.results import read_results

        from gentool.data.ground_truth import read_coco

        mark()
        written = read_coco(truth)
        images = {key: i for i, key in enumerate(written.image_ids)}
        found = read_results(results, images, {key: i for i, key in enumerate(written.category_ids)}, 1 << 40)
        row["parse, s"] = mark()
        ours = Truth(len(images), written.image, written.label, written.boxes, written.area, written.crowd)
        scores = evaluate(ours, found, len(written.classes))
        row |= {"score, s": mark(), "AP": scores.ap()}
        break_down(ours, scores)
        row["errors, s"] = mark()
    elif engine == "pycocotools":
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        mark()
        made = COCO(str(truth))
        rows = made.loadRes(str(results))
        row["parse, s"] = mark()
        score = COCOeval(made, rows, "bbox")
        score.evaluate()
        score.accumulate()
        score.summarize()
        row |= {"score, s": mark(), "AP": float(score.stats[0])}
    else:
        import hotcoco

        mark()
        made = hotcoco.COCO(str(truth))
        rows = made.load_res(str(results))
        row["parse, s"] = mark()
        score = hotcoco.COCOeval(made, rows, "bbox")
        score.run()
        row |= {"score, s": mark(), "AP": float(score.stats[0])}
    return row | {"MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}


def bench_map(engines: list[str], folder: Path) -> list[dict[str, Any]]:
    # Made elsewhere: a child counts the memory of the process that started it as its own.
    made = subprocess.run([sys.executable, __file__, "--make", str(folder)], check=True, capture_output=True, text=True)
    truth, results = made.stdout.split()
    rows = []
    for engine in engines:
        if engine == "gentool eval":
            words = ["-m", "gentool", "eval", "detect", "--map", "--predictions", results, "--json"]
            words += ["--data", f"coco:{folder}"]
        else:
            words = [__file__, "--score", engine, truth, results]
        done = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert done.stdout is not None
        text = done.stdout.read()
        _, status, usage = os.wait4(done.pid, 0)
        if status:
            rows.append({"engine": engine, "AP": None})
            continue
        last = json.loads(text if engine == "gentool eval" else text.splitlines()[-1])
        if engine == "gentool eval":
            last = {"engine": engine, "AP": last["reports"][0]["scalars"]["AP"]["value"], "MiB": usage.ru_maxrss >> 10}
        rows.append(last | {"whole process, s": round(usage.ru_utime + usage.ru_stime, 2)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", nargs="*", help="nms, roi, map (all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip-pycocotools", action="store_true", help="it takes a minute")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--make", metavar="FOLDER", type=Path)
    parser.add_argument("--score", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        print(*make_files(options.make), sep="\n")
        return
    if options.score:
        print(json.dumps(score_here(options.score[0], *map(Path, options.score[1:]))))
        return
    wanted = options.what or ["nms", "roi", "map"]
    if unknown := set(wanted) - {"nms", "roi", "map"}:
        parser.error(f"there is no {sorted(unknown)[0]}: nms, roi and map are measured")
    from gentool.show.tables import print_table

    rows: dict[str, list[dict[str, Any]]] = {}
    if "nms" in wanted:
        rows["nms"] = bench_nms(options.rounds)
    if "roi" in wanted:
        rows["roi"] = bench_roi(options.rounds)
    if "map" in wanted:
        engines = [e for e in ENGINES if not (options.skip_pycocotools and e == "pycocotools")]
        with tempfile.TemporaryDirectory() as folder:
            rows["map"] = bench_map(engines, Path(folder))
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    for table in rows.values():
        print_table(table)
        print()


if __name__ == "__main__":
    main()
