"""Genuine TD quotes and their collateral, each byte of them wrong once; and another verifier's word on all of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import get_args

import pytest

from strongroom.attest import certificates, pem, policy, registry, tdx, tdx_quote
from strongroom.attest.base import Refused
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.tdx import Status
from tests.corpus.damage import flips
from tests.corpus.index import EVIDENCE, WHY_NOT, read
from tests.corpus.test_evidence_tdx import bundle, quote_of, quotes, window

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)

OLD, NEW = "dcapqvl-tdx_quote_collateral.json", "dcapqvl-tdx_quote_outdated_collateral.json"
V4, V5 = "tdx/dcapqvl-tdx_quote", "tdx/gotdxguest-quote_v5_sample.dat"
GENUINE = [(V4, OLD), (V5, NEW)]
ANOTHER_ROOT = "tdx/ccapi-quote.bin"  # its chain is refused whatever flips
DAY = timedelta(days=1)


@cache
def lean(name: str) -> Collateral:
    """The bundle without the chains that a quote brings along itself: so every certificate of the quote counts."""
    full = bundle(name)
    signer = next(one for one in certificates.load_all(full.certificates) if one.name == "Intel SGX TCB Signing")
    return replace(full, certificates=(signer.der,))


def refused(evidence: bytes, collateral: Collateral, now: datetime) -> bool:
    try:
        registry.authenticate("tdx", evidence, collateral, None, now)
    except Refused as refusal:
        return "defect" not in refusal.reason
    return False


def unchanged(evidence: bytes, flipped: bytes) -> bool:
    """Whether the certificates in two quotes are the same: PEM's line ends, and bits of base64 that nothing reads."""
    chains = []
    for one in (evidence, flipped):
        chain = tdx_quote.parse(one).pck_chain
        chains.append(pem.blocks(chain, "CERTIFICATE", "pck.chain", alone=True))
    return chains[0] == chains[1]


@pytest.mark.parametrize(("file", "name"), GENUINE)
def test_flip_of_any_byte(file: str, name: str) -> None:
    """Every byte of the quote, that of its PCK chain too.

    What may flip is PEM's white space and bits of base64 that nothing reads, for nothing signs them.
    """
    evidence, collateral = quote_of(file), lean(name)
    now = window(bundle(name))
    assert not refused(evidence, collateral, now)
    chain = evidence.index(b"-----BEGIN")
    for place, flipped in flips(evidence):
        assert refused(flipped, collateral, now) or (place >= chain and unchanged(evidence, flipped)), place


@pytest.mark.parametrize("vector", quotes(), ids=str)
def test_flip_and_truncation_of_a_quote_without_collateral(vector: object) -> None:
    """Every genuine quote's own signatures, which see any change as well: every byte before the PCK chain, every length.

    Of the chain every fifth byte: its certificates are those of a few platforms, and the two above flip all of theirs.
    """
    evidence, now = quote_of(str(vector)), datetime(2026, 2, 25, tzinfo=UTC)
    evidence = evidence[: len(evidence) - len(tdx_quote.parse(evidence).trailing)]
    genuine = not unsigned(evidence, now)
    assert genuine == (str(vector) != ANOTHER_ROOT)
    chain = evidence.index(b"-----BEGIN")
    for place, flipped in flips(evidence, [*range(chain), *range(chain, len(evidence), 5)]):
        assert unsigned(flipped, now) or (place >= chain and unchanged(evidence, flipped)), place
    assert all(unsigned(evidence[:length], now) for length in range(len(evidence)))


def unsigned(evidence: bytes, now: datetime) -> bool:
    try:
        tdx.signatures(tdx_quote.parse(evidence), now)
    except Refused:
        return True
    return False


@pytest.mark.parametrize(("file", "name"), GENUINE)
def test_truncation_at_every_length(file: str, name: str) -> None:
    evidence, collateral = quote_of(file), lean(name)
    now = window(bundle(name))
    end = len(evidence) - len(tdx_quote.parse(evidence).trailing)
    assert all(refused(evidence[:length], collateral, now) for length in range(end))
    # What is left off behind the quote is its buffer's padding.
    assert not refused(evidence[:end], collateral, now)
    assert refused(evidence[:end] + b"\0\1", collateral, now)


@pytest.mark.parametrize("part", ["tcb_info", "qe_identity"])
def test_flip_of_a_signed_document(part: str) -> None:
    evidence, collateral = quote_of(V4), lean(OLD)
    now = window(bundle(OLD))
    data = collateral.documents[part]
    for place, flipped in flips(data):
        changed = replace(collateral, documents={**collateral.documents, part: flipped})
        # The signature stands there in hex, whose letters may be of either case.
        spelt = flipped.lower() == data.lower() and place > data.rindex(b":")
        assert refused(evidence, changed, now) or spelt, place


@pytest.mark.parametrize("index", [0, 1])
def test_flip_of_a_list(index: int) -> None:
    evidence, collateral = quote_of(V4), lean(OLD)
    now = window(bundle(OLD))
    for place, flipped in flips(collateral.crls[index]):
        lists = (*collateral.crls[:index], flipped, *collateral.crls[index + 1 :])
        assert refused(evidence, replace(collateral, crls=lists), now), place


def test_missing_collateral() -> None:
    evidence, full = quote_of(V4), bundle(OLD)
    now = window(full)
    lacking = {
        "root_crl": replace(full, crls=full.crls[1:]),
        "pck_crl": replace(full, crls=full.crls[:1]),
        "tcb_info": replace(full, documents={"qe_identity": full.documents["qe_identity"]}),
        "qe_identity": replace(full, documents={"tcb_info": full.documents["tcb_info"]}),
        "tcb_info.signer": replace(full, certificates=()),
    }
    for field, collateral in lacking.items():
        with pytest.raises(Refused) as caught:
            registry.authenticate("tdx", evidence, collateral, None, now)
        assert caught.value.field == field


def test_swapped_collateral_and_time() -> None:
    old, new = bundle(OLD), bundle(NEW)
    assert refused(quote_of(V4), new, window(new))
    assert refused(quote_of(V5), old, window(new))
    for part in ("tcb_info", "qe_identity"):
        mixed = replace(new, documents={**new.documents, part: old.documents[part]})
        assert refused(quote_of(V5), mixed, window(new))
    assert refused(quote_of(V5), replace(new, crls=old.crls), window(new))
    swapped = {"tcb_info": new.documents["qe_identity"], "qe_identity": new.documents["tcb_info"]}
    assert refused(quote_of(V5), replace(new, documents=swapped), window(new))
    issued = window(new) - 6 * DAY
    assert refused(quote_of(V5), new, issued - DAY)
    assert refused(quote_of(V5), new, issued + 31 * DAY)


def test_grace_is_bounded_and_told() -> None:
    evidence, late = quote_of(V5), window(bundle(NEW)) + 26 * DAY
    with pytest.raises(Refused):
        registry.authenticate("tdx", evidence, bundle(NEW), policy.make({"collateral_grace_hours": 24}), late)
    said = registry.authenticate("tdx", evidence, bundle(NEW), policy.make({"collateral_grace_hours": 168}), late)
    assert any("grace" in note for note in said.facts.notes)


def oracle(evidence: bytes, name: str, now: datetime) -> str:
    """Another verifier's word: a TCB status, or nothing where it refuses."""
    dcap_qvl = pytest.importorskip("dcap_qvl", reason="dcap-qvl is not installed")
    values = json.loads(read(f"tdx/{name}"))
    for key in ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"):
        values[key] = bytes.fromhex(values[key])
    collateral = dcap_qvl.QuoteCollateralV3(**values)
    try:
        return str(dcap_qvl.verify(evidence, collateral, int(now.timestamp())).status)
    except ValueError:
        return ""


def ours(evidence: bytes, name: str, now: datetime) -> str:
    """Our word on the same, where every status but Revoked is allowed."""
    wanted = policy.make({"tdx": {"tcb_status": get_args(Status)}})
    try:
        said = registry.authenticate("tdx", evidence, bundle(name), wanted, now)
    except Refused:
        return ""
    return str(said.facts.fields["tcb"]["status"])  # type: ignore[index]


@pytest.mark.parametrize("vector", quotes(), ids=str)
def test_another_verifier_says_the_same(vector: object) -> None:
    """Every quote with every bundle: in its window, before it, behind it, and today."""
    evidence = quote_of(str(vector))
    for name in (OLD, NEW):
        at = window(bundle(name))
        for now in (at, at - 7 * DAY, at + 60 * DAY, datetime(2026, 11, 24, tzinfo=UTC)):
            assert ours(evidence, name, now) == oracle(evidence, name, now), (name, now)


@pytest.mark.parametrize(("file", "name"), GENUINE)
def test_another_verifier_refuses_what_we_refuse(file: str, name: str) -> None:
    evidence, now = quote_of(file), window(bundle(name))
    assert ours(evidence, name, now) == oracle(evidence, name, now) == "UpToDate"
    for _, flipped in flips(evidence, range(0, len(evidence), 37)):
        # We read PEM with any white space in it, the other verifier with line ends alone.
        said = ours(flipped, name, now)
        assert not said or unchanged(evidence, flipped) or said == oracle(flipped, name, now)


def test_bytes_that_are_no_quote() -> None:
    for data in (b"", b"\4", b"\4\0\2\0\x81", bytes(5000), b"\xff" * 5000, b"{}", quote_of(V4).hex().encode()):
        assert refused(data, NOTHING, datetime(2026, 1, 1, tzinfo=UTC))
