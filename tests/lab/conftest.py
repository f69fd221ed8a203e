"""One lab for all tests that need a cluster: two hosts, with a state folder of their own and the user's cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.lab import state, vm
from tests.torture import HOSTS


@pytest.fixture(scope="session")
def road() -> Iterator[state.Lab]:
    """A control plane host and a worker, bare at first; what a test makes of them, the next one finds."""
    folder = tempfile.mkdtemp(prefix="sr-")
    before = {name: os.environ.get(name) for name in ("XDG_STATE_HOME", "STRONGROOM_LAB")}
    os.environ.update(XDG_STATE_HOME=folder, STRONGROOM_LAB="road")
    try:
        yield vm.up("road", HOSTS)
    finally:
        vm.down("road")
        left = [path for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".lock"]
        shutil.rmtree(folder)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        assert [path for path in left if path.name != ".lock"] == [], "down left files behind"
