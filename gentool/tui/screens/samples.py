"""What a run drew while it trained: pictures and texts by step, newest first to come, any of them to be looked at closely."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType

from gentool.runs.gallery import Look, Shot, look, shots
from gentool.runs.reader import RunView
from gentool.show.text import safe_text
from gentool.tui.page import Pane, binding
from gentool.tui.widgets.bar import Bar, Part
from gentool.tui.widgets.pictures import Pictures
from gentool.tui.widgets.sight import Sight
from gentool.tui.widgets.slider import Slider

KEPT = 24  # files whose pictures stay in memory
FRAME = 0.25  # seconds a step is shown when training is played


class SamplesPane(Pane):
    """A grid of pictures (or a text) with a slider over the steps."""

    DEFAULT_CSS = """
    SamplesPane { layout: vertical; padding: 0 1; }
    SamplesPane #when, SamplesPane #sure { margin: 0 1; }
    SamplesPane Bar { padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("b", "truth", "True boxes", show=True),
        binding("comma", "go(-1)", "Step before", key_display=","),
        binding("full_stop", "go(1)", "Next step", key_display=".", show=True),
        binding("less_than_sign", "edge(-1)", "First step", key_display="<"),
        binding("greater_than_sign", "edge(1)", "Last step", key_display=">"),
        binding("space", "play", "Play the training", show=True),
        binding("v", "kind(1)", "Other pictures", show=True),
        binding("f", "follow", "Follow what is new", show=True),
        binding("plus,equals_sign", "sure(1)", "Surer boxes only", key_display="+"),
        binding("minus", "sure(-1)", "Less sure boxes, too", key_display="-"),
        binding("V", "kind(-1)", "Other pictures, backwards"),
    ]

    def __init__(self, run: RunView) -> None:
        super().__init__(run)
        self.gallery: dict[str, list[Shot]] = {}
        self.kind = ""
        self.at = -1  # which of the kind's shots is shown
        self.following = True
        self.playing = False
        self.truth = False  # the true boxes are shown in place of those found
        self.seen: Look | None = None
        self._shown: Shot | None = None
        self._looks: OrderedDict[Shot, Look] = OrderedDict()

    def compose(self) -> ComposeResult:
        yield Bar(id="about")
        yield Sight()
        sure = Slider(0, 1, 0.3, id="sure", step=0.05, label="score", value_width=11)
        sure.display = False
        yield sure
        yield Slider(0, 1, 0, id="when", label="step", value_width=11, words=self._when_words)

    def on_mount(self) -> None:
        self._timer = self.set_interval(FRAME, self._play_on, pause=True)
        super().on_mount()

    def show_run(self) -> None:
        self.tick()

    def focus_first(self) -> None:
        for sight in self.query(Sight):  # none where the pane is gone by now
            if sight.front is not sight:
                sight.front.focus()
            elif self.display:  # it has not made its parts yet
                self.set_timer(0.05, self.focus_first)

    @property
    def sight(self) -> Sight:
        return self.query_one(Sight)

    # -- what there is ----------------------------------------------------------------------------------------------

    @property
    def own(self) -> list[Shot]:
        """The shots of the kind that is shown."""
        return self.gallery.get(self.kind, [])

    def tick(self) -> None:
        """Look at the folder again; show what is new, if that is followed."""
        self.gallery = shots(self.run_view.path)
        if self.kind not in self.gallery:
            self.kind = next(iter(self.gallery), "")
            self.at = -1
        if self.following or self._shown is None or self._shown.kind != self.kind:
            self.at = len(self.own) - 1
        else:
            same = [i for i, shot in enumerate(self.own) if shot.path == self._shown.path]
            self.at = same[0] if same else min(self.at, len(self.own) - 1)
        self._show()

    def _show(self) -> None:
        """Show the chosen shot, read in a thread if it is not known."""
        slider = self.query_one("#when", Slider)
        slider.display = len(self.own) > 1
        slider.span(0, max(len(self.own) - 1, 1), range(len(self.own)))
        slider.label = "step" if self.kind != "drawn" else "file"
        slider.set(max(self.at, 0))
        slider.refresh()
        if not self.own:
            self._shown = None
            self._show_nothing()
            return
        shot = self.own[self.at]
        if shot == self._shown and self.seen is not None:
            self._draw_about()
            return
        self._shown = shot
        if (known := self._looks.get(shot)) is not None:
            self._show_look(shot, known)
        else:
            self._read(shot)

    @work(thread=True, exclusive=True, group="look")
    def _read(self, shot: Shot) -> None:
        found = look(shot.path)
        if self.is_attached:
            self.app.call_from_thread(self._have, shot, found)

    def _have(self, shot: Shot, found: Look) -> None:
        self._looks[shot] = found
        while len(self._looks) > KEPT:
            self._looks.popitem(last=False)
        if self._shown == shot and self.is_attached:
            self._show_look(shot, found)

    # -- showing it -------------------------------------------------------------------------------------------------

    def _show_nothing(self) -> None:
        self.seen = None
        if self.run_view.live:
            said = "Nothing was drawn yet.\nThe first samples come with the first preview (preview.every)."
        else:
            said = f"This run drew nothing.\nDraw now: gentool sample {safe_text(self.run_view.name)}"
        self.sight.show_pictures(None, said)
        self._draw_about()

    def _show_look(self, shot: Shot, found: Look) -> None:
        before, self.seen = self.seen, found
        sure = self.query_one("#sure", Slider)
        if found.found and not sure.display:
            sure.set(found.least)
        sure.display = bool(found.found)
        self.sight.pictures.threshold = sure.value if found.found else 0.0
        same = before is not None and before.pixels is not None and found.pixels is not None
        keep = same and before.pixels.shape == found.pixels.shape  # type: ignore[union-attr]
        self.sight.show_look(shot, found, truth=self.truth, keep=keep)
        if (before is not None and bool(before.truth)) != bool(found.truth):
            self.refresh_bindings()
        self._draw_about()

    def _draw_about(self) -> None:
        """The line above: what is seen, and the kinds there are."""
        left: list[Part] = []
        shot, found = self._shown, self.seen
        if shot is not None:
            left.append(Part(f"step {shot.step:,}" if shot.step is not None else safe_text(shot.path.name), "strong"))
            if found is not None and found.pixels is not None:
                if self.truth and found.truth:
                    left.append(Part("true boxes", "live", "truth"))
                n, height, width, _ = found.pixels.shape
                left.append(Part(f"{n} of {width}×{height}" if n > 1 else f"{width}×{height}", "soft"))
                pictures = self.sight.pictures
                if pictures.zoomed and n > 1:
                    left.append(Part(f"picture {pictures.chosen + 1}", "text"))
                caption = pictures.album.caption(pictures.chosen) if pictures.album is not None else ""
                if found.found and pictures.chosen < len(found.captions) and pictures.zoomed:
                    left.append(Part(found.captions[pictures.chosen], "text"))
                elif caption and pictures.zoomed:
                    left.append(Part(caption, "text"))
                elif found.title:
                    left.append(Part(found.title, "soft"))
            if found is not None and found.maps:
                rows, columns = found.maps[0].axes
                left.append(Part("1 map" if len(found.maps) == 1 else f"{len(found.maps)} maps", "soft"))
                if rows and columns:
                    left.append(Part(f"{safe_text(rows)} × {safe_text(columns)}, in percent", "soft"))
        if self.playing:
            left.append(Part("▶ playing", "live", "play"))
        elif self.following and self.run_view.live:
            left.append(Part("● following", "live", "follow"))
        left = [part for one in left for part in (one, Part("  "))]
        right: list[Part] = []
        for kind in self.gallery if len(self.gallery) > 1 else ():
            here = kind == self.kind
            right += [Part("  "), Part(safe_text(kind), "here" if here else "soft", f"show_kind({kind!r})")]
        self.query_one("#about", Bar).show(left, right)

    def _when_words(self, value: float) -> str:
        i = round(value)
        if not 0 <= i < len(self.own):
            return ""
        step = self.own[i].step
        return f"{step:,}" if step is not None else f"{i + 1} of {len(self.own)}"

    # -- going through the steps ------------------------------------------------------------------------------------

    def on_slider_moved(self, event: Slider.Moved) -> None:
        event.stop()
        if event.slider.id == "sure":
            self.sight.pictures.threshold = event.slider.value
        else:
            self._go(round(event.slider.value))

    def on_pictures_chosen(self, event: Pictures.Chosen) -> None:
        event.stop()
        self._draw_about()

    def _go(self, at: int, *, played: bool = False) -> None:
        if not self.own:
            return
        if not played:
            self._stop()
        self.at = min(max(at, 0), len(self.own) - 1)
        self.following = self.at == len(self.own) - 1 and self.kind != "drawn"
        self._show()

    def action_go(self, by: int) -> None:
        self._go(self.at + by)

    def action_edge(self, which: int) -> None:
        self._go(0 if which < 0 else len(self.own) - 1)

    def action_follow(self) -> None:
        self._stop()
        self.following = not self.following
        self.tick()

    def action_kind(self, by: int) -> None:
        kinds = list(self.gallery)
        if len(kinds) > 1:
            self.action_show_kind(kinds[(kinds.index(self.kind) + by) % len(kinds)])

    def action_show_kind(self, kind: str) -> None:
        """Show another kind, at the step that is shown, if it has it."""
        step = self._shown.step if self._shown is not None else None
        self._stop()
        self.kind = kind
        same = [i for i, shot in enumerate(self.own) if shot.step == step and step is not None]
        self.at = same[0] if same else len(self.own) - 1
        self.following = self.at == len(self.own) - 1
        self._show()

    def action_sure(self, by: int) -> None:
        self.query_one("#sure", Slider).action_step(by)

    def action_truth(self) -> None:
        """Show what is truly there in place of what was found, or that again."""
        self.truth = not self.truth
        if self._shown is not None and self.seen is not None:
            self._show_look(self._shown, self.seen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "truth":
            return self.seen is not None and bool(self.seen.truth)
        return True

    def action_play(self) -> None:
        """Show the steps one after the other; from the start, where the last is shown."""
        if self.playing:
            self._stop()
            self._draw_about()
        elif len(self.own) > 1:
            self.playing = True
            if self.at >= len(self.own) - 1:
                self._go(0, played=True)
            self._timer.resume()

    def _play_on(self) -> None:
        if not self.playing or not self.is_attached:
            return
        if self.at >= len(self.own) - 1:
            self._stop()
            self._draw_about()
        else:
            self._go(self.at + 1, played=True)

    def _stop(self) -> None:
        self.playing = False
        self._timer.pause()
