"""The registry: what can be trained, and what ships."""

from __future__ import annotations

from gentool.tui.page import Page


class ModelsPage(Page):
    """Models by name."""

    TAB = "models"
