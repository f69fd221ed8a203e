"""Evidence of kinds that are not verified here: every kind refuses it, and none takes it for its own."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from strongroom.attest import registry
from strongroom.attest.base import Refused
from strongroom.attest.collateral import NOTHING
from tests.corpus.index import EVIDENCE, WHY_NOT, Entry, entries

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)


# Ours alone: a test may register a kind of its own.
KINDS = sorted(name for name, kind in registry.kinds().items() if kind.verify.__module__.startswith("strongroom."))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vector", list(entries("other")), ids=str)
def test_refused(vector: Entry, kind: str) -> None:
    with pytest.raises(Refused):
        registry.authenticate(kind, vector.read(), NOTHING, None, datetime(2026, 11, 24, tzinfo=UTC))
