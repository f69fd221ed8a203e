"""Arm CCA: a platform token under a given key, and a realm token whose key the platform token vouches for.

RMM specification (DEN0137) section A7.2: the realm's token is signed by the realm attestation key (RAK), and the hash of
that key is the challenge of the platform's token, which the platform's key (CPAK) signs. There is no vendor root and
there are no dates: the key is given as collateral, and a policy names the keys that it takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field, StrictBool

from strongroom.attest import cbor, cca_claims, cca_key, cose
from strongroom.attest.base import Authentic, Facts, Refused, authentic, one_of, refuse, require
from strongroom.attest.cca_claims import PlatformClaims, RealmClaims
from strongroom.attest.collateral import Collateral
from strongroom.attest.policy import Hex, Policy, Section
from strongroom.attest.registry import kind
from strongroom.model.platform import Platform

_HASHES: Final = {"sha-256": hashlib.sha256, "sha-384": hashlib.sha384, "sha-512": hashlib.sha512}
_SECURED, _DEBUG = 0x30, (0x40, 0x50)
_LARGEST: Final = 1 << 16
_STARTS: Final = tuple(cbor.head(cbor.TAG, tag) for tag in (cca_claims.LEGACY, cca_claims.CMW))


class CcaSection(Section):
    """What a policy asks of a CCA token beside the common keys."""

    platform_keys: tuple[Hex, ...] = Field(
        (), description="SHA-256 of the DER SubjectPublicKeyInfo of platform keys that are taken"
    )
    implementation_ids: tuple[Hex, ...] = Field((), description="implementation ids that are taken; any where none")
    platform_configs: tuple[Hex, ...] = Field((), description="platform configurations that are taken; any where none")
    personalization_values: tuple[Hex, ...] = Field((), description="realm personalization values; any where none")
    signer_ids: tuple[Hex, ...] = Field((), description="who may have signed the platform's firmware; any where none")
    permit_debug: StrictBool = Field(False, description="take a platform whose lifecycle is a debug state")

    def appraise(self, facts: Facts, policy: Policy) -> None:
        """The platform's key has to be named; the rest where the policy names any. What differs is Refused."""
        found: CcaDetail = facts.detail
        if self.platform_keys:
            one_of(found.key, self.platform_keys, "cca.platform_keys", what="the platform's key")
        elif not policy.passes_over("cca.platform_keys"):
            refuse(
                "policy.cca.platform_keys",
                f"the policy names no platform key, and the token is under {found.key.hex()};"
                " name those allowed, or list cca.platform_keys under not_compared",
            )
        compared = (
            ("implementation_ids", self.implementation_ids, found.platform.implementation),
            ("platform_configs", self.platform_configs, found.platform.config),
            ("personalization_values", self.personalization_values, found.realm.personalization),
            *(("signer_ids", self.signer_ids, component.signer) for component in found.platform.components),
        )
        for name, allowed, value in compared:
            if allowed:
                one_of(value, allowed, f"cca.{name}")


class CcaDetail:
    """What the section compares: the claims, and the fingerprint of the platform's key."""

    __slots__ = ("key", "platform", "realm")

    def __init__(self, platform: PlatformClaims, realm: RealmClaims, key: bytes) -> None:
        self.platform = platform
        self.realm = realm
        self.key = key


def measurements(platform: PlatformClaims, realm: RealmClaims) -> dict[str, bytes]:
    """By name: ``rim``, ``rem0`` to ``rem3``, and ``platform.<type>`` (with a number where a type comes again or is none).

    Raises:
        Refused: two components would have one name, so that a digest would be compared with nothing.
    """
    found = {"rim": realm.initial, **{f"rem{number}": value for number, value in enumerate(realm.extensible)}}
    for number, component in enumerate(platform.components):
        name = f"platform.{component.type or number}"
        if name in found:
            name = f"{name}.{number}"
        require(name not in found, "platform.software_components", f"two components would both be {name[:60]!r}")
        found[name] = component.digest
    return found


def _ours(name: str) -> bool:
    return name == "rim" or name.startswith(("rem", "platform."))


def _looks(evidence: bytes) -> bool:
    return evidence.startswith(_STARTS)


def show(evidence: bytes, collateral: Collateral) -> Mapping[str, object]:
    """Every claim, unverified."""
    platform, realm = _parse(evidence)[2:]
    return _fields(platform, realm)


def _parse(evidence: bytes) -> tuple[cose.Sign1, cose.Sign1, PlatformClaims, RealmClaims]:
    require(len(evidence) <= _LARGEST, "token", f"{len(evidence)} bytes, allowed are {_LARGEST}")
    platform, realm = cca_claims.tokens(evidence)
    return platform, realm, cca_claims.platform(platform), cca_claims.realm(realm)


@kind("cca", Platform.CCA, section=CcaSection, show=show, measures=_ours, looks_like=_looks)
def verify(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    """A CCA token (tag 399 or 907) under a platform key that the collateral gives.

    Args:
        evidence: the CBOR token.
        collateral: the platform's public key (PEM, JWK or CoMID) among documents or certificates.
        policy: ``cca.permit_debug`` holds here; all else is compared later.
        now: not used, for neither tokens nor keys are dated; freshness is the realm's challenge.

    Raises:
        Refused: a signature, the binding of the realm's key, a claim's form, or the lifecycle.
    """
    platform_token, realm_token, platform, realm = _parse(evidence)
    key = _signer(platform_token, cca_key.given(collateral, platform.implementation, platform.instance))
    _bound(platform, realm)
    realm_token.verify(_realm_key(realm, realm_token))
    notes = _lifecycle(platform, policy.section_as("cca", CcaSection).permit_debug if policy else False)
    found = measurements(platform, realm)
    facts = Facts(
        kind="cca",
        platform=Platform.CCA,
        report_data=realm.challenge,
        measurements=found,
        identity=platform.instance,
        fields={**_fields(platform, realm), "platform_key": cose.fingerprint(key)},
        notes=notes,
        must_compare=tuple(found),
        detail=CcaDetail(platform, realm, cose.fingerprint(key)),
    )
    return authentic(facts, policy)


def _signer(token: cose.Sign1, keys: tuple[ec.EllipticCurvePublicKey, ...]) -> ec.EllipticCurvePublicKey:
    """The one of the given keys that signed; the refusal is the last one's."""
    failure = Refused("no key is given", "collateral.platform_key")
    for key in keys:
        try:
            token.verify(key)
        except Refused as refused:
            failure = refused
        else:
            return key
    raise failure


def _bound(platform: PlatformClaims, realm: RealmClaims) -> None:
    """The platform's challenge is the hash of the realm's key as the token encodes it (section A7.2.2)."""
    digest = _HASHES.get(realm.public_key_algorithm)
    if digest is None:
        refuse(
            "realm.public_key_hash_algorithm",
            f"the algorithm is {realm.public_key_algorithm!r}, allowed are {', '.join(_HASHES)}",
        )
    computed = digest(realm.public_key).digest()
    require(
        computed == platform.challenge,
        "platform.challenge",
        f"the platform vouches for the realm key {platform.challenge.hex()}, the realm's hashes to {computed.hex()}",
    )


def _realm_key(realm: RealmClaims, token: cose.Sign1) -> ec.EllipticCurvePublicKey:
    """A COSE_Key since RMM 1.0 (which has a profile), before it an uncompressed point on P-384."""
    if realm.profile is not None:
        return cose.key(realm.public_key, "realm.public_key")
    return cose.uncompressed(ec.SECP384R1(), realm.public_key, "realm.public_key")


def _lifecycle(platform: PlatformClaims, permit_debug: bool) -> tuple[str, ...]:
    """The state is the high byte (section A7.2.3.2.6); the low one is the implementation's."""
    state = platform.lifecycle >> 8
    if state == _SECURED:
        return ()
    if state in _DEBUG and permit_debug:
        return (f"the platform's lifecycle is {platform.state}, which the policy permits",)
    raise Refused(
        f"the lifecycle is {platform.lifecycle:#06x} ({platform.state}), allowed is 0x3000 to 0x30ff (secured)",
        "platform.lifecycle",
    )


def _fields(platform: PlatformClaims, realm: RealmClaims) -> dict[str, object]:
    return {
        "platform": {
            "profile": platform.profile,
            "challenge": platform.challenge,
            "implementation_id": platform.implementation,
            "instance_id": platform.instance,
            "config": platform.config,
            "lifecycle": {"value": platform.lifecycle, "state": platform.state},
            "hash_algorithm": platform.algorithm,
            "verification_service": platform.service,
            "software_components": [
                {
                    "type": component.type,
                    "digest": component.digest,
                    "version": component.version,
                    "signer_id": component.signer,
                    "hash_algorithm": component.algorithm,
                }
                for component in platform.components
            ],
        },
        "realm": {
            "profile": realm.profile,
            "challenge": realm.challenge,
            "personalization_value": realm.personalization,
            "initial_measurement": realm.initial,
            "extensible_measurements": list(realm.extensible),
            "hash_algorithm": realm.algorithm,
            "public_key": realm.public_key,
            "public_key_hash_algorithm": realm.public_key_algorithm,
        },
    }
