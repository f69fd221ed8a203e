"""A seeded minute of hostile evidence; ``python -m tests.fuzz_attest`` runs any number."""

from __future__ import annotations

from tests import fuzz_attest


def test_verifiers_say_a_verdict_or_refuse() -> None:
    outcome = fuzz_attest.run(seed=1, count=150_000)
    print(outcome)
    assert outcome.count == sum(outcome.verdicts.values())
