"""Work on all hosts of a session."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from gevent.pool import Pool

from strongroom.engine.session import Session
from strongroom.errors import StrongroomError
from strongroom.model.cluster import validate

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
