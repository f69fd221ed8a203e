"""Progress on stderr: one line when a step begins or ends, with the time since the command started.

Results belong on stdout; nothing here writes there. Lines are plain when stderr is no terminal, so logs stay readable.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console

_STARTED = time.monotonic()


def elapsed() -> str:
    """Time since the command started, as ``m:ss``."""
    seconds = int(time.monotonic() - _STARTED)
    return f"{seconds // 60}:{seconds % 60:02d}"


@dataclass
class Progress:
    """Nested steps with elapsed time."""

    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False, soft_wrap=True))
    depth: int = 0
    timings: list[tuple[str, float]] = field(default_factory=list)

    def say(self, text: str, style: str | None = None) -> None:
        """Print one line at the current depth."""
        self.console.print(f"[{elapsed():>5}] {'  ' * self.depth}{text}", style=style, markup=False)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Name a step, then say how long it took; keeps ``(title, seconds)`` of steps at the top level."""
        self.say(title)
        started, depth = time.monotonic(), self.depth
        self.depth += 1
        try:
            yield
        finally:
            self.depth = depth
            if depth == 0:
                self.timings.append((title, time.monotonic() - started))

    def where_time_went(self) -> None:
        """Print the top-level steps with their seconds."""
        for title, seconds in self.timings:
            self.console.print(f"{seconds:8.1f} s  {title}", markup=False)


progress = Progress()
"""The command's own progress; one process runs one command."""
