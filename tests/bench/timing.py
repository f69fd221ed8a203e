"""Times of the CPU, in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time


def milliseconds(call: Callable[[], object], times: int, before: Callable[[], None] = lambda: None) -> float:
    """The median of the CPU's time for a call, with ``before`` called outside of it."""
    taken = []
    for _ in range(times):
        before()
        start = process_time()
        call()
        taken.append(process_time() - start)
    return 1000 * sorted(taken)[times // 2]
