"""Colours: a dark and a light theme, and one of the terminal's own 16 colours. `$soft`, `$good`, `$bad`, `$warn` and `$live`
are ours; themes that come with Textual get them from their own colours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

DARK = Theme(
    name="gentool-dark",
    dark=True,
    primary="#6cb6ff",
    secondary="#8ddb8c",
    accent="#f0a860",
    warning="#e0b050",
    error="#f07178",
    success="#7cc68d",
    foreground="#d3d8de",
    background="#16191d",
    surface="#1b1f24",
    panel="#242a31",
    variables={
        "soft": "#848d97",
        "line": "#30363d",
        "cursor": "#28384a",
        "block-cursor-background": "#28384a",
        "block-cursor-foreground": "#e6edf3",
        "block-cursor-text-style": "none",
        "block-hover-background": "#1f252c",
        "input-selection-background": "#2f4a68",
        "scrollbar": "#39414a",
        "scrollbar-hover": "#4a545f",
        "scrollbar-active": "#6cb6ff",
        "scrollbar-background": "#16191d",
        "scrollbar-background-hover": "#16191d",
        "scrollbar-background-active": "#16191d",
        "scrollbar-corner-color": "#16191d",
    },
)

LIGHT = Theme(
    name="gentool-light",
    dark=False,
    primary="#0b62b8",
    secondary="#1a7f37",
    accent="#a8530a",
    warning="#8a5a00",
    error="#b4232c",
    success="#1a7f37",
    foreground="#1f2328",
    background="#fdfdfc",
    surface="#f4f5f6",
    panel="#e9ecef",
    variables={
        "soft": "#626a73",
        "line": "#d5d9de",
        "cursor": "#d9e8f8",
        "block-cursor-background": "#d9e8f8",
        "block-cursor-foreground": "#0f1720",
        "block-cursor-text-style": "none",
        "block-hover-background": "#eef1f4",
        "input-selection-background": "#bcd9f5",
        "scrollbar": "#c4cad1",
        "scrollbar-hover": "#a9b1ba",
        "scrollbar-active": "#0b62b8",
        "scrollbar-background": "#fdfdfc",
        "scrollbar-background-hover": "#fdfdfc",
        "scrollbar-background-active": "#fdfdfc",
        "scrollbar-corner-color": "#fdfdfc",
    },
)

SIXTEEN = Theme(
    name="gentool-16",
    ansi=True,
    dark=True,
    primary="ansi_cyan",
    secondary="ansi_green",
    accent="ansi_yellow",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables=BUILTIN_THEMES["ansi-dark"].variables
    | {
        "soft": "ansi_default",
        "line": "ansi_bright_black",
        "cursor": "ansi_blue",
        "block-cursor-background": "ansi_blue",
        "block-cursor-foreground": "ansi_bright_white",
        "block-hover-background": "ansi_default",
        "border": "ansi_cyan",
        "border-blurred": "ansi_bright_black",
        "scrollbar": "ansi_cyan",
        "scrollbar-background": "ansi_default",
        "scrollbar-background-hover": "ansi_default",
        "scrollbar-background-active": "ansi_default",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_blue",
        "input-selection-foreground": "ansi_bright_white",
    },
)

THEMES = (DARK, LIGHT, SIXTEEN)

# Curves, told apart by the colour-blind too (after Okabe and Ito), for dark and for light grounds, and of 16 colours.
CURVES_DARK = ("#56b4e9", "#e69f00", "#3fc99a", "#e08bbb", "#f0e442", "#9d8cff", "#ff8a65", "#b0b8c0")
CURVES_LIGHT = ("#0072b2", "#c25700", "#00805a", "#a8478a", "#8a6d00", "#5b3fb0", "#b02a2a", "#555b61")
CURVES_16 = ("ansi_cyan", "ansi_yellow", "ansi_green", "ansi_magenta", "ansi_red", "ansi_blue", "ansi_white")


def own_variables(theme: Theme, made: Mapping[str, str]) -> dict[str, str]:
    """The variables that our styles use and a foreign theme lacks."""
    given = theme.variables

    def between(share: float) -> str:
        ground, ink = Color.parse(made["background"]), Color.parse(made["foreground"])
        return ground.blend(ink, share).hex if not theme.ansi else "ansi_bright_black"

    return {
        "soft": given.get("soft") or between(0.6),
        "line": given.get("line") or between(0.2),
        "cursor": given.get("cursor") or made.get("primary-muted") or between(0.25),
        "good": made["success"],
        "bad": made["error"],
        "warn": made["warning"],
        "live": made["primary"],
    }


def curve_colors(theme: Theme) -> tuple[str, ...]:
    """The colours of a plot's curves."""
    return CURVES_16 if theme.ansi else CURVES_DARK if theme.dark else CURVES_LIGHT


def default_theme(env: Mapping[str, str] = os.environ) -> str:
    """By what the environment says of the terminal, which is never asked: 16 colours, a light ground, or dark."""
    term = env.get("TERM", "")
    deep = env.get("COLORTERM", "").lower() in ("truecolor", "24bit") or "256" in term or "direct" in term
    if env.get("NO_COLOR") or not (deep or term.endswith("-kitty") or env.get("TMUX")):
        return SIXTEEN.name
    ground = env.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if ground in ("7", "15") else DARK.name
