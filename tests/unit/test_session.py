"""Work on all hosts of a session."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gevent.pool import Pool

from strongroom.engine.remote import Remote
from strongroom.engine.session import Session
from strongroom.errors import StrongroomError
from strongroom.model.cluster import validate
from strongroom.plan.resource import Step, Upload
from strongroom.plan.script import LOCK, STATE

ONE = validate({"name": "one", "claim": "none"}, {"a": (("control_plane", "workers"), {"address": "10.0.0.1"})})


def session(pool: Pool) -> Session:
    state = SimpleNamespace(pool=pool, config=None)
    return Session(ONE, cast(Any, state), {"a": cast(Any, "remote of a")})


def test_work_on_hosts_can_be_started_from_pyinfras_own_pool() -> None:
    """A plain pyinfra run of one host has one place, and sits on it."""
    pool = Pool(1)
    found = pool.spawn(lambda: session(pool).each(ONE.hosts, lambda host, remote: f"{host.name}: {remote}"))
    assert found.get(timeout=30) == ["a: remote of a"]


def test_a_failure_is_the_hosts_and_is_raised_when_all_are_done() -> None:
    def fails(*_: object) -> None:
        raise StrongroomError("a: no")

    with pytest.raises(StrongroomError, match="a: no"):
        session(Pool(1)).each(ONE.hosts, fails)


def test_what_a_run_has_left_that_was_cut_off_makes_room_for_the_next(tmp_path: Path) -> None:
    class Here(Remote):
        def run(self, script: str, *, doing: str, timeout: int = 900) -> list[str]:
            script = script.replace(STATE, str(tmp_path)).replace(LOCK, f"{tmp_path}/lock")
            done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=True)
            return done.stdout.splitlines()

        def put(self, upload: Upload, *, doing: str, pack: bool = False) -> None:
            assert list((tmp_path / "incoming").iterdir()) == []
            (tmp_path / "incoming" / upload.sha256).write_bytes(b"")

    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / ("0" * 64)).write_bytes(b"half of another bundle's archive")
    state, host = SimpleNamespace(), SimpleNamespace(name="a", connector=None)
    empty = Upload(Path("/dev/null"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 0)
    Here(cast(Any, state), cast(Any, host)).perform([Step("x", "x", "true", uploads=(empty,))])
    assert list((tmp_path / "incoming").iterdir()) == []
