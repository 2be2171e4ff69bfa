"""`@jit`: a Triton kernel that costs nothing until its first launch.

Triton takes a third of a second to import and is absent where torch has no CUDA, so a plugin's ``kernels.py`` may not
import it. The decorated function is compiled by ``triton.jit`` at its first launch, when ``tl`` (triton.language) is put
into its module. Write, for type checkers only::

    if TYPE_CHECKING:
        import triton.language as tl
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

# While the ahead-of-time check runs, launches compile and are listed here instead of being run (see `gentool.kernels.aot`).
captured: list[Any] | None = None


def has_triton() -> bool:
    """Whether Triton is installed; does not import it."""
    return importlib.util.find_spec("triton") is not None


class Jit:
    """A function in Triton's language: ``kernel[grid](*args)`` launches it, another kernel may call it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self._made: Any = None

    def make(self) -> Any:
        """The ``triton.JITFunction`` (or its interpreter's counterpart under TRITON_INTERPRET=1)."""
        if self._made is None:
            import triton
            import triton.language

            scope = self.function.__globals__
            scope["tl"] = triton.language
            for name in self.function.__code__.co_names:  # helpers must be Triton's own objects before it parses
                if isinstance(scope.get(name), Jit):
                    scope[name] = scope[name].make()
            self._made = triton.jit(self.function)
        return self._made

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., Any]:
        kernel = self.make()
        if captured is None:
            launch: Callable[..., Any] = kernel[grid]
            return launch

        def compile_only(*args: Any, **options: Any) -> None:
            assert captured is not None
            captured.append(kernel.run(*args, grid=grid, warmup=True, **options))

        return compile_only

    def __call__(self, *args: Any, **options: Any) -> Any:
        raise TypeError(f"{self.__name__} is a Triton kernel: launch it as {self.__name__}[grid](...)")


def jit(function: Callable[..., Any]) -> Jit:
    """Decorate a Triton kernel, or a helper that kernels call."""
    return Jit(function)
