"""The probe itself: a POSIX sh script that reads a host and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from time import time

from strongroom.probe.sections import END, split


@cache
def probe_script() -> str:
    """The probe, as packed with strongroom."""
    return files("strongroom").joinpath("probe", "probe.sh").read_text(encoding="utf-8")


def probed(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The probe's sections by name, with one of our own: when its output arrived, by the controller's clock."""
    return {**split(lines), "controller": (f"arrived={int(time())}", END)}
