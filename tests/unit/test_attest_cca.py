"""Arm CCA tokens made here: one claim, one key or one wrapper wrong at a time, and it is refused for that one."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from strongroom.attest import cbor, policy, registry
from strongroom.attest.base import Facts, Refused, Verified
from strongroom.attest.cca import CcaSection
from strongroom.attest.collateral import Collateral
from tests.unit.test_attest_cbor import encode

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PLATFORM_KEY, REALM_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
_ALGORITHMS: dict[str, tuple[int, hashes.HashAlgorithm]] = {
    "secp256r1": (-7, hashes.SHA256()),
    "secp384r1": (-35, hashes.SHA384()),
}


def cose_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    return encode({1: 2, -1: 2, -2: numbers.x.to_bytes(48, "big"), -3: numbers.y.to_bytes(48, "big")})


def signed(key: ec.EllipticCurvePrivateKey, claims: object) -> bytes:
    algorithm, digest = _ALGORITHMS[key.curve.name]
    protected, payload, size = encode({1: algorithm}), encode(claims), key.curve.key_size // 8
    r, s = decode_dss_signature(key.sign(encode(["Signature1", protected, b"", payload]), ec.ECDSA(digest)))
    return encode(cbor.Tag(18, [protected, {}, payload, r.to_bytes(size, "big") + s.to_bytes(size, "big")]))


def realm_claims(**change: Any) -> dict[int, Any]:
    claims = {
        265: "tag:arm.com,2023:realm#1.0.0",
        10: bytes(range(64)),
        44235: bytes(64),
        44238: b"i" * 32,
        44239: [b"e" * 32] * 4,
        44236: "sha-256",
        44237: cose_key(REALM_KEY),
        44240: "sha-512",
    }
    return changed(claims, change)


def platform_claims(**change: Any) -> dict[int, Any]:
    component = {1: "RMM", 2: b"m" * 32, 4: "1.0", 5: b"s" * 32}
    claims = {
        265: "tag:arm.com,2023:cca_platform#1.0.0",
        10: hashlib.sha512(cose_key(REALM_KEY)).digest(),
        2396: b"I" * 32,
        256: b"\1" + b"u" * 32,
        2401: b"\1\2\3",
        2395: 0x3003,
        2402: "sha-256",
        2399: [component, {2: b"n" * 48, 5: b"s" * 32}],
    }
    return changed(claims, change)


def changed(claims: dict[int, Any], change: dict[str, Any]) -> dict[int, Any]:
    """``c10=...`` is another claim 10; None is none."""
    for name, value in change.items():
        claims[int(name[1:])] = value
    return {label: value for label, value in claims.items() if value is not None}


def token(platform: object = None, realm: object = None, *, realm_key: ec.EllipticCurvePrivateKey = REALM_KEY) -> bytes:
    parts = {
        44234: signed(PLATFORM_KEY, platform_claims() if platform is None else platform),
        44241: signed(realm_key, realm_claims() if realm is None else realm),
    }
    return encode(cbor.Tag(399, parts))


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = PLATFORM_KEY) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def authentic(evidence: bytes, *documents: bytes, wanted: policy.Policy | None = None) -> Facts:
    given_documents = {str(number): document for number, document in enumerate(documents or (pem(),))}
    return registry.authenticate("cca", evidence, Collateral(documents=given_documents), wanted, NOW).facts


def refused(why: str | None, evidence: bytes, *documents: bytes) -> None:
    with pytest.raises(Refused, match=why):
        authentic(evidence, *documents)


def test_a_token() -> None:
    facts = authentic(token())
    assert facts.identity == b"\1" + b"u" * 32
    assert facts.report_data == bytes(range(64))
    assert set(facts.measurements) == {"rim", "rem0", "rem1", "rem2", "rem3", "platform.RMM", "platform.1"}


def test_no_component_takes_anothers_name() -> None:
    def named(*types: str | None) -> bytes:
        listed = [
            {2: bytes([number]) * 32, 5: b"s" * 32} | ({1: name} if name is not None else {})
            for number, name in enumerate(types)
        ]
        return token(platform_claims(c2399=listed))

    said = authentic(named("BL", "BL", None, "2"))
    assert {name for name in said.measurements if name.startswith("platform.")} == {
        "platform.BL", "platform.BL.1", "platform.2", "platform.2.3",
    }  # fmt: skip
    refused("would both be 'platform.BL.2'", named("BL.2", "BL", "BL"))
    refused("would both be 'platform.1.2'", named("1.2", None, "1"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"c265": "http://other"}, "profile"),
        ({"c265": None}, "profile"),
        ({"c10": bytes(64)}, "vouches for the realm key 0000"),
        ({"c10": bytes(31)}, "31 bytes"),
        ({"c2396": bytes(31)}, "implementation_id"),
        ({"c256": b"\2" + bytes(32)}, "type 2"),
        ({"c256": bytes(32)}, "instance_id"),
        ({"c2401": "text"}, "config"),
        ({"c2395": 0x2000}, "root of trust provisioning"),
        ({"c2395": 0x4001}, "realm debug"),
        ({"c2395": 0x6000}, "decommissioned"),
        ({"c2395": 0x130FF}, "state"),
        ({"c2395": True}, "unsigned integer"),
        ({"c2395": None}, "not there"),
        ({"c2402": None}, "hash_algorithm"),
        ({"c2399": None}, "software_components"),
        ({"c2399": [{2: bytes(32)}]}, "signer_id"),
        ({"c2399": [{2: bytes(20), 5: bytes(32)}]}, "digest"),
        ({"c2399": [1]}, "map"),
    ],
)
def test_platform_claims_that_are_refused(change: dict[str, Any], why: str) -> None:
    refused(why, token(platform_claims(**change)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"c265": "tag:arm.com,2099:realm#9"}, "profile"),
        ({"c10": bytes(32)}, "challenge"),
        ({"c44235": bytes(32)}, "personalization_value"),
        ({"c44238": bytes(20)}, "initial"),
        ({"c44239": [bytes(32)] * 3}, "3 extensible"),
        ({"c44239": [bytes(32)] * 3 + [b""]}, "extensible.3"),
        ({"c44236": None}, "hash_algorithm"),
        ({"c44237": None}, "public_key"),
        ({"c44240": "md5"}, "md5"),
        ({"c44240": "sha-256"}, "vouches for the realm key"),
    ],
)
def test_realm_claims_that_are_refused(change: dict[str, Any], why: str) -> None:
    refused(why, token(realm=realm_claims(**change)))


def test_a_realm_token_by_another_key() -> None:
    refused("realm.signature", token(realm_key=ec.generate_private_key(ec.SECP384R1())))
    stranger = ec.generate_private_key(ec.SECP384R1())
    refused("vouches for the realm key", token(realm=realm_claims(c44237=cose_key(stranger)), realm_key=stranger))
    refused("public_key", token(platform_claims(c10=hashlib.sha512(b"").digest()), realm_claims(c44237=b"")))


def test_a_realm_key_of_before_the_profile_is_a_bare_point() -> None:
    point = REALM_KEY.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    platform = platform_claims(c10=hashlib.sha512(point).digest())
    authentic(token(platform, realm_claims(c265=None, c44237=point)))
    refused("realm.public_key", token(platform, realm_claims(c44237=point)))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda parts: cbor.Tag(400, parts),
        lambda parts: parts,
        lambda parts: cbor.Tag(399, {44234: parts[44234]}),
        lambda parts: cbor.Tag(399, {**parts, 1: b""}),
        lambda parts: cbor.Tag(399, {44234: parts[44241], 44241: parts[44234]}),
        lambda parts: cbor.Tag(907, parts),
        lambda parts: cbor.Tag(907, {label: [1, part] for label, part in parts.items()}),
        lambda parts: cbor.Tag(399, {label: [263, part] for label, part in parts.items()}),
        lambda parts: cbor.Tag(399, [parts[44234], parts[44241]]),
    ],
)
def test_wrappers_that_are_refused(wrap: Any) -> None:
    item = cbor.decode(token(), "token")
    assert isinstance(item, cbor.Tag)
    refused(None, encode(wrap(item.value)))


def jwk(**change: Any) -> bytes:
    numbers = PLATFORM_KEY.public_key().public_numbers()
    values = {"kty": "EC", "crv": "P-256", "x": url(numbers.x), "y": url(numbers.y), **change}
    return json.dumps(values).encode()


def url(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def comid(instance: bytes = b"\1" + b"u" * 32, implementation: bytes = b"I" * 32, value: str | None = None) -> bytes:
    environment = {
        "class": {"id": {"type": "bytes", "value": base64.b64encode(implementation).decode()}},
        "instance": {"type": "ueid", "value": base64.b64encode(instance).decode()},
    }
    keys = [{"type": "pkix-base64-key", "value": pem().decode() if value is None else value}]
    entry = {"environment": environment, "verification-keys": keys}
    return json.dumps({"triples": {"attester-verification-keys": [entry]}}).encode()


def test_forms_of_the_platforms_key() -> None:
    der = PLATFORM_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    fingerprint = hashlib.sha256(der).digest()
    for document in (pem(), jwk(), comid(), comid(value=base64.b64encode(der).decode())):
        assert authentic(token(), document).fields["platform_key"] == fingerprint
    other = pem(ec.generate_private_key(ec.SECP256R1()))
    authentic(token(), other, pem())
    refused("platform.signature", token(), other)


@pytest.mark.parametrize(
    "document",
    [
        b"", b"text", b"{", b"{}", b"[]", b'{"kty":1}', b'{"triples":1}', b'{"triples":{"attester-verification-keys":[1]}}',
        b"[" * 5000, b"{" * 5000, jwk(kty="OKP"), jwk(crv="P-384"), jwk(crv=[]), jwk(x="!"), jwk(x=url(1)), jwk(y=1),
        comid(instance=b"\1" + b"v" * 32), comid(implementation=b"J" * 32), comid(value="!"), comid(value="\ud800"),
        pem(rsa.generate_private_key(65537, 2048)), b"-----BEGIN PUBLIC KEY-----\n!", pem()[:60],
    ],
    ids=lambda _: "document",  # keys are new in every run, and names must not be
)  # fmt: skip
def test_keys_that_are_refused(document: bytes) -> None:
    refused(None, token(), document)


def test_the_section() -> None:
    facts = authentic(token())
    wanted = {
        "measurements": {name: [value.hex()] for name, value in facts.measurements.items()},
        "identities": [facts.identity.hex()],
        "nonce": facts.report_data.hex(),
    }

    def verify(**section: object) -> object:
        return registry.verify(
            "cca", token(), Collateral(documents={"key": pem()}), policy.make({**wanted, "cca": section}), NOW
        )

    key = facts.detail.key.hex()
    full: dict[str, object] = {
        "platform_keys": [key],
        "implementation_ids": [(b"I" * 32).hex()],
        "platform_configs": ["010203"],
        "personalization_values": ["00" * 64],
        "signer_ids": [(b"s" * 32).hex()],
    }
    assert isinstance(verify(**full), Verified)
    with pytest.raises(Refused, match="names no platform key"):
        verify()
    for name in full:
        with pytest.raises(Refused) as caught:
            verify(**{**full, name: ["00" * 32]})
        assert caught.value.field == f"cca.{name}"


def test_debug_is_the_policys_to_permit() -> None:
    debug = token(platform_claims(c2395=0x4001))
    said = authentic(debug, wanted=policy.make({"cca": {"permit_debug": True}}))
    assert "realm debug" in said.notes[0]
    with pytest.raises(Refused, match="decommissioned"):
        authentic(token(platform_claims(c2395=0x6000)), wanted=policy.make({"cca": {"permit_debug": True}}))
    assert CcaSection().permit_debug is False


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    for attempt in (data, b"\xd9\x01\x8f" + data, b"\xd9\x01\x8f\xa2\x19\xac\xca" + data):
        with pytest.raises(Refused):
            registry.authenticate("cca", attempt, Collateral(documents={"key": pem()}), None, NOW)
