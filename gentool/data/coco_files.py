"""Which files hold the annotations of `coco:PATH` (see `gentool.data.coco`), and what is written in them. No torch."""

from __future__ import annotations

import functools
from pathlib import Path

from gentool.data.find import Where, files_of, folder_of
from gentool.data.ground_truth import GroundTruth, read_coco
from gentool.data.known import BCCD, COCO_MINI, PLAYING_CARDS, Known
from gentool.data.splits import WORDS, part_of
from gentool.errors import UsageError
from gentool.show.text import safe_text


def annotation_files(path: Path, shown: str) -> dict[str, Path]:
    """The file of each split that has one; a single file is the "train" one."""
    try:
        if path.is_file():
            return {"train": path}
        if not path.is_dir():
            raise UsageError(f"There is no folder or file '{shown}'; --data coco:PATH names one in COCO's format.")
        found: dict[str, Path] = {}
        for split, words in WORDS.items():
            for word in words:
                beside = path / word / "_annotations.coco.json"
                listed = sorted((path / "annotations").glob(f"instances_{word}*.json"))
                if split not in found and (beside.is_file() or listed):
                    found[split] = beside if beside.is_file() else listed[0]
        if not found:
            files = sorted([*path.glob("*.json"), *(path / "annotations").glob("*.json")])
            if len(files) == 1:
                return {"train": files[0]}
            what = f"it has {len(files)} JSON files, none of them named so" if files else "it has no JSON file"
            raise UsageError(
                f"'{shown}' has no annotations/instances_train.json or train/_annotations.coco.json ({what}); name the "
                "file itself: coco:FILE.json."
            )
    except OSError as error:
        raise UsageError(f"'{shown}' cannot be looked into: {error.strerror or error}.") from None
    if "train" not in found:
        found["train"] = next(iter(found.values()))
    return found


def file_of(found: dict[str, Path], split: str) -> Path:
    """The one of `annotation_files` that a split is in: validation where there is no test, else the "train" one."""
    return part_of(found, split) or found["train"]


def coco_truth(argument: str, split: str, where: Where) -> GroundTruth:
    """The boxes of a split as they are written; of a single file all, for results are those of a whole file."""
    if not argument:
        raise UsageError("coco: wants to know where the annotations are: coco:FOLDER or coco:FILE.json.")
    found = annotation_files(Path(argument).expanduser(), safe_text(argument))
    return read_coco(file_of(found, split))


def _known_truth(known: Known, argument: str, split: str, where: Where) -> GroundTruth:
    return coco_truth(str(folder_of(files_of(known, where))), split, where)


bccd_truth, playing_cards_truth, coco_mini_truth = (
    functools.partial(_known_truth, known) for known in (BCCD, PLAYING_CARDS, COCO_MINI)
)
