"""Names -> specs -> objects, in three grains, so that nothing is paid before it is needed.

1. names: the entry points of group ``gentool.plugins``; nothing is imported.
2. specs: each plugin's light ``__init__``, imported alone and in a ``try``: a broken plugin harms nobody else.
3. objects: ``"package.module:attribute"`` strings, imported when used.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import pluggy

from gentool import specs as _specs
from gentool.data.kinds import KINDS
from gentool.errors import UsageError, did_you_mean
from gentool.specs import DatasetSpec, EvaluatorSpec, LossSpec, ModelSpec, SamplerSpec, Spec, fits

if TYPE_CHECKING:
    from typing import Literal

    from torch import nn

    from gentool.data.batch import DataInfo

GROUP = "gentool.plugins"
HOST = "gentool"
HOOKS = {
    "model": "gentool_models",
    "loss": "gentool_losses",
    "sampler": "gentool_samplers",
    "evaluator": "gentool_evaluators",
    "dataset": "gentool_datasets",
}
_NAME = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
S = TypeVar("S", bound=Spec)


@dataclass
class Plugin:
    """One plugin as `gentool plugins` shows it. state: "loaded", "broken" or "disabled"."""

    name: str
    origin: str
    version: str = ""
    state: str = "loaded"
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    module: str = ""


class Registry:
    """Every spec by kind and name, with the plugin each one came from."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self._specs: dict[str, dict[str, Spec]] = {kind: {} for kind in HOOKS}
        self._aliases: dict[str, dict[str, str]] = {kind: {} for kind in HOOKS}
        self._owner: dict[tuple[str, str], Plugin] = {}

    # -- filling it ---------------------------------------------------------------------------------------------

    def add(self, plugin: Plugin, load: Callable[[], ModuleType]) -> None:
        """Import one plugin and take its specs; whatever it does wrong is written on the plugin and goes no further."""
        from gentool import hooks

        self.plugins.append(plugin)
        start = time.perf_counter()
        try:
            module = load()
            plugin.module = module.__name__
            # A manager of its own for each plugin: a hook that raises cannot take the others' specs along.
            manager = pluggy.PluginManager("gentool")
            manager.add_hookspecs(hooks)
            manager.register(module, plugin.name)
            manager.check_pending()
            found = 0
            for kind, hook in HOOKS.items():
                for offered in getattr(manager.hook, hook)():
                    for spec in offered:
                        found += self._take(plugin, kind, spec)
            if not found and not plugin.problems:
                plugin.problems.append("it offers nothing: no hook of gentool.hooks returned a spec")
        except (Exception, SystemExit) as error:
            plugin.state = "broken"
            plugin.problems.append(f"{type(error).__name__}: {_one_line(error)}")
            if os.environ.get("GENTOOL_DEBUG"):
                import traceback

                traceback.print_exc()
        plugin.seconds = time.perf_counter() - start

    def _take(self, plugin: Plugin, kind: str, spec: Any) -> bool:
        wrong = _check(kind, spec)
        if wrong:
            plugin.problems.append(wrong)
            return False
        for name in (spec.name, *spec.aliases):
            key = self._aliases[kind].get(name, name)
            if key in self._specs[kind]:
                other = self._owner[kind, key]
                plugin.problems.append(
                    f"its {kind} '{spec.name}' is refused: the name '{name}' belongs to plugin '{other.name}' "
                    f"({other.origin})"
                )
                return False
        self._specs[kind][spec.name] = spec
        self._owner[kind, spec.name] = plugin
        for alias in spec.aliases:
            self._aliases[kind][alias] = spec.name
        return True

    # -- asking it ----------------------------------------------------------------------------------------------

    @overload
    def all(self, kind: Literal["model"]) -> list[ModelSpec]: ...
    @overload
    def all(self, kind: Literal["loss"]) -> list[LossSpec]: ...
    @overload
    def all(self, kind: Literal["sampler"]) -> list[SamplerSpec]: ...
    @overload
    def all(self, kind: Literal["evaluator"]) -> list[EvaluatorSpec]: ...
    @overload
    def all(self, kind: Literal["dataset"]) -> list[DatasetSpec]: ...

    def all(self, kind: str) -> list[Any]:
        """Every spec of a kind, by name."""
        return [self._specs[kind][name] for name in sorted(self._specs[kind])]

    def names(self, kind: str) -> list[str]:
        return sorted(self._specs[kind])

    def owner(self, kind: str, name: str) -> Plugin:
        """The plugin that a spec came from."""
        return self._owner[kind, name]

    @overload
    def find(self, kind: Literal["model"], name: str) -> ModelSpec: ...
    @overload
    def find(self, kind: Literal["loss"], name: str) -> LossSpec: ...
    @overload
    def find(self, kind: Literal["sampler"], name: str) -> SamplerSpec: ...
    @overload
    def find(self, kind: Literal["evaluator"], name: str) -> EvaluatorSpec: ...
    @overload
    def find(self, kind: Literal["dataset"], name: str) -> DatasetSpec: ...

    def find(self, kind: str, name: str) -> Any:
        """The spec of that name or alias; `UsageError` with the nearest name where there is none."""
        from gentool.show.text import safe_text

        key = self._aliases[kind].get(name, name)
        if key in self._specs[kind]:
            return self._specs[kind][key]
        word = {"dataset": "data set"}.get(kind, kind)
        known = [*self._specs[kind], *self._aliases[kind]]
        hint = did_you_mean(name, known) or f" `gentool list {kind}s` shows them."
        broken = [p.name for p in self.plugins if p.state == "broken"]
        if broken:
            hint += f" (Plugins that could not be loaded: {', '.join(broken)}; see `gentool plugins`.)"
        raise UsageError(f"There is no {word} '{safe_text(name)[:80]}'.{hint}")

    def fitting(self, kind: str, model: ModelSpec) -> list[Any]:
        """The losses, samplers or evaluators that can be used with a model."""
        return [spec for spec in self._specs[kind].values() if fits(spec, model)]  # type: ignore[arg-type]

    def find_fitting(self, kind: str, name: str, model: ModelSpec) -> Any:
        """Like `find`, and refused before anything is built when the part does not fit the model."""
        word: Any = kind
        spec = self.find(word, name)
        if fits(spec, model):
            return spec
        missing = sorted(set(spec.needs) - set(model.offers))
        why = f"it needs {_list(missing)}" if missing else f"it is for {spec.name}'s kind of output"
        there = ", ".join(sorted(s.name for s in self.fitting(kind, model))) or "none"
        plural = {"loss": "losses"}.get(kind, kind + "s")
        raise UsageError(
            f"The {kind} '{spec.name}' does not fit the model '{model.name}': {why}, which '{model.name}' does not "
            f"offer. {plural.capitalize()} that fit: {there}."
        )

    def find_dataset(self, text: str) -> tuple[DatasetSpec, str]:
        """``"mnist"`` or ``"folder:PATH"`` -> (spec, what follows the colon)."""
        prefix, colon, argument = text.partition(":")
        if colon:
            spec = self.find("dataset", prefix)
            if not spec.prefix:
                raise UsageError(f"The data set '{spec.name}' takes no ':{argument}'; name it alone.")
            return spec, argument
        spec = self.find("dataset", text)
        if spec.prefix:
            raise UsageError(f"'{spec.name}' wants to know where: {spec.name}:PATH.")
        return spec, ""

    def load(self, path: str) -> Any:
        """The object behind ``"package.module:attribute"``."""
        module, _, attribute = path.partition(":")
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        return found


def _list(words: list[str]) -> str:
    return " and ".join(f"'{word}'" for word in words)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or "no message"


def _check(kind: str, spec: Any) -> str:
    """What is wrong with a spec, or ""."""
    wanted = _specs.KINDS[kind]
    if not isinstance(spec, wanted):
        return f"{HOOKS[kind]} gave a {type(spec).__name__}, not a {wanted.__name__}"
    given: Any = spec
    for name in (given.name, *given.aliases):
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 40:
            return f"the {kind} name {name!r} is refused: names are lower-case words joined by '-'"
    if ":" not in given.factory:
        return f"the {kind} '{given.name}' names its object as {given.factory!r}, not as 'package.module:attribute'"
    if kind == "dataset" and given.kind not in KINDS:
        return f"the data set '{given.name}' is of the kind {given.kind!r}, not one of {', '.join(KINDS)}"
    config = getattr(spec, "config", None)
    if config is not None and not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        return f"the config of {kind} '{given.name}' is not a dataclass"
    return ""


# -- the one registry of the process ---------------------------------------------------------------------------------

_files: list[Path] = []


def use_plugin_files(files: Iterable[str | Path]) -> None:
    """Add single-file plugins (`--plugin FILE`) to the registry of this process."""
    for file in files:
        path = Path(file)
        if not path.is_file():
            raise UsageError(f"There is no plugin file '{file}'.")
        if path.suffix != ".py" or not path.stem.isidentifier():
            raise UsageError(f"A plugin file is a Python module such as ./mine.py, not '{file}'.")
        if path.resolve() not in _files:
            _files.append(path.resolve())
            registry.cache_clear()


def set_plugin_files(files: Iterable[Path]) -> None:
    """Use just these single-file plugins, such as `plugin_files` gave before; the registry is made anew."""
    _files[:] = files
    registry.cache_clear()


def plugin_files() -> list[Path]:
    """The single-file plugins in use."""
    return list(_files)


def _import_file(path: Path) -> ModuleType:
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    other = importlib.util.find_spec(name) if loaded is None else None
    if loaded is not None or (other is not None and other.origin != str(path)):
        raise ImportError(f"a module named '{name}' exists already; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its factories are found as "mine:Thing"
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@functools.cache
def registry() -> Registry:
    """The registry: the host's own data sets, installed plugins, then plugin files, in that order.

    ``GENTOOL_PLUGINS`` (comma separated entry point names) is an allow-list; "built-in" stands for all that gentool
    brings; empty means none but the host's data sets.
    """
    import importlib.metadata

    from gentool import __version__

    made = Registry()
    made.add(
        Plugin(HOST, "built in", __version__),
        lambda: importlib.import_module("gentool.data.builtin"),
    )
    allowed = os.environ.get("GENTOOL_PLUGINS")
    allow = None if allowed is None else {word.strip() for word in allowed.split(",") if word.strip()}
    points = importlib.metadata.entry_points(group=GROUP)
    seen: dict[tuple[str, str], None] = {}
    # gentool's own first: an outsider cannot take a built-in name away.
    for point in sorted(points, key=lambda p: (_distribution(p)[0] != HOST, _distribution(p)[0], p.name)):
        dist, version = _distribution(point)
        if (point.name, point.value) in seen:
            continue
        seen[point.name, point.value] = None
        plugin = Plugin(point.name, "built in" if dist == HOST else dist, version, module=point.value)
        if allow is not None and point.name not in allow and not (dist == HOST and "built-in" in allow):
            plugin.state = "disabled"
            plugin.problems.append("not in GENTOOL_PLUGINS")
            made.plugins.append(plugin)
            continue
        made.add(plugin, point.load)
    for path in _files:
        made.add(Plugin(path.stem, str(path), module=path.stem), functools.partial(_import_file, path))
    return made


def _distribution(point: Any) -> tuple[str, str]:
    dist = point.dist
    return ("unknown", "") if dist is None else (dist.name, dist.version)


def build_model(
    name: str, info: DataInfo, config: Mapping[str, object] | None = None, **overrides: object
) -> nn.Module:
    """A model of another family by name: ``build_model("pixelcnn", info, channels=64)``.

    `config` and `overrides` are fields of the model's config; the rest keeps its defaults.
    """
    from gentool.config import build_dataclass

    spec = registry().find("model", name)
    values = {**(config or {}), **overrides}
    model: nn.Module = registry().load(spec.factory)(build_dataclass(spec.config, values, f"model {name}"), info)
    return model
