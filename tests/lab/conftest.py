"""Labs for tests that need a cluster."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from strongroom.lab import state, vm


def own_lab(name: str, hosts: Sequence[str], **how: Any) -> Iterator[state.Lab]:
    """A lab with a state folder of its own and the user's cache; commands find it by the environment."""
    folder = tempfile.mkdtemp(prefix="sr-")
    before = {key: os.environ.get(key) for key in ("XDG_STATE_HOME", "STRONGROOM_LAB")}
    os.environ.update(XDG_STATE_HOME=folder, STRONGROOM_LAB=name)
    try:
        yield vm.up(name, hosts, **how)
    finally:
        vm.down(name)
        left = [path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".lock"]
        shutil.rmtree(folder)
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})
        assert [path for path in left if path.name != ".lock"] == [], "down left files behind"


@pytest.fixture(scope="module")
def road() -> Iterator[state.Lab]:
    """One host, bare at first; what a test makes of it, the next one finds."""
    yield from own_lab("road", ("cp1",))
