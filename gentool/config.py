"""Resolved configs: defaults < preset < file < --set, with the provenance of every value.

A config is a flat mapping of dotted keys (``optim.generator.lr``) to values. Each key belongs to a typed field of a
dataclass: the host's (`gentool.settings`), the model's, the loss's, the sampler's or the data's. What does not fit is
refused with the key, where it came from, what is allowed and the nearest name.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gentool.errors import UsageError, did_you_mean
from gentool.registry import registry
from gentool.settings import SECTIONS, Optim
from gentool.show.text import safe_text
from gentool.specs import LossSpec, ModelSpec, SamplerSpec

_MAX_FILE = 1_000_000


@dataclass(frozen=True)
class Value:
    """One value and where it came from."""

    value: Any
    source: str


@dataclass(frozen=True)
class Layer:
    """Dotted keys from one source; a later layer wins over an earlier one."""

    source: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Resolved:
    """A whole config: `values` with their provenance, and the typed sections made of them."""

    model_spec: ModelSpec
    loss_spec: LossSpec
    sampler_spec: SamplerSpec | None
    values: dict[str, Value]
    sections: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, section: str) -> Any:
        return self.sections[section]

    def get(self, key: str) -> Any:
        return self.values[key].value

    def replace(self, changes: Mapping[str, Any], source: str) -> Resolved:
        """The same config with some values changed (the model, loss and sampler stay)."""
        values = {**self.values, **{key: Value(value, source) for key, value in changes.items()}}
        return _typed(self.model_spec, self.loss_spec, self.sampler_spec, values)


# -- one field ---------------------------------------------------------------------------------------------------------


@functools.cache
def _hints(config: type) -> dict[str, Any]:
    return typing.get_type_hints(config, include_extras=True)


@functools.cache
def _adapter(config: type, name: str) -> Any:
    from pydantic import ConfigDict, Field, TypeAdapter

    hint = _hints(config)[name]
    limits = _field(config, name).metadata.get("limits", {})
    if hint in (int, float):
        hint = typing.Annotated[hint, Field(**limits)]
    return TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))


def _field(config: type, name: str) -> dataclasses.Field[Any]:
    return next(f for f in dataclasses.fields(config) if f.name == name)


def describe(config: type, name: str) -> str:
    """What a field allows, in words: ``a whole number of at least 1``, ``one of adam, sgd``."""
    limits = _field(config, name).metadata.get("limits", {})
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = " and ".join(f"{words[key]} {limit:g}" for key, limit in limits.items())
    return _describe(_hints(config)[name]) + (f" {bounds}" if bounds else "")


def _describe(hint: Any) -> str:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(str(a) for a in arguments)
    if origin is typing.Annotated:
        return _describe(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(a) for a in arguments)
    if origin in (tuple, list):
        if (len(arguments) == 2 and arguments[1] is Ellipsis) or origin is list:
            return f"a list, each {_describe(arguments[0])}"
        return f"a list of {len(arguments)}: " + ", ".join(_describe(a) for a in arguments)
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "nothing"}
    return plain.get(hint, str(hint))


def check(config: type, name: str, key: str, value: Any, source: str) -> Any:
    """The value as its field wants it (a whole number for a float becomes one), or `UsageError`."""
    from pydantic import ValidationError

    shown = safe_text(str(value))[:60]
    refusal = f"{key} = {shown} (from {source}) is refused: it has to be {describe(config, name)}."
    hint = _hints(config)[name]
    literal = typing.get_origin(hint) is typing.Literal
    if isinstance(value, str) and literal:
        choices = [str(a) for a in typing.get_args(hint)]
        if value not in choices:
            raise UsageError(
                refusal + (did_you_mean(value, choices) if did_you_mean(value, choices)[:5] == " Did " else "")
            )
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(refusal)
    try:
        return _adapter(config, name).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError, ValueError):
        raise UsageError(refusal) from None


def build_dataclass(config: type, values: Mapping[str, object], source: str) -> Any:
    """A config dataclass of checked values; unknown names are refused."""
    names = [f.name for f in dataclasses.fields(config)]
    for key in values:
        if key not in names:
            raise UsageError(f"'{key}' (from {source}) is not a setting of it.{did_you_mean(key, names)}")
    return config(**{key: check(config, key, key, _plain(value), source) for key, value in values.items()})


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


# -- layers ------------------------------------------------------------------------------------------------------------


def parse_set(pairs: Iterable[str]) -> dict[str, Any]:
    """``["a.b=3", "data.name=mnist"]`` -> values; what is not TOML is taken as text."""
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set wants KEY=VALUE, for example --set train.steps=500, not '{safe_text(pair)[:80]}'.")
        try:
            value = tomllib.loads(f"v = {text.strip()}")["v"] if "\n" not in text else text
        except (tomllib.TOMLDecodeError, ValueError, RecursionError):
            value = text.strip()
        values[key.strip()] = value
    return values


def read_file(path: str | Path) -> dict[str, Any]:
    """A TOML file as dotted keys."""
    where = Path(path)
    shown = safe_text(str(path))
    try:
        if not where.is_file():
            raise UsageError(f"There is no config file '{shown}'; `gentool config MODEL > {shown}` writes one.")
        if where.stat().st_size > _MAX_FILE:
            raise UsageError(f"The config file '{shown}' is over 1 MB: that is not a gentool config.")
        table = tomllib.loads(where.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"The config file '{shown}' cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        why = safe_text(" ".join(str(error).split()))[:160]
        raise UsageError(f"The config file '{shown}' is not valid TOML: {why}.") from None
    return flatten(table)


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


# -- resolving ---------------------------------------------------------------------------------------------------------


def data_config(name: str) -> type:
    """The dataclass of `data.*` for a data set: its kind decides."""
    from gentool.data.kinds import kind_of

    return kind_of(name).config


def schema(model: ModelSpec, loss: LossSpec, sampler: SamplerSpec | None, data: str) -> dict[str, tuple[type, str]]:
    """Every dotted key of a combination: (dataclass, field). Names of parts (`loss.name`, ...) are not among them."""
    keys: dict[str, tuple[type, str]] = {}

    def section(prefix: str, config: type) -> None:
        for item in dataclasses.fields(config):
            keys[f"{prefix}.{item.name}"] = (config, item.name)

    section("model", model.config)
    section("loss", loss.config)
    if sampler is not None:
        section("sampler", sampler.config)
    section("data", data_config(data))
    for phase in model.phases:
        section(f"optim.{phase}", Optim)
    for name, config in SECTIONS.items():
        section(name, config)
    return keys


def resolve(name: str, layers: Iterable[Layer] = (), preset: str | None = None) -> Resolved:
    """The config of a model from its defaults, a preset, and further layers (file, flags), in rising precedence."""
    reg = registry()
    model = reg.find("model", name)
    below = [Layer("model default", {"data.name": model.dataset, **model.defaults})]
    if preset is not None:
        if preset not in model.presets:
            raise UsageError(
                f"'{model.name}' has no preset '{safe_text(preset)}'.{did_you_mean(preset, model.presets)}"
            )
        below.append(Layer(f"preset {preset}", model.presets[preset]))
    stack = [*below, *layers]

    loss = reg.find_fitting("loss", _pick(stack, "loss.name", model.loss), model)
    sampler_name = _pick(stack, "sampler.name", model.sampler or "")
    sampler = reg.find_fitting("sampler", sampler_name, model) if sampler_name else None
    named = {"model.name": model.name, "loss.name": loss.name, "sampler.name": sampler.name if sampler else ""}

    keys = schema(model, loss, sampler, _data_name(stack, model))
    values: dict[str, Value] = {}
    for key, word in named.items():
        source = next((layer.source for layer in reversed(stack) if key in layer.values), "model default")
        values[key] = Value(word, source)
    for key, (config, item) in keys.items():
        values[key] = Value(_field(config, item).default, "default")
    for layer in stack:
        for key, value in layer.values.items():
            if key == "model.name":
                if registry().find("model", str(value)).name != model.name:
                    raise UsageError(
                        f"The {layer.source} is for the model '{safe_text(str(value))}', not '{model.name}'."
                    )
                continue
            if key in named:
                continue
            if key not in keys:
                if layer in below and _elsewhere(key, model):
                    continue  # a default for another loss, sampler or kind of data than the one chosen
                raise UsageError(
                    f"'{safe_text(key)[:80]}' (from {layer.source}) is not a setting of {model.name}."
                    f"{did_you_mean(key, keys) or f' `gentool config {model.name}` lists them.'}"
                )
            config, item = keys[key]
            values[key] = Value(check(config, item, key, _plain(value), layer.source), layer.source)
    return _typed(model, loss, sampler, values)


def _pick(stack: list[Layer], key: str, default: str) -> str:
    for layer in reversed(stack):
        if key in layer.values:
            return str(layer.values[key])
    return default


def _data_name(stack: list[Layer], model: ModelSpec) -> str:
    """The data set that the layers name."""
    return check_data(_pick(stack, "data.name", model.dataset), model)


def check_data(name: str, model: ModelSpec) -> str:
    """A data set's name, refused where it has not what the model reads."""
    dataset, _ = registry().find_dataset(name)
    lacking = [item for item in model.inputs if item not in dataset.fields]
    if lacking:
        fitting = [d.name for d in registry().all("dataset") if set(model.inputs) <= set(d.fields)]
        raise UsageError(
            f"'{model.name}' needs {' and '.join(lacking)}, which the data set '{dataset.name}' does not have. "
            f"Data sets that fit: {', '.join(fitting)}."
        )
    return name


def _elsewhere(key: str, model: ModelSpec) -> bool:
    prefix, _, item = key.partition(".")
    if prefix == "data":
        from gentool.data.kinds import KINDS

        return any(item in {f.name for f in dataclasses.fields(kind.config)} for kind in KINDS.values())
    if prefix not in ("loss", "sampler"):
        return False
    return any(item in {f.name for f in dataclasses.fields(s.config)} for s in registry().fitting(prefix, model))


def _typed(model: ModelSpec, loss: LossSpec, sampler: SamplerSpec | None, values: dict[str, Value]) -> Resolved:
    def section(prefix: str, config: type) -> Any:
        return config(**{f.name: values[f"{prefix}.{f.name}"].value for f in dataclasses.fields(config)})

    sections: dict[str, Any] = {name: section(name, config) for name, config in SECTIONS.items()}
    sections["model"] = section("model", model.config)
    sections["loss"] = section("loss", loss.config)
    sections["data"] = section("data", data_config(str(values["data.name"].value)))
    sections["sampler"] = section("sampler", sampler.config) if sampler else None
    sections["optim"] = {phase: section(f"optim.{phase}", Optim) for phase in model.phases}
    return Resolved(model, loss, sampler, values, sections)


# -- writing -----------------------------------------------------------------------------------------------------------


def to_toml(config: Resolved, *, documented: bool) -> str:
    """The config as TOML. documented: with each key's help and limits; else with each value's provenance."""
    import tomlkit

    keys = schema(config.model_spec, config.loss_spec, config.sampler_spec, str(config.get("data.name")))
    groups: dict[str, list[str]] = {}
    for key in config.values:
        groups.setdefault(key.rpartition(".")[0], []).append(key)
    lines: list[str] = []
    for group, members in groups.items():
        lines.append(f"[{group}]")
        for key in members:
            entry = config.values[key]
            text = f"{key.rpartition('.')[2]} = {tomlkit.item(_plain(entry.value)).as_string()}"
            if documented:
                if key in keys:
                    owner, item = keys[key]
                    about = _field(owner, item).metadata.get("help", "")
                    lines.append(f"# {about} ({describe(owner, item)})" if about else f"# {describe(owner, item)}")
                elif not key.endswith("model.name"):
                    kind = key.partition(".")[0]
                    fitting = ", ".join(sorted(s.name for s in registry().fitting(kind, config.model_spec)))
                    lines.append(f"# which {kind}: {fitting}")
            elif entry.source != "default":
                text += f"  # {entry.source}"
            lines.append(text)
        lines.append("")
    return "\n".join(lines)


def config_table(config: type) -> list[dict[str, Any]]:
    """Every field of a config dataclass: name, default, help, and what is allowed."""
    return [
        {
            "name": item.name,
            "default": _plain(item.default),
            "help": item.metadata.get("help", ""),
            "allowed": describe(config, item.name),
        }
        for item in dataclasses.fields(config)
    ]
