"""Signers' certificates in real evidence have what the verifiers ask of them: purposes, and names of firmware."""

from __future__ import annotations

import pytest

from strongroom.attest import (
    certificates,
    dice,
    nvidia_evidence,
    tdx_collateral,
    tpm_certificate,
    tpm_quote,
    xml_signature,
    xml_tree,
)
from strongroom.attest.base import Refused
from strongroom.attest.certificates import Certificate
from tests.corpus.index import EVIDENCE, WHY_NOT, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)

PACKED = ("nvsdk-hopper_evidence", "nvsdk-hopper_evidence_cert_hold", "nvsdk-evidence_hopper_590_12")
CHAINS = ("trustee-hopper_cert_chain_case1.txt", "trustee-hopper_coco_certs1.txt")
RIMS = (
    "nvsdk-NV_GPU_DRIVER_GH100_550.144.03",
    "nvsdk-NV_GPU_DRIVER_GH100_570.124.03_expired",
    "nvsdk-incorrect_cert_chain_driver_rim",
)


def leaves() -> list[Certificate]:
    packed = [nvidia_evidence.devices(read(f"nvidia/{name}.json"))[0].chain for name in PACKED]
    return [certificates.load(chain)[0] for chain in (*packed, *(read(f"nvidia/{name}") for name in CHAINS)) if chain]


def test_a_gpus_own_certificate_names_its_firmware_and_has_no_other_purpose() -> None:
    found = leaves()
    assert len(found) == 5
    for leaf in found:
        assert certificates.may_sign_data(leaf)
        assert [oid for oid in dice.OIDS if oid in leaf.extensions] == ["2.23.133.5.4.1"]


@pytest.mark.parametrize("name", RIMS)
def test_a_manifests_signer_has_no_other_purpose(name: str) -> None:
    signature = xml_signature.read(xml_tree.parse(read(f"nvidia/{name}.xml"), name), name)
    assert certificates.may_sign_data(signature.chain[0])


@pytest.mark.parametrize("name", ["sgx_quote", "tdx_quote", "tdx_quote_outdated"])
def test_intels_signer_has_no_other_purpose(name: str) -> None:
    bundle = tdx_collateral.from_bundle(read(f"tdx/dcapqvl-{name}_collateral.json"))
    signers = [one for one in certificates.load_all(bundle.certificates) if one.name == tdx_collateral.TCB_SIGNER]
    assert signers
    assert all(map(certificates.may_sign_data, signers))


@pytest.mark.parametrize("name", ["no-nonce", "nonce9009"])
def test_googles_certificate_of_an_ak_is_one_although_it_says_ek(name: str) -> None:
    data = read(f"tpm/gotpmtools-gce-cos-85-{name}.pb")
    start = data.rindex(bytes.fromhex("30820538"))  # a SEQUENCE of 1,336 bytes, the member ak_cert
    leaf = certificates.parse(data[start : start + 1340])
    assert leaf.purposes == frozenset({"2.23.133.8.1"})
    tpm_certificate.require_attestation(leaf, "ak_certificate")
    with pytest.raises(Refused, match="neither encipher"):
        tpm_certificate.require_endorsement(leaf, "ek_certificate")
    start = data.index(bytes.fromhex("0001000b"))  # TPMT_PUBLIC of an RSA key with SHA-256, the member ak_pub
    area = tpm_quote.key_of(data[start : start + 280], "ak_public")
    assert area.spki_sha256 == tpm_quote.key_from_spki(leaf.spki, "ak_certificate").spki_sha256
