"""Names -> specs -> objects, with plugins that behave badly."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from gentool import registry as module
from gentool.errors import UsageError
from gentool.hooks import hookimpl
from gentool.registry import Plugin, Registry
from gentool.specs import LossSpec, ModelSpec, NoConfig, Output


def model_spec(name: str, offers: tuple[str, ...] = (), aliases: tuple[str, ...] = ()) -> ModelSpec:
    return ModelSpec(
        name=name,
        summary="for a test",
        factory="nowhere:Nothing",
        config=NoConfig,
        output=Output.IMAGE,
        loss="l",
        sampler=None,
        evaluators=(),
        dataset="digits",
        offers=offers,
        paper="none",
        aliases=aliases,
    )


def plugin_of(**hooks: object) -> ModuleType:
    made = ModuleType("made_for_a_test")
    for name, value in hooks.items():

        def hook(value: object = value) -> object:
            if isinstance(value, Exception):
                raise value
            return value

        hook.__name__ = name
        setattr(made, name, hookimpl(hook))
    return made


@pytest.fixture
def reg() -> Registry:
    made = Registry()
    made.add(Plugin("one", "here"), lambda: plugin_of(gentool_models=[model_spec("vae", ("elbo",), ("auto",))]))
    return made


def test_finds_by_name_and_alias(reg: Registry) -> None:
    assert reg.find("model", "vae") is reg.find("model", "auto")


def test_a_typo_names_what_is_near(reg: Registry) -> None:
    with pytest.raises(UsageError, match="Did you mean 'vae'"):
        reg.find("model", "vea")


def test_the_second_claim_to_a_name_is_refused_and_both_are_named(reg: Registry) -> None:
    other = Plugin("two", "there")
    reg.add(other, lambda: plugin_of(gentool_models=[model_spec("vae"), model_spec("mine")]))
    assert reg.owner("model", "vae").name == "one"
    assert reg.find("model", "mine").name == "mine"
    assert "'vae'" in other.problems[0]
    assert "'one'" in other.problems[0]


def test_an_alias_cannot_take_a_name_either(reg: Registry) -> None:
    other = Plugin("two", "there")
    reg.add(other, lambda: plugin_of(gentool_models=[model_spec("mine", aliases=("auto",))]))
    assert other.problems
    assert reg.names("model") == ["vae"]


def _raises() -> ModuleType:
    raise ImportError("no module named 'left-out'")


@pytest.mark.parametrize(
    "load",
    [
        _raises,
        lambda: plugin_of(gentool_models=RuntimeError("boom")),
        lambda: plugin_of(gentool_models=3),
        lambda: exit(3),
    ],
)
def test_a_broken_plugin_harms_nobody_else(reg: Registry, load: object) -> None:
    broken = Plugin("broken", "there")
    reg.add(broken, load)  # type: ignore[arg-type]
    assert broken.state == "broken"
    assert len(broken.problems) == 1
    assert reg.find("model", "vae").name == "vae"
    with pytest.raises(UsageError, match="broken"):
        reg.find("model", "its-model")


@pytest.mark.parametrize("name", ["VAE", "a b", "../x", "", "x" * 41, "[bold]", "a\x1b[0m"])
def test_names_are_plain_words(reg: Registry, name: str) -> None:
    other = Plugin("two", "there")
    reg.add(other, lambda: plugin_of(gentool_models=[model_spec(name)]))
    assert other.problems
    assert reg.names("model") == ["vae"]


def test_a_part_that_does_not_fit_is_refused_with_what_does(reg: Registry) -> None:
    losses = [
        LossSpec(name="elbo", summary="s", factory="a:b", needs=("elbo",)),
        LossSpec(name="boxes", summary="s", factory="a:b", needs=("anchors",)),
    ]
    reg.add(Plugin("two", "there"), lambda: plugin_of(gentool_losses=losses))
    vae = reg.find("model", "vae")
    assert reg.find_fitting("loss", "elbo", vae).name == "elbo"
    with pytest.raises(UsageError, match=r"'boxes' does not fit the model 'vae': it needs 'anchors'.*fit: elbo"):
        reg.find_fitting("loss", "boxes", vae)


def test_a_single_file_is_a_plugin(tmp_path: Path) -> None:
    file = tmp_path / "mine_for_a_test.py"
    file.write_text(
        textwrap.dedent("""
        from gentool import LossSpec, hookimpl
        class Zero:
            pass
        @hookimpl
        def gentool_losses():
            return [LossSpec(name="zero", summary="nothing", factory="mine_for_a_test:Zero", needs=())]
        """)
    )
    module.use_plugin_files([file])
    reg = module.registry()
    spec = reg.find("loss", "zero")
    assert reg.load(spec.factory).__name__ == "Zero"
    assert reg.owner("loss", "zero").origin == str(file)


@pytest.mark.parametrize("name", ["missing.py", "torch.py", "notes.txt", "two words.py"])
def test_a_file_that_cannot_be_a_plugin_is_refused_or_reported(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name != "missing.py":
        file.write_text("")
    if name == "torch.py":
        module.use_plugin_files([file])
        assert module.registry().plugins[-1].state == "broken"
    else:
        with pytest.raises(UsageError):
            module.use_plugin_files([file])


@pytest.fixture
def made_anew() -> Iterator[None]:
    """The registry of the next test is made by its own environment."""
    yield
    module.registry.cache_clear()


def test_the_allow_list(monkeypatch: pytest.MonkeyPatch, made_anew: None) -> None:
    monkeypatch.setenv("GENTOOL_PLUGINS", "gan")
    module.registry.cache_clear()
    states = {p.name: p.state for p in module.registry().plugins}
    assert states["vqvae"] == "disabled"
    assert states["gan"] == "loaded"
    monkeypatch.setenv("GENTOOL_PLUGINS", "built-in")
    module.registry.cache_clear()
    assert {p.state for p in module.registry().plugins if p.origin == "built in"} == {"loaded"}
