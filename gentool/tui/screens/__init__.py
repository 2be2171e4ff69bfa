"""One file a screen: a `Page` (a place of its own) or a `Pane` (a tab of one run). `gentool.tui.places` lists them."""
