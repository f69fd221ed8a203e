"""How long TDX and TPM take: a quote with nothing remembered and with its collateral known, and a log of 150 records."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from time import process_time
from typing import Any

import pytest

from strongroom.attest import ccel, certificates, crl, registry, signatures
from strongroom.attest.collateral import NOTHING, Collateral
from tests import forge_tdx
from tests.bench.timing import milliseconds
from tests.corpus.index import EVIDENCE, WHY_NOT, read
from tests.corpus.test_evidence_tdx import bundle
from tests.forge_tdx import Forge
from tests.forge_tpm import booted, dumps

AT = datetime(2026, 2, 25, tzinfo=UTC)
QUOTE, BUNDLE = "tdx/gotdxguest-quote_v5_sample.dat", "dcapqvl-tdx_quote_outdated_collateral.json"


def forget() -> None:
    """Empty every cache, as in a new process."""
    caches: tuple[Any, ...] = (
        certificates.parse, certificates.load, certificates._signed, signatures.load_key, crl.load,
    )  # fmt: skip
    for cached in caches:
        cached.cache_clear()


def told(capsys: pytest.CaptureFixture[str], what: str, verify: Callable[[], object], target: int) -> None:
    verify()
    cold, warm = milliseconds(verify, 31, forget), milliseconds(verify, 101)
    with capsys.disabled():
        print(
            f"\n{what}: {cold:.2f} ms with nothing remembered, {warm:.2f} ms with certificates known (target {target})"
        )


@pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)
def test_td_quote(capsys: pytest.CaptureFixture[str]) -> None:
    quote, collateral = read(QUOTE), bundle(BUNDLE)
    told(capsys, "TD quote", lambda: registry.authenticate("tdx", quote, collateral, None, AT), 30)


def test_forged_td_quote(capsys: pytest.CaptureFixture[str]) -> None:
    with forge_tdx.pinned():
        quote, collateral = Forge(version=5, td15=True).quote(), Forge().collateral()
        told(
            capsys,
            "forged TD quote",
            lambda: registry.authenticate("tdx", quote, collateral, None, forge_tdx.NOW),
            30,
        )


@pytest.mark.parametrize("banks", [("sha1", "sha256"), ("sha1", "sha256", "sha384")])
def test_tpm_quote_with_150_records(capsys: pytest.CaptureFixture[str], banks: tuple[str, ...]) -> None:
    evidence = dumps(booted(150, banks=banks).evidence())
    what = f"TPM quote with a log of 150 records in {len(banks)} banks"
    told(capsys, what, lambda: registry.authenticate("tpm", evidence, NOTHING, None, forge_tdx.NOW), 30)


@pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)
def test_cc_log(capsys: pytest.CaptureFixture[str]) -> None:
    """The longest log of the corpus, 98 records, without its quote."""
    data = read("ccel/ccapi-ccel_data.bin")
    told(capsys, "CC event log of 98 records", lambda: ccel.replay(ccel.parse(data)), 30)


def test_a_rack(capsys: pytest.CaptureFixture[str]) -> None:
    """As many quotes as a rack may have machines, under the same collateral."""
    with forge_tdx.pinned():
        quotes, collateral = [Forge().quote() for _ in range(100)], Forge().collateral()
        start = process_time()
        for quote in quotes:
            registry.authenticate("tdx", quote, collateral, None, forge_tdx.NOW)
        taken = process_time() - start
    with capsys.disabled():
        print(f"\n{len(quotes)} TD quotes: {taken:.2f} s, {1000 * taken / len(quotes):.2f} ms each")


def test_memory_follows_the_input(capsys: pytest.CaptureFixture[str]) -> None:
    """A log of 8 MiB of unused area costs no more than reading it."""
    data = booted(150).log + bytes(8_000_000)
    documents = Collateral(documents={"event_log": data})
    evidence = booted(150).evidence()
    del evidence["event_log"]
    taken = milliseconds(lambda: registry.authenticate("tpm", dumps(evidence), documents, None, forge_tdx.NOW), 5)
    with capsys.disabled():
        print(f"\nTPM quote with 8 MB of unused log: {taken:.2f} ms")
