"""Every SEV-SNP and AMD certificate row of the index gives what the index says; what is signed can't be changed."""

from __future__ import annotations

import hashlib
import re
import warnings
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.attest import amd, base, certificates, policy, registry, roots, snp_report
from strongroom.attest.base import Authentic, Refused, Verified
from strongroom.attest.collateral import Collateral
from tests.corpus.damage import cuts_taken
from tests.corpus.index import EVIDENCE, WHY_NOT, Entry, entries, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SNP, CERTS = list(entries("snp")), list(entries("certs"))

# Each report and the leaf that the index names for it.
LEAVES = {
    "snp/az-genoa.report.bin": "azure-vtpm/az-snp-vcek-genoa.pem",
    "snp/dstack-milan.report.bin": "snp/dstack-sev_snp_vcek.pem",
    "snp/gosevguest-milan-vcek.report.bin": "snp/gosevguest-milan.vcek.der",
    "snp/trustee-test-report.bin": "snp/trustee-test-vcek.der",
    "snp/virtee-milan.report.hex": "snp/virtee-milan.vcek.der",
}
TAMPERED = ("snp/trustee-test-vcek-invalid-legacy.der", "snp/trustee-test-vcek-invalid-new.der")
# Containers whose report and leaf lie beside them, or in them.
CONTAINERS = {
    "snp/dstack-sev_snp_attestation.bin": "snp/dstack-sev_snp_vcek.pem",
    "snp/dstack-sev-snp-attestation.json": "snp/dstack-sev_snp_vcek.pem",
    "other/trustee-e2e-evidence.json": None,
}
DEBUGGED = "snp/gosevguest-milan-vcek.report.bin"


def silent(**snp: object) -> policy.Policy:
    """A policy that compares nothing, beside what is given."""
    lax = {"smt": True, "provisional_firmware": True, **snp}
    return policy.make({"not_compared": [*base_names(), "identities", "report_data", "minimum_tcb"], "snp": lax})


def base_names() -> tuple[str, ...]:
    return ("measurement", "host_data")


def opened(path: str, *given: str) -> tuple[bytes, Collateral]:
    return registry.unwrap("snp", read(path), Collateral(tuple(read(one) for one in given)))


def said(path: str, *given: str, now: datetime = NOW) -> Authentic:
    evidence, collateral = opened(path, *given)
    return registry.authenticate("snp", evidence, collateral, None, now)


def good(path: str) -> tuple[bytes, Collateral]:
    """A report and its leaf; the debugged one is no exception to what flips must do, its signature is checked first."""
    return opened(path, LEAVES[path])


def test_every_row_is_looked_at() -> None:
    judged = {*LEAVES, *TAMPERED, *CONTAINERS, *LEAVES.values(), "snp/dstack-README.md"}
    rest = {row.path for row in SNP} - judged
    assert all("certificate (leaf or ASK,ARK order)" in row.verdict for row in SNP if row.path in rest)
    assert {row.path for row in SNP if row.verdict.startswith("VALID")} == set(LEAVES) & {row.path for row in SNP}
    assert {row.path for row in SNP if row.verdict.startswith("REFUSE")} == set(TAMPERED)


@pytest.mark.parametrize("row", [row for row in SNP if row.verdict.startswith("VALID")], ids=str)
def test_a_report_is_authentic_and_says_what_the_index_says(row: Entry) -> None:
    evidence, collateral = good(row.path)
    if row.path == DEBUGGED:
        with pytest.raises(Refused) as caught:
            registry.authenticate("snp", evidence, collateral, None, NOW)
        assert caught.value.field == "report.policy.debug"
        with pytest.raises(Refused, match="debug"):
            registry.verify("snp", evidence, collateral, silent(), NOW)
    wanted = silent(debug=row.path == DEBUGGED)
    verdict = registry.verify("snp", evidence, collateral, wanted, NOW)
    assert isinstance(verdict, Verified)
    facts, report = verdict.facts, verdict.facts.detail[0]
    known = dict(re.findall(r"(\w+)=(\{[^}]*\}|\S+)", row.fields))
    assert row.fields.startswith(f"v{report.version} ")
    assert int(known["policy"], 16) == report.policy
    assert int(known["platform_info"], 16) == report.platform_info
    assert int(known["vmpl"]) == report.vmpl
    assert known["key"] == facts.fields["certificate"]["role"]  # type: ignore[index]
    assert known["measurement"] == facts.measurements["measurement"].hex()
    assert known["report_data"] == facts.report_data.hex()
    assert facts.identity.hex().startswith(known["chip_id"].rstrip("."))
    levels = {name: int(level) for name, level in re.findall(r"'(\w+)': (\d+)", known["reported_tcb"])}
    tcb = report.tcb("reported_tcb", facts.detail[1].product)
    assert levels == {"bl": tcb["bootloader"], "tee": tcb["tee"], "snp": tcb["snp"], "ucode": tcb["microcode"]}


def test_a_report_says_what_the_note_beside_it_says() -> None:
    """The values that those who captured it write down; they give some in part, and one over two lines."""
    note = read("snp/dstack-README.md").decode()
    facts = said("snp/dstack-milan.report.bin", LEAVES["snp/dstack-milan.report.bin"]).facts
    told = dict(re.findall(r"^(chip_id|measurement|host_data):?\s+([0-9a-f]+(?:\n\s+[0-9a-f]+)?)", note, re.MULTILINE))
    assert facts.identity.hex() == "".join(told["chip_id"].split())
    assert facts.measurements["measurement"].hex().startswith(told["measurement"])
    assert facts.measurements["host_data"].hex() == told["host_data"]
    assert facts.report_data.rstrip(b"\0").decode() in note


@pytest.mark.parametrize("leaf", TAMPERED)
def test_a_tampered_leaf_is_refused_by_its_chain(leaf: str) -> None:
    with pytest.raises(Refused) as caught:
        said("snp/trustee-test-report.bin", leaf)
    assert caught.value.field == "certificate.chain"
    assert "signature" in caught.value.reason


@pytest.mark.parametrize(("path", "leaf"), CONTAINERS.items())
def test_a_container_gives_its_report(path: str, leaf: str | None) -> None:
    verdict = said(path, *([leaf] if leaf else []))
    if "dstack" in path and path.endswith(".bin"):
        assert verdict.facts.detail[0].signed == read("snp/dstack-milan.report.bin")[: snp_report.SIGNED]


@pytest.mark.parametrize("path", [path for path, leaf in CONTAINERS.items() if path.endswith(".bin")])
def test_a_container_that_is_cut_off_is_refused(path: str) -> None:
    data = read(path)
    given = Collateral((read(CONTAINERS[path] or ""),))
    registry.authenticate("snp", *registry.unwrap("snp", data, given), None, NOW)
    assert not cuts_taken(
        data, lambda part: registry.authenticate("snp", *registry.unwrap("snp", part, given), None, NOW)
    )


@pytest.mark.parametrize(
    "row", [row for row in [*SNP, *CERTS] if "certificate" in row.verdict or "anchor" in row.verdict], ids=str
)
def test_a_certificate_says_what_the_index_says(row: Entry) -> None:
    found = certificates.load(row.read())
    for certificate, text in zip(found, row.fields.split(" | "), strict=True):
        assert re.search(r"SEV-\S+|ARK-\S+|^.+(?= sha256)", text.removeprefix("CN="))[0].strip() == certificate.name  # type: ignore[index]
        if row.kind == "certs":
            assert (
                f"sha256={hashlib.sha256(certificate.der).hexdigest()} until {certificate.not_after:%Y-%m-%d}" in text
            )
        else:
            assert f"serial={certificate.serial} " in text
            assert text.endswith(f"valid {certificate.not_before:%Y-%m-%d}..{certificate.not_after:%Y-%m-%d}")
            if amd.role_of(certificate):
                assert f"product={amd.leaf(certificate).product_name} " in text


def test_the_shipped_certificates_are_those_of_the_index() -> None:
    theirs = {one.der for row in CERTS if "amd" in row.path for one in certificates.load(row.read())}
    assert {one.der for one in roots.shipped("amd")} == theirs
    assert {one.spki_sha256: one.name for one in roots.shipped("amd")} == {**amd.ROOTS, **amd.INTERMEDIATES}


def test_a_leaf_with_serial_number_0_is_read_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        leaf = certificates.parse(read("snp/virtee-milan.vcek.der"))
        turin = amd.leaf(certificates.parse(read("snp/virtee-turin.vcek.der")))
        said("snp/virtee-milan.report.hex", "snp/virtee-milan.vcek.der")
    assert leaf.serial == turin.certificate.serial == 0
    assert (len(turin.hwid), turin.tcb["fmc"], turin.tcb["microcode"]) == (8, 0, 9)
    assert amd.chain(turin, (), NOW)[-1].name == "ARK-Turin"


@pytest.mark.parametrize("path", LEAVES)
def test_any_changed_byte_is_refused(path: str) -> None:
    """No byte of a report is free: what nothing signs is padding, which has to be zero."""
    evidence, collateral = good(path)
    for position in range(len(evidence)):
        flipped = bytearray(evidence)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(Refused):
            registry.authenticate("snp", bytes(flipped), collateral, silent(debug=True), NOW)


@pytest.mark.parametrize("path", LEAVES)
def test_any_changed_byte_of_the_leaf_is_refused(path: str) -> None:
    evidence, collateral = good(path)
    der = certificates.load(collateral.certificates[0])[0].der
    for position in range(len(der)):
        flipped = bytearray(der)
        flipped[position] ^= 1 << position % 8
        with pytest.raises(Refused):
            registry.authenticate("snp", evidence, Collateral((bytes(flipped),)), silent(debug=True), NOW)


@pytest.mark.parametrize("path", LEAVES)
def test_any_other_length_is_refused(path: str) -> None:
    evidence, collateral = good(path)
    for length in range(len(evidence)):
        with pytest.raises(Refused):
            registry.authenticate("snp", evidence[:length], collateral, silent(debug=True), NOW)
    for more in (b"\0", bytes(20), evidence):
        with pytest.raises(Refused):
            registry.authenticate("snp", evidence + more, collateral, silent(debug=True), NOW)


def test_another_leaf_time_or_family_is_refused() -> None:
    report, leaf = "snp/dstack-milan.report.bin", "snp/dstack-sev_snp_vcek.pem"
    said(report, leaf, "certs/amd-ask_ark_milan.pem")
    said(report, leaf, "snp/dstack-sev_snp_ask.pem", "snp/virtee-turin.chain.pem")
    for given_ in (
        (),
        ("certs/amd-ask_ark_milan.pem",),
        ("snp/virtee-milan.vcek.der",),
        ("snp/virtee-turin.vcek.der",),
        ("azure-vtpm/az-snp-vcek-genoa.pem",),
        (leaf, "certs/amd-ask_ark_genoa.pem"),
        (leaf, "certs/amd-ask_ark_turin_vcek.pem"),
    ):
        with pytest.raises(Refused):
            said(report, *given_)
    for now in (datetime(2026, 6, 16, tzinfo=UTC), datetime(2033, 6, 18, tzinfo=UTC)):
        with pytest.raises(Refused, match="valid"):
            said(report, leaf, now=now)
    every = list(LEAVES.values())
    assert said(report, *every).facts.identity == said(report, leaf).facts.identity


def test_a_report_behind_azures_header_is_no_report() -> None:
    """Report and 20 bytes of header, as the HCL report holds it: 1,204 bytes."""
    hcl = read("azure-vtpm/az-snp-hcl-report.bin")
    collateral = Collateral((read("azure-vtpm/az-snp-vcek.pem"),))
    registry.authenticate("snp", hcl[32 : 32 + 1184], collateral, None, NOW)
    with pytest.raises(Refused, match="too many"):
        registry.authenticate("snp", hcl[32 : 32 + 1204], collateral, None, NOW)


@settings(max_examples=300)
@given(st.binary(max_size=1300), st.sampled_from(sorted(LEAVES)))
def test_random_bytes_are_refused(data: bytes, path: str) -> None:
    evidence, collateral = good(path)
    verify = registry.find("snp").verify
    for hostile in (data, evidence[: len(data)] + data[len(evidence[: len(data)]) :], data + evidence[len(data) :]):
        if hostile != evidence:
            with pytest.raises(Refused):
                verify(hostile, collateral, None, NOW)
    with pytest.raises(Refused):
        verify(evidence, Collateral((data,)), None, NOW)


def test_what_is_shown_is_what_the_report_has() -> None:
    shown = registry.find("snp").show(*good("snp/az-genoa.report.bin"))
    assert shown["product"] == "Genoa (by the certificate)"
    assert base.plain(shown)["cpuid"] == {"family": "0x19", "model": "0x11", "stepping": 1}


def test_another_machines_certificate_is_called_that() -> None:
    """Its key is another one too, but that its signature does not verify would look like tampering."""
    evidence, collateral = opened("snp/virtee-milan.report.hex", "snp/gosevguest-milan.vcek.der")
    with pytest.raises(Refused) as caught:
        registry.authenticate("snp", evidence, collateral, None, NOW)
    assert caught.value.field.startswith(("certificate.hwid", "certificate.tcb"))
