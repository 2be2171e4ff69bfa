"""What can be done with one trained model, each in a stage of its own: draw samples, move in its latent space, look at it.

The model itself lives in the worker process (`gentool.tui.worker`); nothing here imports torch.
"""
