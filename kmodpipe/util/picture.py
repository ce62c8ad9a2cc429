"""Keep a picture on the whole terminal, as `Screen.staying` shows it; nothing else uses it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from rich.console import Console, RenderableType
from rich.live import Live


class Picture:
    """What stays on the whole terminal until it is closed. Not thread-safe."""

    def __init__(self, console: Console, draw: Callable[[int, int], RenderableType]) -> None:
        self._console, self._draw = console, draw
        self._live: Live | None = None

    def open(self) -> None:
        """Show it, in place of what the terminal had; `close` brings that back."""
        if self._live is None:
            self._live = Live(
                get_renderable=lambda: self._draw(*self._console.size),
                console=self._console, screen=True, auto_refresh=False, redirect_stdout=False,
                redirect_stderr=False,
            )  # fmt: skip
            with suppress(OSError):
                self._live.start(refresh=True)

    def draw(self) -> None:
        """Draw it again, in the size that the terminal has now."""
        if self._live is not None:
            with suppress(OSError):
                self._live.refresh()

    def close(self) -> None:
        """Bring back what the terminal had."""
        live, self._live = self._live, None
        if live is not None:
            # A terminal that was closed takes nothing.
            with suppress(OSError):
                live.stop()
