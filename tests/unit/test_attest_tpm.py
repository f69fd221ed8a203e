"""TPM quotes of a TPM that is a few lines of Python: schemes, keys, vouching, logs, and everything that may be wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.attest import policy, registry
from strongroom.attest.base import Refused, Verified
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.tpm_credential import kdfa, make_credential, require_activated
from strongroom.attest.tpm_quote import key_of
from strongroom.attest.tpm_structures import parse_public, parse_quote, rsa_key
from tests import forge_tpm
from tests.forge_tpm import AK_ATTRIBUTES, EK_ATTRIBUTES, Tpm, attest, b64, booted, dumps, public_area, signed

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SECRET = bytes(range(32))


def spki(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def pin(key: Any) -> str:
    return hashlib.sha256(spki(key)).hexdigest()


def refused(evidence: Any, collateral: Collateral = NOTHING, values: dict[str, Any] | None = None) -> str:
    data = evidence if isinstance(evidence, bytes) else dumps(evidence)
    wanted = policy.make(values) if values is not None else None
    with pytest.raises(Refused) as caught:
        registry.authenticate("tpm", data, collateral, wanted, NOW)
    assert "defect" not in caught.value.reason
    return caught.value.field


def verify(device: Tpm, evidence: Any = None, collateral: Collateral = NOTHING, **values: Any) -> Verified:
    measured = {f"pcr{pcr}": [value.hex()] for pcr, value in device.pcrs.items()}
    wanted = {"measurements": measured, "nonce": b"nonce".hex(), "identities": [pin(device.key("ak"))], **values}
    return registry.verify("tpm", dumps(evidence or device.evidence()), collateral, policy.make(wanted), NOW)


SCHEMES = [("rsa", 0x14), ("rsa", 0x16), ("ec", 0x18)]


@pytest.mark.parametrize(("kind", "scheme"), SCHEMES)
def test_genuine(kind: str, scheme: int) -> None:
    tpm = booted(kind=kind, scheme=scheme)
    said = verify(tpm, tpm={"event_log": "required", "secure_boot": True})
    assert said.facts.report_data == b"nonce"
    assert said.facts.measurements["pcr0"] == tpm.pcrs[0]
    assert said.facts.identity.hex() == pin(tpm.key("ak"))
    quote: Any = said.facts.fields["quote"]
    assert (quote["reset_count"], quote["restart_count"], quote["safe"]) == (7, 0, True)


@pytest.mark.parametrize(("kind", "scheme"), SCHEMES)
@settings(max_examples=40)
@given(st.data())
def test_signed_bytes(kind: str, scheme: int, data: st.DataObject) -> None:
    tpm = Tpm(kind=kind, scheme=scheme)
    evidence = tpm.evidence()
    part = data.draw(st.sampled_from(("message", "signature")))
    raw = bytearray(base64.b64decode(evidence["tpm_quote"][part]))
    place = data.draw(st.integers(0, 8 * len(raw) - 1 if part == "message" else 8 * 50))
    raw[place // 8] ^= 1 << place % 8
    evidence["tpm_quote"][part] = b64(bytes(raw))
    refused(evidence)


def test_pcrs_are_what_was_quoted() -> None:
    tpm = booted()
    for pcr in range(24):
        evidence = tpm.evidence()
        evidence["tpm_quote"]["pcrs"][pcr] = "11" * 32
        assert refused(evidence) == "quote.pcr_digest"
    evidence = tpm.evidence()
    evidence["tpm_quote"]["pcrs"].pop()
    assert refused(evidence) == "pcrs.sha256.23"
    evidence["tpm_quote"]["pcrs"] += ["11"]
    assert refused(evidence) == "pcrs.sha256.23"


def test_pcrs_may_be_those_that_the_log_leads_to() -> None:
    tpm = booted()
    evidence = tpm.evidence()
    del evidence["tpm_quote"]["pcrs"]
    verify(tpm, evidence)
    other = tpm.evidence(event_log=b64(booted(149).log))
    del other["tpm_quote"]["pcrs"]
    assert refused(other) == "quote.pcr_digest"
    del evidence["event_log"]
    assert refused(evidence) == "pcrs"


def test_the_log_has_to_lead_to_the_pcrs() -> None:
    tpm = booted()
    assert refused(tpm.evidence(event_log=b64(booted(149).log))).startswith("event_log.pcr")
    tpm.pcrs[10] = b"\1" * 32
    registry.authenticate("tpm", dumps(tpm.evidence()), NOTHING, None, NOW)
    tpm.pcrs[12] = b"\1" * 32  # not in the log, and not what it starts with
    assert refused(tpm.evidence()) == "event_log.pcr12"
    wanted = policy.make({"tpm": {"beyond_log": [10, 12]}})
    said = registry.authenticate("tpm", dumps(tpm.evidence()), NOTHING, wanted, NOW)
    open_ = [note for note in said.facts.notes if "beyond_log" in note]
    assert open_ == [f"the log does not lead to PCR {pcr}, as the policy permits (beyond_log)" for pcr in (10, 12)]


def test_secure_boot_is_asked_for() -> None:
    tpm = booted(secure_boot=b"\0")
    verify(tpm)
    with pytest.raises(Refused) as caught:
        verify(tpm, tpm={"secure_boot": True})
    assert caught.value.field == "event_log.secure_boot"
    bare = Tpm()
    for section, field in (({"secure_boot": True}, "event_log.secure_boot"), ({"event_log": "required"}, "event_log")):
        with pytest.raises(Refused) as caught:
            verify(bare, tpm=section)
        assert caught.value.field == field


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"nonce": b"other".hex()}, "report_data"),
        ({"nonce": None}, "policy.report_data"),
        ({"identities": ["00" * 32]}, "identity"),
        ({"identities": []}, "policy.identities"),
        ({"identities": [], "not_compared": ["identities"]}, "ak"),
        ({"measurements": {"pcr4": ["00" * 32]}}, "measurements.pcr4"),
        ({"measurements": {}}, "policy.measurements.pcr4"),
        ({"tpm": {"pcrs": [24]}}, "quote.selections"),
    ],
)
def test_expectations(values: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        verify(booted(), **values)
    assert caught.value.field == field


@pytest.mark.parametrize("missing", [1 << 1, 1 << 4, 1 << 5, 1 << 16, 1 << 18])
def test_an_ak_is_a_restricted_key_of_its_tpm(missing: int) -> None:
    tpm = Tpm()
    area = public_area(tpm.key("ak"), AK_ATTRIBUTES & ~missing, storage=False)
    assert refused(tpm.evidence(ak_public=b64(area))) == "ak.attributes"
    both = public_area(tpm.key("ak"), AK_ATTRIBUTES | 1 << 17, storage=False)
    assert refused(tpm.evidence(ak_public=b64(both))) == "ak.attributes"


def test_forms_of_a_key() -> None:
    tpm = Tpm()
    der = spki(tpm.key("ak"))
    pem = tpm.key("ak").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for form in (tpm.ak, forge_tpm.sized(tpm.ak), der, pem):
        assert key_of(form, "ak").spki_sha256.hex() == pin(tpm.key("ak"))
        registry.authenticate("tpm", dumps(tpm.evidence(ak_public=b64(form))), NOTHING, None, NOW)
    for wrong in (b"", b"\0", tpm.ak[:-1], tpm.ak + b"\0", der[:-1], der + b"\0", pem[:100], b"\0\x25" + tpm.ak[2:]):
        with pytest.raises(Refused):
            key_of(wrong, "ak")
    weak = rsa.RSAPublicNumbers(3, tpm.key("ak").public_key().public_numbers().n)
    with pytest.raises(Refused):
        rsa_key(weak.n, weak.e, "ak")
    with pytest.raises(Refused):
        rsa_key(1 << 1023, 65537, "ak")


def test_another_key_and_another_scheme() -> None:
    tpm, other = Tpm(), Tpm(name="two")
    assert refused(tpm.evidence(ak_public=b64(other.ak))) == "quote.signature"
    assert refused(tpm.evidence(ak_public=b64(Tpm(kind="ec").ak))) == "signature.scheme"
    digest = hashlib.sha256(bytes(32) * 24).digest()
    message = attest(digest, b"nonce")
    quote = tpm.evidence()["tpm_quote"]
    weak = {**quote, "signature": b64(signed(tpm.key("ak"), message, 0x14)[:2] + b"\0\4" + bytes(300))}
    assert refused(tpm.evidence(tpm_quote=weak)) == "signature.hash"


def test_what_is_no_quote() -> None:
    tpm = Tpm()
    digest = hashlib.sha256(bytes(32) * 24).digest()
    for message, field in (
        (attest(digest, b"n", magic=0xFF544348), "quote.magic"),
        (attest(digest, b"n", kind=0x801A), "quote.type"),
        (attest(digest, b"n", safe=2), "quote.safe"),
        (attest(digest, b"n", [("sha1", range(24))]), "quote.selections.hash"),
        (attest(digest, b"n", []), "quote.selections"),
        (attest(digest, b"n", [("sha256", [1]), ("sha256", [2])]), "quote.selections"),
        (attest(digest, b"n") + b"\0", "quote.end"),
    ):
        quote = {
            "message": b64(message),
            "signature": b64(signed(tpm.key("ak"), message, 0x14)),
            "pcrs": ["00" * 32] * 24,
        }
        assert refused({"tpm_quote": quote, "ak_public": b64(tpm.ak)}) == field


def test_two_banks() -> None:
    """Both are compared; a bank beside the first has its name in the measurement's."""
    tpm = Tpm(kind="ec", scheme=0x18)
    values = {"sha256": {4: b"\4" * 32}, "sha384": {4: b"\5" * 48, 7: b"\7" * 48}}
    digest = hashlib.sha256(b"\4" * 32 + b"\5" * 48 + b"\7" * 48).digest()
    message = attest(digest, b"nonce", [("sha256", [4]), ("sha384", [4, 7])])
    pcrs = {bank: {str(pcr): value.hex() for pcr, value in one.items()} for bank, one in values.items()}
    quote = {"message": b64(message), "signature": b64(signed(tpm.key("ak"), message, 0x18)), "pcrs": pcrs}
    evidence = {"tpm_quote": quote, "ak_public": b64(tpm.ak)}
    said = registry.authenticate("tpm", dumps(evidence), NOTHING, None, NOW)
    assert set(said.facts.measurements) == {"pcr4", "pcr4.sha384", "pcr7.sha384"}
    assert refused({**evidence, "event_log": b64(booted().log)}) == "event_log.pcr4"


def test_a_bare_quote() -> None:
    tpm = booted()
    evidence = tpm.evidence()
    parts = {name: base64.b64decode(evidence["tpm_quote"][name]) for name in ("message", "signature")}
    documents = {
        "signature": parts["signature"],
        "ak_public": tpm.ak,
        "pcrs": dumps({str(pcr): value.hex() for pcr, value in tpm.pcrs.items()}),
        "event_log": tpm.log,
    }
    registry.authenticate("tpm", parts["message"], Collateral(documents=documents), None, NOW)
    for name, field in (("signature", "signature"), ("ak_public", "ak_public")):
        less = {key: value for key, value in documents.items() if key != name}
        assert refused(parts["message"], Collateral(documents=less)) == field


# --- who vouches for the key


def certificate(
    name: str,
    issuer: str,
    key: Any,
    *,
    ca: bool = False,
    days: int = 100,
    purposes: tuple[str, ...] = (),
    usage: str | None = None,
) -> bytes:
    """``purposes`` are OIDs of extendedKeyUsage, ``usage`` is the one bit of keyUsage; no such extensions unless told."""

    def called(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(NOW - 2 * DAY)
        .not_valid_after(NOW + days * DAY)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DirectoryName(called("a model of a TPM"))]), critical=True)
    )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(map(x509.ObjectIdentifier, purposes)), critical=False)
    if usage is not None:
        bits = dict.fromkeys(USAGES, False) | {usage: True}
        builder = builder.add_extension(x509.KeyUsage(**bits), critical=True)
    return builder.sign(forge_tpm.ec_key(issuer), hashes.SHA256()).public_bytes(Encoding.DER)


USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
SERVER, EK, AK = "1.3.6.1.5.5.7.3.1", "2.23.133.8.1", "2.23.133.8.3"


VENDOR = forge_tpm.ec_key("Vendor")
ROOT = certificate("Vendor", "Vendor", VENDOR, ca=True)


def credential(tpm: Tpm, ak: bytes | None = None) -> tuple[bytes, bytes]:
    """The controller's document, and what the TPM gives back for it."""
    name = parse_public(ak or tpm.ak, "ak").name
    made = make_credential(
        parse_public(tpm.ek, "ek"), name, SECRET, seed=bytes(32), ephemeral=forge_tpm.ec_key("ephemeral")
    )
    document = dumps({"ek_public": b64(tpm.ek), "ak_name": name.hex(), "secret": b64(SECRET)})
    return document, tpm.activate(made.blob, made.secret, name)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_the_ak_is_bound_to_the_ek(kind: str) -> None:
    tpm = booted(kind=kind, scheme={"rsa": 0x14, "ec": 0x18}[kind])
    document, given_back = credential(tpm)
    assert given_back == SECRET
    beside = Collateral((ROOT,), (), {"credential": document})
    evidence = tpm.evidence(activated=b64(given_back), ek_certificate=b64(certificate("EK", "Vendor", tpm.key("ek"))))
    enrolled = verify(tpm, evidence, beside, identities=[pin(tpm.key("ek"))])
    assert enrolled.facts.identity.hex() == pin(tpm.key("ek"))
    roots = {"ek_roots": [pin(VENDOR)]}
    certified = verify(tpm, evidence, beside, tpm=roots, identities=[], not_compared=["identities"])
    assert certified.facts.fields["vouched_by"] == "ek"
    with pytest.raises(Refused) as caught:
        verify(tpm, evidence, beside, identities=[], not_compared=["identities"])
    assert caught.value.field == "ak"


def test_what_breaks_the_binding() -> None:
    tpm, other = booted(), booted(name="two")
    document, given_back = credential(tpm)
    beside = Collateral((ROOT,), (), {"credential": document})
    ek = b64(certificate("EK", "Vendor", tpm.key("ek")))
    good = {"activated": b64(given_back), "ek_certificate": ek}
    roots = {"tpm": {"ek_roots": [pin(VENDOR)]}}
    registry.authenticate("tpm", dumps(tpm.evidence(**good)), beside, policy.make(roots), NOW)
    assert refused(tpm.evidence(**{**good, "activated": b64(bytes(32))}), beside, roots) == "ak.activation"
    assert refused(tpm.evidence(ek_certificate=ek), beside, roots) == "ak.activation"
    assert refused(other.evidence(**good), beside, roots) == "ak.name"
    assert refused(tpm.evidence(**good), Collateral((ROOT,)), roots) == "credential"
    assert refused(tpm.evidence(activated=b64(given_back)), beside, roots) == "ek_certificate"
    wrong = b64(certificate("EK", "Vendor", other.key("ek")))
    assert refused(tpm.evidence(**{**good, "ek_certificate": wrong}), beside, roots) == "ek_certificate"
    late = b64(certificate("EK", "Vendor", tpm.key("ek"), days=-1))
    assert refused(tpm.evidence(**{**good, "ek_certificate": late}), beside, roots) == "ek_certificate"
    assert refused(tpm.evidence(**good), beside, {"tpm": {"ek_roots": ["00" * 32]}}) == "ek_certificate"
    bare = b64(spki(tpm.key("ak")))
    assert refused(tpm.evidence(**good, ak_public=bare), beside, roots) == "ak_public"
    signing = dumps({**json.loads(document), "ek_public": b64(tpm.ak)})
    assert refused(tpm.evidence(**good), Collateral((ROOT,), (), {"credential": signing}), roots) == "ek.attributes"


def test_the_tpm_opens_it_for_that_ak_alone() -> None:
    tpm, other = Tpm(), Tpm(name="two")
    name, wrong = (parse_public(one.ak, "ak").name for one in (tpm, other))
    made = make_credential(parse_public(tpm.ek, "ek"), name, SECRET, seed=b"\7" * 32)
    assert tpm.activate(made.blob, made.secret, name) == SECRET
    with pytest.raises(ValueError, match="INTEGRITY"):
        tpm.activate(made.blob, made.secret, wrong)
    with pytest.raises(Refused):
        require_activated(SECRET, b"")
    with pytest.raises(Refused):
        require_activated(b"", b"")


def test_arguments_of_make_credential() -> None:
    rsa_ek, ec_ek = (parse_public(Tpm(kind=kind).ek, "ek") for kind in ("rsa", "ec"))
    name = b"\0\x0b" + bytes(32)
    for ek, arguments in (
        (rsa_ek, {"secret": b"", "seed": bytes(32)}),
        (rsa_ek, {"secret": bytes(33), "seed": bytes(32)}),
        (rsa_ek, {"secret": SECRET, "seed": bytes(31)}),
        (ec_ek, {"secret": SECRET, "seed": b""}),
    ):
        with pytest.raises(Refused):
            make_credential(ek, name, **arguments)  # type: ignore[arg-type]
    no_key = public_area(Tpm().key("ek"), EK_ATTRIBUTES, storage=False)
    with pytest.raises(Refused):
        make_credential(parse_public(no_key, "ek"), name, SECRET, seed=bytes(32))
    assert len(kdfa(rsa_ek.name_algorithm, SECRET, "X", b"", b"", 512)) == 64


def test_a_ca_may_vouch_for_the_ak() -> None:
    tpm = booted()
    evidence = tpm.evidence(ak_certificate=b64(certificate("AK", "Vendor", tpm.key("ak"))))
    roots = {"ak_roots": [pin(VENDOR)]}
    said = verify(tpm, evidence, Collateral((ROOT,)), tpm=roots, identities=[], not_compared=["identities"])
    assert said.facts.fields["vouched_by"] == "ak"
    assert refused(tpm.evidence(), Collateral((ROOT,)), {"tpm": roots}) == "ak_certificate"
    other = tpm.evidence(ak_certificate=b64(certificate("AK", "Vendor", Tpm(name="two").key("ak"))))
    assert refused(other, Collateral((ROOT,)), {"tpm": roots}) == "ak_certificate"
    listed = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Vendor")]))
        .last_update(NOW - DAY)
        .next_update(NOW + DAY)
        .add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(5).revocation_date(NOW - DAY).build())
        .sign(VENDOR, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    assert refused(evidence, Collateral((ROOT,), (listed,)), {"tpm": roots}) == "ak_certificate"


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ({}, None),
        ({"purposes": (EK,)}, None),
        ({"purposes": (EK, AK), "usage": "key_encipherment"}, None),
        ({"usage": "key_agreement"}, None),
        ({"purposes": (SERVER,)}, "is for 1.3.6.1.5.5.7.3.1, needed is 2.23.133.8.1"),
        ({"purposes": (AK,)}, "is for 2.23.133.8.3, needed is 2.23.133.8.1"),
        ({"purposes": ("2.5.29.37.0",)}, "needed is"),
        ({"usage": "digital_signature"}, "neither encipher nor agree"),
        ({"purposes": (EK,), "usage": "digital_signature"}, "neither encipher nor agree"),
        ({"ca": True}, "an authority"),
    ],
)
def test_what_vouches_for_an_ek(extensions: dict[str, Any], why: str | None) -> None:
    """A CA of TPMs may certify servers, too, and a key that a host has in a file is then no TPM's."""
    tpm = booted()
    document, given_back = credential(tpm)
    own = certificate("www.example.com", "Vendor", tpm.key("ek"), **extensions)
    evidence = tpm.evidence(activated=b64(given_back), ek_certificate=b64(own))
    judged(tpm, evidence, Collateral((ROOT,), (), {"credential": document}), "ek", why)


@pytest.mark.parametrize(
    ("extensions", "why"),
    [
        ({}, None),
        ({"purposes": (AK,), "usage": "digital_signature"}, None),
        ({"purposes": (EK,), "usage": "digital_signature"}, None),
        ({"purposes": (EK,)}, "is for 2.23.133.8.1, needed is 2.23.133.8.3"),
        ({"purposes": (SERVER,), "usage": "digital_signature"}, "is for 1.3.6.1.5.5.7.3.1, needed is 2.23.133.8.3"),
        ({"purposes": (AK,), "usage": "key_encipherment"}, "may not sign"),
        ({"ca": True}, "an authority"),
    ],
)
def test_what_vouches_for_an_ak(extensions: dict[str, Any], why: str | None) -> None:
    tpm = booted()
    own = certificate("www.example.com", "Vendor", tpm.key("ak"), **extensions)
    judged(tpm, tpm.evidence(ak_certificate=b64(own)), Collateral((ROOT,)), "ak", why)


def judged(tpm: Tpm, evidence: Any, beside: Collateral, key: str, why: str | None) -> None:
    """Verified by a certificate of the vendor's for that key, or refused for the certificate and that reason."""
    section = {f"{key}_roots": [pin(VENDOR)]}
    if why is None:
        said = verify(tpm, evidence, beside, tpm=section, identities=[], not_compared=["identities"])
        assert said.facts.fields["vouched_by"] == key
        return
    with pytest.raises(Refused, match=re.escape(why)) as caught:
        verify(tpm, evidence, beside, tpm=section, identities=[], not_compared=["identities"])
    assert caught.value.field == f"{key}_certificate"


def test_a_certified_ak_comes_with_its_public_area() -> None:
    """What the certificate says is a key; whether that key signs what its TPM did not make is in the public area."""
    tpm = booted()
    own = b64(certificate("AK", "Vendor", tpm.key("ak"), purposes=(AK,), usage="digital_signature"))
    roots = {"tpm": {"ak_roots": [pin(VENDOR)]}}
    bare = tpm.evidence(ak_certificate=own)
    registry.authenticate("tpm", dumps(bare), Collateral((ROOT,)), policy.make(roots), NOW)
    del bare["ak_public"]
    for evidence in (bare, tpm.evidence(ak_certificate=own, ak_public=b64(spki(tpm.key("ak"))))):
        assert refused(evidence, Collateral((ROOT,)), roots) == "ak_public"
        registry.authenticate("tpm", dumps(evidence), Collateral((ROOT,)), None, NOW)
    free = public_area(tpm.key("ak"), AK_ATTRIBUTES & ~(1 << 16), storage=False)
    loose = tpm.evidence(ak_certificate=own, ak_public=b64(free))
    assert refused(loose, Collateral((ROOT,)), roots) == "ak.attributes"


# --- hostile bytes


@given(st.binary(max_size=300), st.integers(0, 200))
def test_bytes_that_are_no_evidence(tail: bytes, keep: int) -> None:
    evidence = dumps(Tpm(kind="ec", scheme=0x18).evidence())
    for data in (tail, evidence[:keep] + tail, b"\xffTCG" + tail):
        refused(data, Collateral(documents={"signature": tail, "ak_public": tail, "pcrs": tail}))


@given(st.binary(max_size=200), st.integers(0, 150))
def test_structures_of_random_bytes(tail: bytes, keep: int) -> None:
    for parse, good in ((key_of, Tpm(kind="ec", scheme=0x18).ek), (_quote, attest(bytes(32), b"n"))):
        with suppress(Refused):
            parse(good[:keep] + tail, "x")


def _quote(data: bytes, what: str) -> object:
    return parse_quote(data)


def test_truncation_at_every_length() -> None:
    data = dumps(Tpm(kind="ec", scheme=0x18).evidence())
    for length in range(0, len(data), 3):
        refused(data[:length])


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"tpm_quote":' * 50_000,
        '{"tpm_quote": NaN}',
        '{"tpm_quote": {}, "tpm_quote": {}}',
        '{"tpm_quote": {"message": "ff54434Z", "signature": ""}}',
        '{"tpm_quote": {"message": [1, 256], "signature": []}}',
        '{"tpm_quote": {"message": [true], "signature": []}}',
        '{"tpm_quote": {"message": "/1RDR4A", "signature": "A"}}',
        '{"tpm_quote": {"message": "/1RD", "signature": "AA=="}, "ak_public": 5}',
        '{"tpm_quote": {"message": "/1RD", "signature": "AA==", "pcrs": {"sha999": {}}}}',
        '{"tpm_quote": {"message": "/1RD", "signature": "AA==", "pcrs": {"01": "00"}}}',
        '{"tpm_quote": {"message": "/1RD", "signature": "AA==", "pcrs": {"\\u0663": "00"}}}',
        '{"quote": 1e999}',
        "1" * 10_000,
        "null",
        "\ud800",
    ],
)
def test_json_of_strangers(text: str) -> None:
    refused(text.encode("utf-8", "surrogatepass"))
