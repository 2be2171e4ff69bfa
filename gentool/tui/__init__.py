"""The terminal application: `gentool tui [RUNS]`. It reads run folders only, and it imports no torch.

`app` is the frame, `places` the list of what it can show (a screen or a pane is one file under `screens/` and one line
there), `store` the thread that follows the runs folder, `widgets/` what screens are made of.
"""
