"""NVIDIA GPUs and NVSwitches: measurements signed over SPDM, compared with NVIDIA's manifests, with revocation.

Evidence is of one device or several. A device's certificates end in the year 9999: what ends trust in one is revocation
alone, so a policy takes none of which it was not asked, unless it says so. Documents that the collateral may hold, by
content and under any name: manifests (SWID tags) of the driver and of the VBIOS, and OCSP responses; among its CRLs,
NVIDIA's. GPU evidence says nothing of the machine the GPU is in: a CPU's evidence has to cover the same nonce or a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import Field, StrictBool, StrictInt

from strongroom.attest import certificates, crl, nvidia_device, nvidia_evidence, nvidia_opaque, nvidia_rim, ocsp, spdm
from strongroom.attest.base import Authentic, Facts, authentic, one_of, refuse, require
from strongroom.attest.collateral import Collateral
from strongroom.attest.marks import Mark
from strongroom.attest.nvidia_device import Attested
from strongroom.attest.nvidia_rim import Rim
from strongroom.attest.policy import Policy, Section, Values
from strongroom.attest.registry import kind
from strongroom.model.platform import Platform

_NVDEC: Final = 35  # an index that holds nothing where the GPU's first video decoder is disabled
_MOST_DOCUMENTS: Final = 256


class NvidiaSection(Section):
    """What a policy asks of NVIDIA evidence beside the common keys."""

    manifests: Literal["required", "when-given"] = Field(
        "required", description="whether the driver's and the VBIOS's manifests have to be there"
    )
    revocation: Literal["required", "when-given"] = Field(
        "required", description="whether every authority and device of a chain has to be vouched for by OCSP or a CRL"
    )
    devices: StrictInt | None = Field(None, ge=1, le=64, description="how many devices; any number where it isn't said")
    models: tuple[str, ...] = Field((), description="chips that are taken, for instance GH100; any where none")
    driver_versions: tuple[str, ...] = Field((), description="driver versions that are taken; any where none")
    vbios_versions: tuple[str, ...] = Field((), description="VBIOS versions that are taken; any where none")
    modes: tuple[Literal["single GPU", "multiple GPUs", "protected PCIe"], ...] = Field(
        (), description="modes of confidential computing that are taken; any where none"
    )
    permit_debug: StrictBool = Field(
        False, description="take devices whose own certificate says debug, recovery or not secure, as samples' do"
    )
    measurements: dict[int, Values] = Field(
        default_factory=dict, description="allowed digests of every device by index from 0"
    )

    def appraise(self, facts: Facts, policy: Policy) -> None:
        """Manifests, revocation, and what the section names, of every device; Refused where one of them is not as asked."""
        found: tuple[Appraised, ...] = facts.detail
        if self.devices is not None:
            require(len(found) == self.devices, "nvidia.devices", f"{len(found)} devices, allowed are {self.devices}")
        for number, device in enumerate(found):
            self._collateral(device, number)
            self._names(device.attested, number)
            self._measurements(device, number, policy)

    def _collateral(self, device: Appraised, number: int) -> None:
        if self.manifests == "required" and device.missing:
            refuse(
                f"collateral.manifests.{number}",
                f"the manifest of {' and of '.join(device.missing)} is not given, and the policy asks for it",
            )
        if self.revocation == "required" and device.unasked:
            refuse(
                f"collateral.revocation.{number}",
                f"neither an OCSP response nor a CRL speaks of {', '.join(device.unasked)}, and the policy asks for it",
            )

    def _names(self, device: Attested, number: int) -> None:
        compared = (
            ("models", self.models, device.model),
            (
                "driver_versions",
                self.driver_versions if not device.is_switch else (),
                device.opaque.text("driver_version"),
            ),
            ("vbios_versions", tuple(map(str.upper, self.vbios_versions)), device.opaque.vbios),
            ("modes", self.modes if not device.is_switch else (), device.opaque.mode or "not said"),
        )
        for name, allowed, value in compared:
            if allowed and value not in allowed:
                refuse(f"nvidia.{name}.{number}", f"{value!r}, allowed are {', '.join(allowed)}")

    def _measurements(self, device: Appraised, number: int, policy: Policy) -> None:
        for index, allowed in self.measurements.items():
            value = device.attested.measurements.get(index)
            if value is None:
                refuse(f"nvidia.measurements.{number}.{index}", "the device has no measurement of this index")
            one_of(value, allowed, f"nvidia.measurements.{number}.{index}")
        if not device.missing or policy.passes_over("nvidia.measurements"):
            return
        for index, value in device.attested.measurements.items():
            common = f"nvidia.{number}.{index}"
            if any(value) and not (
                index in device.compared
                or index in self.measurements
                or common in policy.measurements
                or policy.passes_over(common)
            ):
                refuse(
                    f"policy.{common}",
                    f"neither a manifest nor the policy says what measurement {index} of device {number} has to be,"
                    f" it is {value.hex()}; give the manifests, name it, or list nvidia.measurements under not_compared",
                )


@dataclass(frozen=True)
class Appraised:
    """A device with what collateral said of it.

    Attributes:
        attested: the device.
        missing: manifests that are not given.
        unasked: certificates of which neither OCSP nor a CRL speaks.
        compared: indices that a manifest speaks of.
        marks: numbers of the CRLs that this rests on.
    """

    attested: Attested
    missing: tuple[str, ...]
    unasked: tuple[str, ...]
    compared: frozenset[int]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class _Documents:
    manifests: tuple[Rim, ...]
    responses: tuple[ocsp.Response, ...]
    lists: tuple[crl.Crl, ...]


def _ours(name: str) -> bool:
    return name.startswith("nvidia.")


def show(evidence: bytes, collateral: Collateral) -> Mapping[str, object]:
    """Every field of every device, unverified."""
    shown = []
    for device in nvidia_evidence.devices(evidence):
        transcript = spdm.parse(device.transcript)
        shown.append(
            {
                "nonce": transcript.nonce,
                "device_nonce": transcript.answer,
                "slot": transcript.slot,
                "opaque": nvidia_opaque.parse(transcript.opaque).fields(),
                "measurements": {index - 1: value for index, (_, value) in sorted(transcript.blocks.items())},
                "certificates": [found.name for found in certificates.load(device.chain)] if device.chain else [],
            }
        )
    return {"devices": shown}


@kind(
    "nvidia",
    Platform.GPU,
    section=NvidiaSection,
    show=show,
    measures=_ours,
    looks_like=nvidia_evidence.looks_like,
    reads_json=True,
)
def verify(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    """Evidence of GPUs or switches.

    Args:
        evidence: a transcript (bytes or hex), or JSON of one device or several with their chains.
        collateral: chains where the evidence has none; manifests and OCSP responses among documents; CRLs.
        policy: ``collateral_grace_hours`` holds for revocation, and ``nvidia.permit_debug``; the rest is compared later.
        now: the controller's time, for certificates, manifests and revocation.

    Raises:
        Refused: any of it does not hold; what collateral says of a device holds whether or not a policy asks for it.
    """
    grace = policy.grace if policy else timedelta(0)
    permit_debug = policy.section_as("nvidia", NvidiaSection).permit_debug if policy else False
    given = certificates.load_all(collateral.certificates)
    documents = _documents(collateral, now)
    found = nvidia_evidence.devices(evidence)
    attested = tuple(
        nvidia_device.attest(device, given, now, f"device.{number}." if len(found) > 1 else "", permit_debug)
        for number, device in enumerate(found)
    )
    identities = _distinct(attested)
    _concerned(documents.manifests, attested)
    appraised: list[Appraised] = []
    notes: list[str] = []
    for number, device in enumerate(attested):
        said, more = _collateral(device, documents, now, grace, f"device.{number}.")
        appraised.append(said)
        if device.unsafe:
            notes.append(f"device.{number}: its firmware is {', '.join(device.unsafe)}, which the policy permits")
        notes += more
    facts = Facts(
        kind="nvidia",
        platform=Platform.GPU,
        report_data=attested[0].transcript.nonce,
        measurements={
            f"nvidia.{number}.{index}": value
            for number, device in enumerate(attested)
            for index, value in device.measurements.items()
        },
        identity=identities[0] if len(found) == 1 else hashlib.sha256(b"".join(sorted(identities))).digest(),
        members=tuple(identities) if len(found) > 1 else (),
        fields={"devices": [_fields(device) for device in appraised]},
        notes=tuple(dict.fromkeys(notes)),
        detail=tuple(appraised),
        marks=tuple({mark.name: mark for device in appraised for mark in device.marks}.values()),
    )
    return authentic(facts, policy)


def _distinct(attested: tuple[Attested, ...]) -> list[bytes]:
    """All answered the same nonce, and none speaks twice."""
    nonces = {device.transcript.nonce for device in attested}
    require(len(nonces) == 1, "nonce", f"the devices answered {len(nonces)} nonces, allowed is one")
    identities = [device.identity for device in attested]
    require(len(set(identities)) == len(identities), "identity", "a device's evidence is there more than once")
    return identities


def _documents(collateral: Collateral, now: datetime) -> _Documents:
    require(len(collateral.documents) <= _MOST_DOCUMENTS, "collateral", f"more than {_MOST_DOCUMENTS} documents")
    manifests, responses = [], []
    for name, document in collateral.documents.items():
        if nvidia_rim.looks_like(document):
            manifests.append(nvidia_rim.load(document, now, f"collateral.{name}"))
        elif ocsp.looks_like(document):
            responses.append(ocsp.load(document, f"collateral.{name}"))
    lists = tuple(crl.load(blob, "collateral.crls") for blob in collateral.crls)
    return _Documents(tuple(manifests), tuple(responses), lists)


def _collateral(
    device: Attested, documents: _Documents, now: datetime, grace: timedelta, what: str
) -> tuple[Appraised, list[str]]:
    roots = nvidia_device.ROOTS
    own = nvidia_device.revocation(device.chain, 1, roots, documents.responses, documents.lists, now, grace, what)
    spoken = len(own.unasked) < len(device.chain[1:-1])
    require(
        spoken or not (documents.responses or documents.lists),
        f"{what}certificate.revocation",
        "OCSP responses or CRLs are given, and none speaks of the device's certificates",
    )
    every, said, marks = list(own.unasked), list(own.notes), list(own.marks)
    missing, compared = [], set[int]()
    for part, version in _parts(device):
        rims = [rim for rim in documents.manifests if _speaks_of(rim, device, version)]
        if not rims:
            missing.append(f"{part} {version or '(the device names no version)'}")
        for rim in rims:
            compared |= _compare(device, rim, compared, f"{what}{part}")
            signer = nvidia_device.revocation(
                rim.chain, 0, nvidia_rim.ROOTS, documents.responses, documents.lists, now, grace, f"{what}{part}."
            )
            every += signer.unasked
            said += signer.notes
            marks += signer.marks
    if missing:
        said.append(f"{what[:-1]}: measurements were not compared, for no manifest is given of {' and '.join(missing)}")
    if every:
        said.append(f"{what[:-1]}: whether it was revoked is not known of {', '.join(dict.fromkeys(every))}")
    unasked = tuple(dict.fromkeys(every))
    return Appraised(device, tuple(missing), unasked, frozenset(compared), tuple(marks)), said


def _concerned(manifests: tuple[Rim, ...], attested: tuple[Attested, ...]) -> None:
    """Manifests that are all of other versions or chips are a mistake or a trick; among a fleet's, some fit."""
    wanted = [(device, version) for device in attested for _, version in _parts(device)]
    if manifests and not any(_speaks_of(rim, device, version) for rim in manifests for device, version in wanted):
        given = sorted({f"{rim.version} for {rim.product or 'no chip'}" for rim in manifests})
        have = sorted({f"{version.upper()} on {device.model}" for device, version in wanted if version})
        refuse(
            "collateral.manifests",
            f"the manifests given are of {', '.join(given)}, the devices have {', '.join(have) or 'none'}",
        )


def _speaks_of(rim: Rim, device: Attested, version: str) -> bool:
    """Whether a manifest is of that version, and of the device's chip.

    One version of a driver has a manifest for each chip (NV_GPU_DRIVER_GH100_… and NV_GPU_CC_DRIVER_GB100_… of NVIDIA's RIM
    service). Their ``product`` is the name that the device's certificate starts with, or what the device itself calls its
    chip, by which the service names manifests from Blackwell on. A switch's manifest was not at hand: none is compared.
    """
    if rim.version.upper() != version.upper():
        return False
    chips = {device.model, device.opaque.text("chip_info")} - {""}
    return device.is_switch or rim.product in chips


def _parts(device: Attested) -> list[tuple[str, str]]:
    vbios = ("vbios", device.opaque.vbios)
    return [vbios] if device.is_switch else [("driver", device.opaque.text("driver_version")), vbios]


def _compare(device: Attested, rim: Rim, compared: set[int], what: str) -> set[int]:
    """Every active index of the manifest; two manifests that speak of one index contradict NVIDIA's own rule."""
    both = sorted(compared & set(rim.allowed))
    require(not both, f"{what}.manifest", f"another manifest speaks of index {both[:1]} as well")
    measured = device.measurements
    for index, allowed in rim.allowed.items():
        if index == _NVDEC and device.opaque.switch("nvdec0_status") is False:
            continue
        value = measured.get(index)
        if value is None:
            refuse(f"{what}.{index}", f"the device has no measurement {index}, which manifest {rim.version} asks for")
        one_of(value, allowed, f"{what}.{index}", what=f"measurement {index}")
    return set(rim.allowed)


def _fields(device: Appraised) -> dict[str, object]:
    attested = device.attested
    return {
        "model": attested.model,
        "identity": attested.identity,
        "serial": f"{attested.chain[1].serial:x}",
        "certificates": [certificate.name for certificate in attested.chain],
        "firmware_ids": list(attested.tcb.fwids),
        "flags": list(attested.tcb.flags),
        "opaque": attested.opaque.fields(),
        "manifests_missing": list(device.missing),
        "measurements_compared": sorted(device.compared),
        "revocation_not_known": list(device.unasked),
    }
