"""How long SEV-SNP takes: one report with nothing remembered, one with its chain known, and a rack in one call."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time

import pytest

from strongroom.attest import amd, certificates, registry, roots, signatures, snp
from strongroom.attest.collateral import Collateral
from tests.bench.timing import milliseconds
from tests.corpus.index import EVIDENCE, WHY_NOT, read
from tests.unit import amd_pki
from tests.unit.amd_pki import Machine
from tests.unit.test_cli import STRONGROOM

AT = datetime(2026, 11, 23, tzinfo=UTC)
REPORT, LEAF = "snp/dstack-milan.report.bin", "snp/dstack-sev_snp_vcek.pem"
RACK = 1000


def forget() -> None:
    """Empty every cache, as in a new process."""
    caches = (certificates.parse, certificates.load, certificates._signed, signatures.load_key, snp._given, amd._leaf)
    for cached in (*caches, roots.shipped):
        cached.cache_clear()


@pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)
def test_one_report(capsys: pytest.CaptureFixture[str]) -> None:
    report, collateral = read(REPORT), Collateral((read(LEAF),))

    def verify() -> None:
        registry.authenticate("snp", report, collateral, None, AT)

    cold, warm = milliseconds(verify, 51, forget), milliseconds(verify, 201)
    with capsys.disabled():
        print(
            f"\nSEV-SNP report: {cold:.2f} ms with nothing remembered, {warm:.2f} ms with its chain known (target 20)"
        )


def test_a_rack(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    amd_pki.install(monkeypatch)
    machines = [Machine(chip=number.to_bytes(2, "little") * 32) for number in range(1, RACK + 1)]
    reports, collateral = [machine.report() for machine in machines], Collateral(tuple(one.leaf() for one in machines))
    start = process_time()
    for machine, report in zip(machines, reports, strict=True):
        said = registry.authenticate("snp", report, collateral, None, amd_pki.NOW)
        assert said.facts.identity == machine.chip
    taken = process_time() - start
    with capsys.disabled():
        print(f"\n{RACK} SEV-SNP reports of {RACK} chips: {taken:.2f} s, {1000 * taken / RACK:.2f} ms each")


@pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)
def test_a_rack_by_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, files = read(REPORT), []
    for number in range(RACK):
        files.append(tmp_path / f"{number}.bin")
        files[-1].write_bytes(data)
    words = ("--kind", "snp", "--certs", str(EVIDENCE / LEAF), "--authenticity-only", "--at", "2026-11-23")
    start = perf_counter()
    done = subprocess.run([STRONGROOM, "attest", "verify", *map(str, files), *words], capture_output=True, check=False)
    taken = perf_counter() - start
    assert done.returncode == 0
    assert f"{RACK} of {RACK} authentic, 0 refused" in done.stdout.decode()
    with capsys.disabled():
        print(f"\nstrongroom attest verify of {RACK} files: {taken:.2f} s of the wall's clock, the start included")
