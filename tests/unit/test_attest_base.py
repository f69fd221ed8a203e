"""The common base of attestation: who may say Verified, strict readers, chains, lists, the policy's keys."""

from __future__ import annotations

import ast
import copy
import dataclasses
import pickle
import re
import tomllib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

import strongroom
from strongroom.attest import base, certificates, crl, jsontext, policy, record, registry
from strongroom.attest.base import Authentic, Facts, Refused, Verified
from strongroom.attest.certificates import Certificate
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.der import Der
from strongroom.attest.policy import Policy, Section
from strongroom.attest.reader import Reader
from strongroom.errors import ConfigError, Exit
from strongroom.model.platform import Platform

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@registry.kind(
    "testing",
    Platform.NONE,
    section=Section,
    show=lambda evidence, collateral: {"evidence": evidence},
    measures=lambda name: name in ("code", "data"),
)
def _verify(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    if evidence == b"defect":
        raise IndexError("out of range")
    several = tuple(bytes((one,)) for one in evidence)
    facts = Facts(
        kind="testing",
        platform=Platform.NONE,
        report_data=b"\1\2",
        measurements={"code": b"\xaa", "data": b"\xbb"},
        must_compare=("code",),
        identity=b"" if evidence == b"nameless" else b"\x0c",
        aliases=(b"\x0c\0",),
        members=several if evidence != b"nameless" else (),
    )
    return base.authentic(facts, policy)


def expecting(**more: object) -> Policy:
    return policy.make({"measurements": {"code": ["aa"]}, "identities": ["0c"], "report_data": "0102", **more})


def refused(field: str, **more: object) -> str:
    with pytest.raises(Refused) as caught:
        registry.verify("testing", b"", NOTHING, expecting(**more), NOW)
    assert caught.value.field == field
    assert caught.value.exit == Exit.ATTESTATION
    return caught.value.reason


def test_verified_is_what_the_policy_asks() -> None:
    wanted = expecting()
    said = registry.verify("testing", b"", NOTHING, wanted, NOW)
    assert isinstance(said, Verified)
    assert not isinstance(said, Authentic)
    assert said.policy_digest == wanted.digest == expecting().digest != expecting(collateral_grace_hours=1).digest


def test_everything_else_is_refused() -> None:
    assert "aa" in refused("measurements.code", measurements={"code": ["ab", "ac"]})
    assert "says nothing of code" in refused("policy.measurements.code", measurements={"data": ["bb"]})
    refused("measurements.cod", measurements={"code": ["aa"], "cod": ["aa"]})
    refused("identity", identities=["0d"])
    refused("identity", denied_identities=["0c00"], identities=["0c"])
    refused("policy.identities", identities=[])
    refused("report_data", report_data="010200")
    refused("policy.report_data", report_data=None)
    registry.verify("testing", b"", NOTHING, expecting(identities=["0c00"]), NOW)
    silent = policy.make({"not_compared": ["code", "identities", "report_data"]})
    registry.verify("testing", b"", NOTHING, silent, NOW)


def test_evidence_of_several_devices_is_that_of_each() -> None:
    def judged(evidence: bytes, **more: object) -> str:
        try:
            registry.verify("testing", evidence, NOTHING, expecting(**more), NOW)
        except Refused as reason:
            return reason.field
        return "verified"

    assert judged(b"\1\2", identities=["01", "02"]) == "verified"
    assert judged(b"\1\2", identities=["01"]) == "identity"
    assert judged(b"\1\2", identities=["0c"]) == "verified"
    # Who is denied cannot hide behind another one, nor behind having no name.
    assert judged(b"\1\2", identities=["0c"], denied_identities=["02"]) == "identity"
    assert judged(b"\1\2", identities=["01", "02"], denied_identities=["02"]) == "identity"
    assert judged(b"\1\2", identities=[], not_compared=["identities"], denied_identities=["01"]) == "identity"
    assert judged(b"\1\2", identities=["0c"], denied_identities=["03"]) == "verified"
    assert judged(b"nameless", identities=[], not_compared=["identities"]) == "verified"
    assert judged(b"nameless", identities=[], not_compared=["identities"], denied_identities=["03"]) == "identity"


def test_what_was_authenticated_without_this_policy_is_never_verified() -> None:
    for other in (None, expecting(collateral_grace_hours=1)):
        said = registry.authenticate("testing", b"", NOTHING, other, NOW)
        assert isinstance(said, Authentic)
        assert not isinstance(said, Verified)
        with pytest.raises(Refused):
            base.appraise(said, expecting())


def test_a_defect_refuses() -> None:
    with pytest.raises(Refused, match="IndexError"):
        registry.authenticate("testing", b"defect", NOTHING, None, NOW)


def test_a_defect_of_what_opens_or_recognises_evidence_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> NoReturn:
        raise UnicodeError("half a character")

    mine = registry.find("testing")
    monkeypatch.setitem(registry._KINDS, "testing", replace(mine, unwrap=defect))
    for attempt in (
        lambda: registry.unwrap("testing", b"", NOTHING),
        lambda: registry.show("testing", b"", NOTHING),
        lambda: record.judge("testing", b"", NOTHING, None, NOW),
    ):
        with pytest.raises(registry.Defect, match=r"the reader failed: UnicodeError: half a character \(a defect\)"):
            attempt()
    assert "testing" not in registry.guess(b"anything")
    monkeypatch.setitem(registry._KINDS, "testing", replace(mine, looks_like=defect))
    assert "testing" not in registry.guess(b"anything")
    monkeypatch.setitem(registry._KINDS, "testing", replace(mine, show=defect))
    with pytest.raises(registry.Defect, match="the parser failed"):
        registry.show("testing", b"", NOTHING)


@pytest.mark.parametrize("depth", [0, 1, 63, 64, 65, 66, 900])
@pytest.mark.parametrize(("start", "middle", "end"), [("[", "", "]"), ("[", "1", "]"), ('{"a":', "[]", "}")])
def test_json_is_64_deep_at_most(start: str, middle: str, end: str, depth: int) -> None:
    data = (start * depth + (middle or "[]") + end * depth).encode()
    if depth + (middle != "1") <= 64:
        jsontext.loads(data, "a")
    else:
        with pytest.raises(Refused, match="nested deeper than 64"):
            jsontext.loads(data, "a")


@pytest.mark.parametrize(
    "text", ['"\\ud800"', '"\\udc00\\ud800"', '["a\\udbff"]', '{"\\ud800": 1}', '{"a": [{"b": "\\udfff"}]}']
)
def test_half_a_character_is_no_text(text: str) -> None:
    with pytest.raises(Refused, match="surrogate"):
        jsontext.loads(text.encode(), "a")


def test_a_character_of_two_halves_is_one() -> None:
    assert jsontext.loads(b'{"\\ud83d\\ude00": ["\\u0000\\\\ud800"]}', "a") == {"\U0001f600": ["\0\\ud800"]}


@pytest.mark.parametrize("made", [Authentic, Verified])
def test_nobody_else_makes_a_verdict(made: type[Authentic] | type[Verified]) -> None:
    said: Authentic | Verified = registry.verify("testing", b"", NOTHING, expecting(), NOW)
    if made is Authentic:
        said = registry.authenticate("testing", b"", NOTHING, None, NOW)
    with pytest.raises(TypeError):
        made(said.facts, "")
    with pytest.raises(TypeError):
        made(said.facts, "", token=object())
    with pytest.raises(TypeError):
        type("Mine", (made,), {})
    for copier in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copier(said)
    with pytest.raises((AttributeError, TypeError)):
        said.facts = said.facts
    with pytest.raises(TypeError):
        dataclasses.replace(said)  # type: ignore[type-var]


def test_only_verifiers_say_authentic() -> None:
    root = Path(strongroom.__file__).parent
    callers = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
            if name in ("authentic", "appraise", "Authentic", "Verified", "_Sealed"):
                callers.add(path.relative_to(root).parts[0])
    assert callers <= {"attest"}


@given(st.binary(max_size=64), st.lists(st.integers(-1, 70), max_size=8))
def test_a_reader_reads_or_refuses(data: bytes, sizes: list[int]) -> None:
    reader, taken = Reader(data, "x", "big"), b""
    for size in sizes:
        if 0 <= size <= reader.left:
            taken += reader.take(size, "y")
        else:
            with pytest.raises(Refused) as caught:
                reader.take(size, "y")
            assert caught.value.field == "x.y"
    assert data == taken + reader.rest
    if reader.left:
        with pytest.raises(Refused):
            reader.end()


def test_numbers_have_the_readers_byte_order() -> None:
    assert Reader(b"\1\2\3", "x").u16("y") == 0x0201
    assert Reader(b"\1\2\3\4\5\6\7\x08", "x", "big").u64("y") == 0x0102030405060708
    with pytest.raises(Refused):
        Reader(b"\0\1", "x").zeros(2, "y")


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
KEYS: dict[str, Key] = {
    "root": rsa.generate_private_key(65537, 2048),
    "middle": ec.generate_private_key(ec.SECP384R1()),
    "leaf": ed25519.Ed25519PrivateKey.generate(),
}


def issue(subject: str, issuer: str, *, ca: bool = True, signs: bool = True, start: datetime = NOW - DAY) -> bytes:
    """DER of a certificate; an RSA issuer signs by PSS, as AMD's do."""
    key, signer = KEYS[subject], KEYS[issuer]
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(start + 30 * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(**usage, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False), True
        )
    )
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), 48) if isinstance(signer, rsa.RSAPrivateKey) else None
    return builder.sign(signer, hashes.SHA384(), rsa_padding=pss).public_bytes(serialization.Encoding.DER)


ROOT, MIDDLE, LEAF = issue("root", "root"), issue("middle", "root"), issue("leaf", "middle", ca=False, signs=False)
PINS = {certificates.parse(ROOT).spki_sha256}


def path(leaf: bytes, *others: bytes, pins: set[str] = PINS, now: datetime = NOW) -> tuple[Certificate, ...]:
    return certificates.chain(
        certificates.parse(leaf), [certificates.parse(other) for other in others], pins, now, "chain"
    )


def test_a_chain_ends_in_a_pinned_root() -> None:
    assert [one.name for one in path(LEAF, ROOT, MIDDLE)] == ["leaf", "middle", "root"]
    assert certificates.load(
        b"beside\n" + x509.load_der_x509_certificate(LEAF).public_bytes(serialization.Encoding.PEM)
    )[0].der == (LEAF)


@pytest.mark.parametrize(
    ("leaf", "others", "more"),
    [
        (LEAF, (MIDDLE,), {}),
        (LEAF, (ROOT,), {}),
        (LEAF, (ROOT, MIDDLE), {"pins": set()}),
        (LEAF, (ROOT, MIDDLE), {"now": NOW + 40 * DAY}),
        (LEAF, (ROOT, MIDDLE), {"now": NOW - 40 * DAY}),
        (LEAF, (ROOT, issue("middle", "root", ca=False)), {}),
        (LEAF, (ROOT, issue("middle", "root", signs=False)), {}),
        (LEAF, (ROOT, issue("middle", "root", start=NOW + DAY)), {}),
    ],
)
def test_other_chains_are_refused(leaf: bytes, others: tuple[bytes, ...], more: dict[str, object]) -> None:
    with pytest.raises(Refused):
        path(leaf, *others, **more)  # type: ignore[arg-type]


def test_every_flipped_byte_of_a_certificate_is_refused() -> None:
    for position in range(len(MIDDLE)):
        flipped = bytearray(MIDDLE)
        flipped[position] ^= 0x01
        with pytest.raises(Refused):
            path(LEAF, ROOT, bytes(flipped))
    for length in range(len(LEAF)):
        with pytest.raises(Refused):
            path(LEAF[:length], ROOT, MIDDLE)
    with pytest.raises(Refused):
        path(LEAF + b"\0", ROOT, MIDDLE)


@given(st.binary(max_size=200))
@example(b"\x30\x80")
@example(b"\x30\x84\xff\xff\xff\xff")
def test_random_bytes_are_no_certificate(data: bytes) -> None:
    for read in (certificates.load, crl.load, lambda data: certificates.parse(b"\x30\x7f" + data)):
        with pytest.raises(Refused):
            read(data)
    reader = Der(data, "x")
    try:
        while reader.more:
            reader.element("y")
    except Refused:
        pass


def make_crl(*serials: int, start: datetime = NOW - DAY, signer: str = "root") -> bytes:
    key = KEYS["root"]
    assert isinstance(key, rsa.RSAPrivateKey)
    builder = x509.CertificateRevocationListBuilder(named(signer), start, start + 30 * DAY)
    builder = builder.add_extension(x509.CRLNumber(5), critical=False)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_revocation() -> None:
    root, middle = certificates.parse(ROOT), certificates.parse(MIDDLE)
    good, bad = crl.load(make_crl(3)), crl.load(make_crl(3, 7))
    assert good.number == 5
    assert crl.check(good, root, NOW, "crl") == ()
    crl.not_revoked(good, middle, "crl")
    with pytest.raises(Refused, match="revoked"):
        crl.not_revoked(bad, middle, "crl")
    late = NOW + 31 * DAY
    with pytest.raises(Refused, match="ended"):
        crl.check(good, root, late, "crl")
    with pytest.raises(Refused):
        crl.check(good, root, late, "crl", grace=timedelta(hours=1))
    assert "grace" in crl.check(good, root, late, "crl", grace=3 * DAY)[0]
    for other in (make_crl(signer="middle"), make_crl(start=NOW + DAY)):
        with pytest.raises(Refused):
            crl.check(crl.load(other), root, NOW, "crl")
    for position in range(len(make_crl(3))):
        flipped = bytearray(make_crl(3))
        flipped[position] ^= 0x80
        with pytest.raises(Refused):
            crl.check(crl.load(bytes(flipped)), root, NOW, "crl")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("measurement = 1", "did you mean 'measurements'"),
        ('identities = ["0g"]', "hex"),
        ("measurements = {code = []}", "measurements.code"),
        ('measurements = {code = [""]}', "an empty value allows nothing"),
        ('identities = [""]', "an empty value allows nothing"),
        ('nonce = "0x"', "an empty value allows nothing"),
        ("tpm = {pcrs = []}", "tpm.pcrs"),
        ("tpm = {secure_boot = true, beyond_log = [7]}", "take 7 out of it"),
        ("azure-tdx = {secure_boot = true, beyond_log = [7]}", "take 7 out of it"),
        ("ccel = {secure_boot = true, beyond_log = [0]}", "take 0 out of it"),
        ('ccel = {rtmr0_digests = ["00"], beyond_log = [0, 3]}', "take 0 out of it"),
        ("collateral_grace_hours = 100000", "collateral_grace_hours"),
        ('nonce = "00"\nreport_data = "00"', "not both"),
        ("[testing]\nx = 1", "testing.x: unknown key"),
        ("[[", "not TOML"),
    ],
)
def test_a_wrong_policy_is_a_usage_error(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        policy.load(text, "toml", "p.toml")
    assert caught.value.exit == Exit.USAGE
    assert str(caught.value).startswith("p.toml: ")


def test_a_policy_is_toml_or_yaml() -> None:
    assert policy.load('identities: ["0c"]\ntesting: {}', "yaml").digest == policy.make({"identities": ["0C"]}).digest
    with pytest.raises(ConfigError):
        policy.load("- 1", "yaml")
    with pytest.raises(ConfigError):
        registry.find("testin")


def test_the_manuals_sample_policy_is_one_and_its_defaults_are_true() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "attestation.md").read_text(encoding="utf-8")
    sample = re.search(r"```toml\n(.*?)```", manual, re.DOTALL)
    assert sample is not None
    values = tomllib.loads(re.sub(r"[0-9a-f]+…", "aa", sample[1]))
    policy.make(values)
    section = policy.make({"snp": {**values["snp"], "minimum_tcb": {}}}).section("snp")
    assert section == policy.make({}).section("snp")
