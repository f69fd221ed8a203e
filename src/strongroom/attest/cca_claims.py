"""The claims of an Arm CCA attestation token: RMM specification (DEN0137) section A7.2.3, draft-ffm-rats-cca-token-04.

Names, labels and sizes are data here; what they have to be is decided in :mod:`strongroom.attest.cca`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.attest import cbor
from strongroom.attest.base import refuse, require
from strongroom.attest.cose import Sign1, sign1

LEGACY, CMW = 399, 907  # the tags of a collection before and since draft -02
EAT_CWT: Final = 263  # CoAP content format application/eat+cwt (RFC 9711 section 9)
PLATFORM, REALM = 44234, 44241
PLATFORM_PROFILES: Final = ("http://arm.com/CCA-SSD/1.0.0", "tag:arm.com,2023:cca_platform#1.0.0")
REALM_PROFILE: Final = "tag:arm.com,2023:realm#1.0.0"
LIFECYCLES: Final = {
    0x00: "unknown",
    0x10: "assembly and test",
    0x20: "root of trust provisioning",
    0x30: "secured",
    0x40: "realm debug",
    0x50: "root debug",
    0x60: "decommissioned",
}
_DIGESTS: Final = (32, 48, 64)


@dataclass(frozen=True)
class Component:
    """Firmware that the platform measured (section A7.2.3.2.7); the digest and the signer's id are always there."""

    type: str
    digest: bytes
    version: str
    signer: bytes
    algorithm: str


@dataclass(frozen=True)
class PlatformClaims:
    """What the platform's root of trust says; ``lifecycle`` is the raw number, its high byte the state."""

    profile: str
    challenge: bytes
    implementation: bytes
    instance: bytes
    config: bytes
    lifecycle: int
    algorithm: str
    service: str
    components: tuple[Component, ...]

    @property
    def state(self) -> str:
        """The lifecycle state by name."""
        return LIFECYCLES.get(self.lifecycle >> 8, f"state {self.lifecycle:#06x}")


@dataclass(frozen=True)
class RealmClaims:
    """What the RMM says of the realm; ``public_key`` in the token's own encoding, which the platform's challenge hashes."""

    profile: str | None
    challenge: bytes
    personalization: bytes
    initial: bytes
    extensible: tuple[bytes, ...]
    algorithm: str
    public_key: bytes
    public_key_algorithm: str


class Claims:
    """Typed access to a claims map; every absence and every wrong type is Refused under the claim's name."""

    def __init__(self, values: object, what: str) -> None:
        if not isinstance(values, dict):
            refuse(what, f"claims are a {type(values).__name__}, allowed is a map")
        self._values: Mapping[int | str | bytes, object] = values
        self.what = what

    def bytes(self, label: int, name: str, *sizes: int) -> bytes:
        """A byte string of one of these sizes in bytes, of any where none is given; Refused where it is none, or not there."""
        value = self._values.get(label)
        if not isinstance(value, bytes):
            refuse(f"{self.what}.{name}", f"claim {label} is {_kind(value)}, allowed is a byte string")
        allowed = " or ".join(map(str, sizes))
        require(not sizes or len(value) in sizes, f"{self.what}.{name}", f"{len(value)} bytes, allowed is {allowed}")
        return value

    def text(self, label: int, name: str, default: str | None = None) -> str:
        """Text, or the default where the claim is not there; Refused where it is none."""
        value = self._values.get(label, default)
        if not isinstance(value, str):
            refuse(f"{self.what}.{name}", f"claim {label} is {_kind(value)}, allowed is text")
        return value

    def number(self, label: int, name: str) -> int:
        """An unsigned integer; Refused where it is none, or not there."""
        value = self._values.get(label)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            refuse(f"{self.what}.{name}", f"claim {label} is {_kind(value)}, allowed is an unsigned integer")
        return value

    def array(self, label: int, name: str) -> list[object]:
        """An array; Refused where it is none, or not there."""
        value = self._values.get(label)
        if not isinstance(value, list):
            refuse(f"{self.what}.{name}", f"claim {label} is {_kind(value)}, allowed is an array")
        return value

    def has(self, label: int) -> bool:
        """Whether the claim is there."""
        return label in self._values


def _kind(value: object) -> str:
    return "not there" if value is None else type(value).__name__


def tokens(evidence: bytes) -> tuple[Sign1, Sign1]:
    """The platform's and the realm's token out of a collection, both unverified.

    Raises:
        Refused: it is no collection of exactly these two, in either form (tag 399, or tag 907 with typed elements).
    """
    item = cbor.decode(evidence, "token")
    if not isinstance(item, cbor.Tag) or item.number not in (LEGACY, CMW):
        found = f"tag {item.number}" if isinstance(item, cbor.Tag) else type(item).__name__
        refuse("token.tag", f"it starts with {found}, allowed are the tags {LEGACY} and {CMW} of a CCA token")
    if not isinstance(item.value, dict) or set(item.value) != {PLATFORM, REALM}:
        refuse("token", f"it has other parts than the two of a CCA token, {PLATFORM} and {REALM}")
    platform, realm = (_element(item.value[label], item.number, name) for label, name in _PARTS)
    return sign1(cbor.decode(platform, "platform"), "platform"), sign1(cbor.decode(realm, "realm"), "realm")


_PARTS: Final = ((PLATFORM, "platform"), (REALM, "realm"))


def _element(value: object, tag: int, name: str) -> bytes:
    if tag == CMW:
        if not (isinstance(value, list) and len(value) == 2 and value[0] == EAT_CWT):
            refuse(f"token.{name}", f"the element is not of type {EAT_CWT} (application/eat+cwt)")
        value = value[1]
    if not isinstance(value, bytes):
        refuse(f"token.{name}", f"the token is {_kind(value)}, allowed is a byte string")
    return value


def platform(token: Sign1) -> PlatformClaims:
    """Section A7.2.3.2; Refused where a claim is missing, of another type or size, or of an unknown profile."""
    claims = Claims(cbor.decode(token.payload, "platform"), "platform")
    profile = claims.text(265, "profile")
    require(
        profile in PLATFORM_PROFILES,
        "platform.profile",
        f"the profile is {profile!r}, allowed are {', '.join(PLATFORM_PROFILES)}",
    )
    instance = claims.bytes(256, "instance_id", 33)
    require(instance[0] == 1, "platform.instance_id", f"the UEID is of type {instance[0]}, allowed is 1 (RAND)")
    algorithm = claims.text(2402, "hash_algorithm")
    return PlatformClaims(
        profile=profile,
        challenge=claims.bytes(10, "challenge", *_DIGESTS),
        implementation=claims.bytes(2396, "implementation_id", 32),
        instance=instance,
        config=claims.bytes(2401, "config"),
        lifecycle=claims.number(2395, "lifecycle"),
        algorithm=algorithm,
        service=claims.text(2400, "verification_service", ""),
        components=tuple(
            _component(entry, number, algorithm)
            for number, entry in enumerate(claims.array(2399, "software_components"))
        ),
    )


def _component(entry: object, number: int, algorithm: str) -> Component:
    claims = Claims(entry, f"platform.software_components.{number}")
    return Component(
        type=claims.text(1, "type", ""),
        digest=claims.bytes(2, "digest", *_DIGESTS),
        version=claims.text(4, "version", ""),
        signer=claims.bytes(5, "signer_id", *_DIGESTS),
        algorithm=claims.text(6, "hash_algorithm", algorithm),
    )


def realm(token: Sign1) -> RealmClaims:
    """Section A7.2.3.1; Refused where a claim is missing, of another type or size, or of an unknown profile."""
    claims = Claims(cbor.decode(token.payload, "realm"), "realm")
    profile = claims.text(265, "profile") if claims.has(265) else None
    require(
        profile in (None, REALM_PROFILE),
        "realm.profile",
        f"the profile is {profile!r}, allowed is {REALM_PROFILE}, or none in tokens before RMM 1.0",
    )
    extensible = []
    for number, value in enumerate(claims.array(44239, "extensible")):
        if not isinstance(value, bytes) or len(value) not in _DIGESTS:
            refuse(f"realm.extensible.{number}", "a measurement has 32, 48 or 64 bytes")
        extensible.append(value)
    require(len(extensible) == 4, "realm.extensible", f"{len(extensible)} extensible measurements, allowed is 4")
    return RealmClaims(
        profile=profile,
        challenge=claims.bytes(10, "challenge", 64),
        personalization=claims.bytes(44235, "personalization_value", 64),
        initial=claims.bytes(44238, "initial", *_DIGESTS),
        extensible=tuple(extensible),
        algorithm=claims.text(44236, "hash_algorithm"),
        public_key=claims.bytes(44237, "public_key"),
        public_key_algorithm=claims.text(44240, "public_key_hash_algorithm"),
    )
