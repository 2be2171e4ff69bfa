"""Heat maps beside the samples of a run: samples/000500-attention.json are those of the kind "attention" at step 500. Light."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gentool.evaluating import HeatMap
from gentool.runs.files import replace_file
from gentool.runs.folder import check_name

FORMAT = "gentool heat maps 1"
LARGEST = 8_000_000  # bytes of a file that is read
MOST_CELLS = 200_000  # of all maps of a file


def write_maps(folder: Path, step: int, kind: str, maps: Sequence[HeatMap]) -> Path:
    """The maps of one kind at a step, as one JSON file: "format" and "maps", each as `HeatMap.to_json` gives it, its values
    to five decimals."""
    path = folder / f"{step:06d}-{check_name(kind)}.json"
    made = [one.to_json() for one in maps]
    for one in made:
        one["values"] = [[v if v is None else round(v, 5) for v in row] for row in one["values"]]
    replace_file(path, json.dumps({"format": FORMAT, "maps": made}, allow_nan=False).encode())
    return path


def parse_maps(data: bytes) -> list[HeatMap]:
    """What `write_maps` wrote; `ValueError` for anything else, and for more than can be shown."""
    if len(data) > LARGEST:
        raise ValueError(f"it is over {LARGEST // 1_000_000} MB")
    try:
        about = json.loads(data)
        if about["format"] != FORMAT:
            raise ValueError("it is of no format that is known")
        maps = [HeatMap.from_json(one) for one in about["maps"]]
    except (TypeError, KeyError, RecursionError, OverflowError) as error:
        raise ValueError("it holds no heat maps") from error
    if not maps:
        raise ValueError("it holds no heat maps")
    if sum(len(one.rows) * len(one.columns) for one in maps) > MOST_CELLS:
        raise ValueError(f"its maps have over {MOST_CELLS:,} cells")
    return maps
