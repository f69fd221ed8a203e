"""A seeded thousand of hostile probes; ``make torture`` runs a million."""

from __future__ import annotations

from tests import hostile


def test_parsers_and_checks_never_raise() -> None:
    outcome = hostile.run(seed=1, count=1000)
    print(outcome)
    assert outcome.count == 1000
