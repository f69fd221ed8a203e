"""Real collateral on its way through the cache: admitted in its days, used from there, and never taken back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.attest import registry
from strongroom.attest.base import Refused
from strongroom.attest.policy import make
from strongroom.cli import attest_collateral, attest_files
from strongroom.fetch import collateral_amd, collateral_intel, collateral_store
from tests.corpus.index import EVIDENCE, WHY_NOT

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)
JUNE, FEBRUARY = datetime(2025, 6, 25, tzinfo=UTC), datetime(2026, 2, 25, tzinfo=UTC)
TODAY = datetime(2026, 11, 23, tzinfo=UTC)
OLDER, NEWER = (EVIDENCE / "tdx" / f"dcapqvl-tdx_quote{part}_collateral.json" for part in ("", "_outdated"))


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("bundle", "quote", "now"),
    [(OLDER, "dcapqvl-tdx_quote", JUNE), (NEWER, "gotdxguest-quote_v5_sample.dat", FEBRUARY)],
    ids=["B0C06F", "90C06F"],
)
def test_intel(bundle: Path, quote: str, now: datetime, tmp_path: Path) -> None:
    sets = collateral_intel.admit(attest_files.gather((), [str(bundle)]), now)
    assert re.fullmatch(r"tdx-(b0|90)c06f000000-platform", next(iter(sets)))
    attest_collateral.export(tmp_path / "out")
    evidence = (EVIDENCE / "tdx" / quote).read_bytes()
    raw, collateral = registry.unwrap("tdx", evidence, attest_files.gather((), [str(tmp_path / "out")]))
    said = make({"tdx": {"platform": ["dynamic-platform", "cached-keys", "smt"]}})
    assert registry.authenticate("tdx", raw, collateral, said, now).facts.kind == "tdx"
    with pytest.raises(Refused, match=r"ended|valid"):
        attest_collateral.import_(tmp_path / "out", at=TODAY.isoformat())


def test_intel_goes_back() -> None:
    collateral_intel.admit(attest_files.gather((), [str(NEWER)]), FEBRUARY)
    with pytest.raises(Refused, match=r"number \d+ of 2025.*, and number \d+ of 2026.* was seen before"):
        collateral_intel.admit(attest_files.gather((), [str(OLDER)]), JUNE)
    assert len(collateral_store.cached()) == 1


@pytest.mark.parametrize("name", ["virtee-milan", "virtee-turin", "gosevguest-milan"])
def test_amd(name: str, tmp_path: Path) -> None:
    files = [EVIDENCE / "snp" / f"{name}.{part}" for part in ("vcek.der", "chain.pem")]
    if not all(file.exists() for file in files):
        pytest.skip("the capture is not there")
    (sets,) = collateral_amd.admit(attest_files.gather(files, ()), TODAY).values()
    assert sum(file.endswith(".der") for file in sets) == 1
    attest_collateral.export(tmp_path / "out")
    attest_collateral.import_(tmp_path / "out", at=TODAY.isoformat())


def test_amds_certificate_that_was_tampered_with() -> None:
    for name in ("trustee-test-vcek-invalid-legacy.der", "trustee-test-vcek-invalid-new.der"):
        with pytest.raises(Refused):
            collateral_amd.admit(attest_files.gather([EVIDENCE / "snp" / name], ()), TODAY)
    assert not collateral_store.root().exists()
