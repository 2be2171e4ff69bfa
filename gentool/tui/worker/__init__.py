"""The model in a process of its own, so that the application never imports torch and nothing a model does can hang it.

wire       messages over a pipe: JSON and raw bytes, nothing pickled
__main__   the worker: reads requests, obeys them one after the other, can be cancelled
session    what a worker can do with an open model
client     the application's side, on asyncio
"""
