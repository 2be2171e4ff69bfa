"""Move in the latent space of a model: a slider for each dimension with the picture following, and the way between two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from gentool.show.text import safe_text
from gentool.specs import ModelSpec
from gentool.tui.page import binding
from gentool.tui.player.player import Stage
from gentool.tui.widgets.album import Album
from gentool.tui.widgets.fields import FieldRow, Setting
from gentool.tui.widgets.pictures import Pictures
from gentool.tui.widgets.slider import Slider

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 3.0  # of a slider to both sides: all but 0.3 % of the prior
SLIDERS = 48  # dimensions that have one: those that change the picture most
DRAWN, WAY = 12, 16  # pictures to start from, and on the way between two
FRAME = 1 / 12


class LatentStage(Stage):
    """A picture and its latent vector."""

    NAME = "latent"
    DEFAULT_CSS = """
    LatentStage .main { layout: horizontal; }
    LatentStage #one { width: 1fr; height: 1fr; }
    LatentStage #many { width: 1fr; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("r", "another", "New pictures", show=True),
        binding("a", "mark('A')", "Mark as A", show=True),
        binding("b", "mark('B')", "Mark as B"),
        binding("i", "between", "From A to B", show=True),
        binding("space", "walk", "Walk on, stand still"),
        binding("e", "encode", "Start from a picture of yours"),
        binding("z", "zero", "All dimensions 0"),
    ]

    @classmethod
    def fits(cls, spec: ModelSpec, about: Mapping[str, Any]) -> bool:
        return int(about.get("latent") or 0) > 0

    def compose(self) -> ComposeResult:
        self.seed = 0
        self.z: NDArray[np.float32] = np.zeros((0, 0), np.float32)  # of every picture below
        self.labels: NDArray[np.int64] | None = None
        self.here: NDArray[np.float32] | None = None  # the vector that the sliders show
        self.order: list[int] = []
        self.marks: dict[str, int] = {}
        self.walking = 0
        self._wanted = False
        self._decoding = False
        self.seconds: list[float] = []  # from a move to its picture
        with Vertical(classes="main"):
            one = Pictures("", id="one")
            one.can_focus = False
            one.zoomed = True
            yield one
            yield Pictures("", id="many")
        with VerticalScroll(classes="side", can_focus=False):
            if self.player.about.get("conditional"):
                choices = (None, *range(len(self.player.about["classes"])))
                yield FieldRow(Setting("class", "choice", None, "", "", choices), note=False, id="class")
            yield Vertical(id="sliders")
            yield Static(
                "The dimensions that change the picture most come first. 0 puts one back. Mark two pictures with a and "
                "b; i goes from one to the other.",
                classes="hint",
                markup=False,
            )

    def on_mount(self) -> None:
        self._timer = self.set_interval(FRAME, self._walk_on, pause=True)
        if self.player.about.get("conditional"):
            from gentool.tui.widgets.fields import Choice

            row = self.query_one("#class", FieldRow)
            names = ["all", *(safe_text(name) for name in self.player.about["classes"])]
            self.call_after_refresh(lambda: row.query_one(Choice).offer(row.setting.choices, None, names))
        self.player.attempt(self._draw(), "latent")

    def focus_first(self) -> None:
        self.query_one("#many").focus()

    @property
    def _fields(self) -> dict[str, Any]:
        rows = list(self.query("#class").results(FieldRow))
        return {"class": rows[0].value} if rows else {}

    # -- pictures to start from -------------------------------------------------------------------------------------

    async def _draw(self) -> None:
        self._stand()
        async for message in self.player.stream("latents", n=DRAWN, seed=self.seed, **self._fields):
            self.marks = {}
            self._take(message.arrays)
        if not self.order:
            await self._rank()
        self.player.say(f"{self.z.shape[1]} dimensions, seed {self.seed}")

    def action_encode(self) -> None:
        from gentool.tui.screens.ask import AskScreen

        assert self.player.spec is not None
        if "encode" not in self.player.spec.offers:
            self.player.say(f"'{self.player.spec.name}' turns no picture into a latent vector.", bad=True)
            return
        asked = AskScreen("The path of a picture", hint="cut to a square, and made as small as the model's pictures")
        self.app.push_screen(asked, lambda path: self.player.attempt(self._encode(path), "latent") if path else None)

    async def _encode(self, path: str) -> None:
        self._stand()
        async for message in self.player.stream("encode", path=path, **self._fields):
            self.marks = {}
            self._take(message.arrays)
        self.player.say("what the model makes of your picture")

    def _take(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Other pictures below, the first of them above."""
        self.z, self.labels = arrays["z"], arrays.get("labels", self.labels)
        many = self.query_one("#many", Pictures)
        many.show(Album(arrays["images"]), keep=False)
        self._mark()
        self._choose(0)

    async def _rank(self) -> None:
        """A slider for each dimension, the ones that do most first."""
        arrays = self._vector(self.z[:1])
        async for message in self.player.stream("effects", arrays):
            change = message.arrays["change"]
            self.order = np.argsort(-change, kind="stable")[:SLIDERS].tolist()
        width = max(len(f"z{j}") for j in self.order)
        made = [
            Slider(
                -REACH, REACH, 0.0, step=0.1, label=f"z{j}", label_width=width, start=0.0, words="{:+.1f}".format,
                id=f"z{j}", value_width=5,
            )
            for j in self.order
        ]  # fmt: skip
        await self.query_one("#sliders", Vertical).mount_all(made)
        self._choose(self.query_one("#many", Pictures).chosen)

    def _vector(self, z: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Vectors with the label of the picture that is chosen, for models that take one."""
        arrays: dict[str, NDArray[Any]] = {"z": np.ascontiguousarray(z, np.float32)}
        if self.labels is not None and len(self.labels):
            i = min(self.query_one("#many", Pictures).chosen, len(self.labels) - 1)
            arrays["labels"] = np.full(len(z), self.labels[i], np.int64)
        return arrays

    def on_pictures_chosen(self, event: Pictures.Chosen) -> None:
        event.stop()
        if event.pictures.id == "many":
            self._choose(event.pictures.chosen)

    def _choose(self, i: int) -> None:
        """Begin from one of the pictures below."""
        many = self.query_one("#many", Pictures)
        if many.album is None or i >= len(self.z):
            return
        self.here = self.z[i].copy()
        self.query_one("#one", Pictures).show(Album(many.album.pixels[i : i + 1]))
        for slider in self.query(Slider):
            j = int((slider.id or "z0")[1:])
            slider.initial = float(self.here[j])
            slider.set(slider.initial)

    # -- sliders ----------------------------------------------------------------------------------------------------

    def on_slider_moved(self, event: Slider.Moved) -> None:
        event.stop()
        self._stand()
        if self.here is not None:
            self.here[int((event.slider.id or "z0")[1:])] = event.slider.value
            self._follow()

    def action_zero(self) -> None:
        if self.here is not None:
            self.here[:] = 0
            for slider in self.query(Slider):
                slider.set(0.0)
            self._follow()

    def _follow(self) -> None:
        """Have the newest vector decoded: never more than one on its way, whatever comes in between is left out."""
        self._wanted = True
        if not self._decoding:
            self.player.attempt(self._decode(), "decode")

    async def _decode(self) -> None:
        import time

        self._decoding = True
        try:
            while self._wanted and self.here is not None:
                self._wanted = False
                begun = time.perf_counter()
                async for message in self.player.stream("decode", self._vector(self.here[None])):
                    self.query_one("#one", Pictures).show(Album(message.arrays["images"]))
                took = time.perf_counter() - begun
                self.seconds.append(took)
                self.player.say(f"decoded in {1000 * took:.0f} ms")
        finally:
            self._decoding = False

    # -- from one to the other --------------------------------------------------------------------------------------

    def action_mark(self, letter: str) -> None:
        many = self.query_one("#many", Pictures)
        if many.album is not None:
            self.marks = {name: i for name, i in self.marks.items() if i != many.chosen and name != letter}
            self.marks[letter] = many.chosen
            self._mark()
            other = "B" if letter == "A" else "A"
            self.player.say("i goes from A to B" if other in self.marks else f"now mark another as {other}")

    def _mark(self) -> None:
        self.query_one("#many", Pictures).mark({i: name for name, i in self.marks.items()})

    def action_between(self) -> None:
        if len(self.marks) < 2:
            self.player.say("Mark two pictures first: a, and b on another.", bad=True)
            return
        self.player.attempt(self._between(self.marks["A"], self.marks["B"]), "latent")

    async def _between(self, a: int, b: int) -> None:
        arrays: dict[str, NDArray[Any]] = {"z": np.stack([self.z[a], self.z[b]])}
        label = None
        if self.labels is not None and a < len(self.labels):
            label = self.labels[a]
            arrays["labels"] = np.full(2, label, np.int64)
        async for message in self.player.stream("interpolate", arrays, steps=WAY):
            if label is not None:
                self.labels = np.full(WAY, label, np.int64)
            self.marks = {"A": 0, "B": WAY - 1}
            self._take({key: value for key, value in message.arrays.items() if key != "labels"})
        self.walking = 1
        self._timer.resume()
        self.player.say("from A to B; space stands still")

    def _walk_on(self) -> None:
        """One picture further; at an end, back again."""
        many = self.query_one("#many", Pictures)
        if many.album is None or not self.walking:
            return
        if not 0 <= many.chosen + self.walking < len(many.album):
            self.walking = -self.walking
        many.chosen += self.walking

    def _stand(self) -> None:
        self.walking = 0
        self._timer.pause()

    def action_walk(self) -> None:
        if self.walking:
            self._stand()
        elif len(self.z):
            self.walking = 1
            self._timer.resume()

    def action_another(self) -> None:
        self.seed += 1
        self.player.attempt(self._draw(), "latent")

    def on_field_row_changed(self, event: FieldRow.Changed) -> None:
        event.stop()
        self.player.attempt(self._draw(), "latent")
