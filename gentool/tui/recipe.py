"""What Launch makes a command of: a model, a preset and what a person changed, each setting with what is wrong with it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from gentool.config import Layer, Resolved, parse_set, resolve, schema
from gentool.errors import UsageError
from gentool.registry import plugin_files, registry
from gentool.runs.folder import check_name
from gentool.specs import ModelSpec
from gentool.tui.widgets.fields import Setting, setting, spell

YOURS = "yours"
FLAGS = {"data.name": "--data", "loss.name": "--loss", "train.steps": "--steps", "train.minutes": "--minutes",
         "train.batch_size": "--batch-size", "train.seed": "--seed", "train.device": "--device"}  # fmt: skip
NONE = "none"


@dataclasses.dataclass(frozen=True)
class Item:
    """One line: a heading (no setting), or a setting with its value, where that came from, and what is wrong with it."""

    key: str
    setting: Setting | None = None
    value: Any = None
    source: str = ""
    problem: str = ""

    @property
    def mine(self) -> bool:
        return self.source == YOURS


class Recipe:
    """What is to be trained: a model, a preset, and what the person changed of them."""

    def __init__(self, model: str) -> None:
        self.model, self.preset, self.name = model, NONE, ""
        self.mine: dict[str, Any] = {}
        self.typed: dict[str, tuple[str, str]] = {}  # what was typed and is no value, with the reason
        self.problem = ""  # why the whole cannot be
        self.resolved: Resolved = self._resolve()

    @property
    def spec(self) -> ModelSpec:
        return registry().find("model", self.model)

    def _resolve(self) -> Resolved:
        return resolve(self.model, [Layer(YOURS, self.mine)], None if self.preset == NONE else self.preset)

    def change(self, key: str, value: Any) -> None:
        """Change one thing; what cannot be is kept as a problem, and the settings stay as they were."""
        before = (self.model, self.preset, self.name, dict(self.mine))
        self.typed.pop(key, None)
        if key == "model":
            self.model, self.preset = value, NONE
            self.mine = {k: v for k, v in self.mine.items() if k.startswith(("train.", "checkpoint.", "preview."))}
            self.typed = {}
        elif key == "preset":
            self.preset = value
        elif key == "name":
            self.name = value
        else:
            self.mine[key] = value
        if key in ("loss.name", "sampler.name", "data.name", "model", "preset"):
            self._drop_foreign()
        try:
            self.resolved = self._resolve()
            self.problem = ""
        except UsageError as error:
            self.model, self.preset, self.name, self.mine = before
            self.typed[key] = (spell(value), str(error))

    def _drop_foreign(self) -> None:
        """Leave out what was changed of a part that is no longer there."""
        while True:
            try:
                self._resolve()
                return
            except UsageError as error:
                foreign = [k for k in self.mine if f"'{k}'" in str(error) and "not a setting" in str(error)]
                if not foreign:
                    return
                for key in foreign:
                    del self.mine[key]

    def reset(self, key: str) -> None:
        """Put a setting back to what it is without the person."""
        self.typed.pop(key, None)
        if key == "name":
            self.name = ""
        elif key == "preset":
            self.change("preset", NONE)
        elif key in self.mine:
            del self.mine[key]
            self.resolved = self._resolve()

    def items(self) -> list[Item]:
        """Every setting under its heading."""
        spec, found = self.spec, [Item("Run")]
        reg = registry()
        models = tuple(reg.names("model"))
        found.append(Item("model", Setting("model", "choice", self.model, spec.summary, "", models), self.model))
        presets = (NONE, *spec.presets)
        about = "settings that go together, such as those that a shipped checkpoint was trained with"
        preset = Setting("preset", "choice", NONE, about, "", presets)
        found.append(Item("preset", preset, self.preset, YOURS if self.preset != NONE else "default"))
        about = "a name for the run's folder; empty: the model's"
        name = Setting("name", "text", "", about, "letters, digits or -_.+", check=_named)
        found.append(self._typed(Item("name", name, self.name, YOURS if self.name else "default")))
        keys = schema(spec, self.resolved.loss_spec, self.resolved.sampler_spec, str(self.resolved.get("data.name")))
        group = "Run"
        for key, entry in self.resolved.values.items():
            if key == "model.name":
                continue
            head = key.rpartition(".")[0]
            if key not in ("data.name", "loss.name", "sampler.name") and head != group:
                group = head
                found.append(Item(group))
            if key in ("loss.name", "sampler.name"):
                kind = key.partition(".")[0]
                fitting = {one.name: one for one in reg.fitting(kind, spec) if not getattr(one, "view", False)}
                chosen = fitting.get(entry.value)
                made = Setting(key, "choice", entry.value, chosen.summary if chosen else "", "", tuple(fitting))
            elif key == "data.name":
                made = self._data()
            else:
                config, item = keys[key]
                made = setting(config, item, key)
            found.append(self._typed(Item(key, made, entry.value, entry.source)))
        order = {"data.name": 1, "loss.name": 2, "sampler.name": 3}
        parts = sorted((one for one in found if one.key in order), key=lambda one: order[one.key])
        rest = [one for one in found if one.key not in order]
        return [*rest[:4], *parts, *rest[4:]]

    def _typed(self, item: Item) -> Item:
        """The item with what was typed instead of a value."""
        if item.key not in self.typed:
            return item
        text, why = self.typed[item.key]
        return dataclasses.replace(item, value=text, source=YOURS, problem=why)

    def _data(self) -> Setting:
        spec = self.spec
        fitting = [d for d in registry().all("dataset") if set(spec.inputs) <= set(d.fields)]
        names = tuple(one.name for one in fitting if not one.prefix)
        own = ", ".join(f"{one.name}:PATH" for one in fitting if one.prefix)
        about = next((one.summary for one in fitting if one.name == self.resolved.get("data.name")), "")
        return Setting("data.name", "text", spec.dataset, f"{about} (or {own})" if own else about, "a data set", names)

    def arguments(self, root: str) -> list[str]:
        """The words of the command line after ``gentool``."""
        words = ["train", self.model]
        if self.preset != NONE:
            words += ["--preset", self.preset]
        for key, value in self.mine.items():
            if key in FLAGS:
                words += [FLAGS[key], spell(value)]
        for key, value in self.mine.items():
            if key not in FLAGS:
                words += ["--set", f"{key}={_toml(value)}"]
        if self.name:
            words += ["--name", self.name]
        if root != "runs":
            words += ["--runs", root]
        for file in plugin_files():
            words += ["--plugin", str(file)]
        return words


def _named(value: Any) -> str:
    return check_name(str(value)) if value else ""


def _toml(value: Any) -> str:
    """A value that `--set` reads as itself."""
    text = spell(value)
    plain = list(value) if isinstance(value, tuple) else value
    return text if parse_set([f"v={text}"])["v"] == plain else json.dumps(plain, ensure_ascii=False)
