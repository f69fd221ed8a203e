"""SEV-SNP: a report, its VCEK or VLEK, and AMD's pinned roots.

What holds before anything is compared with a policy: the report's form, the leaf's chain and dates, the signature, the
leaf's chip and TCB (they are what its key was derived from), the order of TCBs, and that the host may not debug.
A revocation list is looked at where one is given, and has to be there where the policy asks. It can name ASKs and ASVKs
alone, for all leaves have the serial number 0: single chips are denied by a policy's ``denied_identities``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from strongroom.attest import amd, certificates, crl, snp_forms, snp_report
from strongroom.attest.amd import Leaf
from strongroom.attest.base import Authentic, Facts, Refused, authentic, refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.collateral import Collateral
from strongroom.attest.marks import Mark
from strongroom.attest.policy import Policy
from strongroom.attest.registry import kind
from strongroom.attest.signatures import SHA384, Scheme, verify_signature
from strongroom.attest.snp_policy import SnpPolicy
from strongroom.attest.snp_report import Report
from strongroom.model.platform import Platform

NAME = "snp"
STRICT = SnpPolicy()
MEASUREMENTS = ("measurement", "host_data", "id_key_digest", "author_key_digest")
_SCHEME = Scheme("ECDSA P-384 with SHA-384", "ecdsa", SHA384)
_VMPLS = range(4)
_NO_GRACE = timedelta(0)


def show(evidence: bytes, collateral: Collateral) -> Mapping[str, object]:
    """Every field of a report, and what is given of its certificates, decoded; nothing is verified.

    Raises:
        Refused: the bytes are no report, or a certificate is none.
    """
    report = snp_report.parse(evidence)
    given = certificates.load_all(collateral.certificates)
    leaves = [amd.leaf(one) for one in given if amd.role_of(one)]
    product = leaves[0].product if len(leaves) == 1 else snp_report.guessed_product(report)
    said = "certificate" if len(leaves) == 1 else "CPUID" if any(report.cpuid) else "report's version"
    return {
        "product": f"{product.name} (by the {said})",
        **snp_report.decoded(report, product),
        **({"certificates": [_leaf_fields(leaf) for leaf in leaves]} if leaves else {}),
        **({"authorities": [one.name for one in given if not amd.role_of(one)]} if len(given) > len(leaves) else {}),
    }


def _leaf_fields(leaf: Leaf) -> dict[str, object]:
    return {
        "role": leaf.role,
        "product": leaf.product_name,
        "not_before": leaf.certificate.not_before,
        "not_after": leaf.certificate.not_after,
        "tcb": {name: level for name, level in leaf.tcb.items() if level or not name.startswith("spl")},
        **({"hwid": leaf.hwid} if leaf.hwid else {"csp_id": leaf.csp_id}),
    }


@kind(
    NAME,
    Platform.SNP,
    section=SnpPolicy,
    show=show,
    measures=lambda name: name in MEASUREMENTS,
    looks_like=lambda evidence: len(evidence) == snp_report.SIZE and evidence[1:4] == bytes(3),
    unwrap=snp_forms.unwrap,
)
def verify(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    """Authenticate a report of exactly 1,184 bytes.

    Args:
        evidence: the report.
        collateral: the chip's VCEK or the provider's VLEK among its certificates (others do no harm); ASK, ASVK and ARK
            may be there, the shipped ones do; revocation lists.
        policy: whose allowances hold (``snp.debug``, ``snp.crl``, the grace); None for the strict ones.
        now: the controller's time.

    Raises:
        Refused: something does not hold.
    """
    section = policy.section_as(NAME, SnpPolicy) if policy else STRICT
    facts = examine(evidence, collateral, section, now, grace=policy.grace if policy else _NO_GRACE)
    return authentic(facts, policy)


def examine(
    evidence: bytes, collateral: Collateral, section: SnpPolicy, now: datetime, *, grace: timedelta = _NO_GRACE
) -> Facts:
    """What an authentic report says; for kinds that carry a report inside.

    Raises:
        Refused: the report is not authentic.
    """
    report = snp_report.parse(evidence)
    role = _role(report)
    leaf = _signer(report, role, collateral, now)
    path = amd.chain(leaf, _given(collateral.certificates).others, now)
    notes, marks = revocation(path, collateral, section, now, grace)
    # First whether it is this chip's and TCB's key at all: another one's would only say that the signature does not verify.
    bound(report, leaf)
    verify_signature(leaf.certificate.key, _SCHEME, report.signature(), report.signed, "report.signature")
    _consistent(report, leaf)
    if report.has("debug"):
        if not section.debug:
            refuse(
                "report.policy.debug",
                f"the guest's policy {report.policy:#x} lets the host debug it; no production guest",
            )
        notes = (*notes, "the guest's host may debug it; the policy permits that")
    return replace(_facts(report, leaf, path, notes), marks=marks)


def _role(report: Report) -> str:
    role = snp_report.SIGNERS.get(report.signing_key, "reserved")
    require(role in ("VCEK", "VLEK"), "report.signer.key", f"signing key is {role}, allowed are VCEK and VLEK")
    require(not report.signer >> 1 & 1, "report.signer.chip_key_masked", "the chip key is masked, nothing signed this")
    require(not report.signer >> 5, "report.signer", f"{report.signer:#x} has bits of no known meaning")
    require(
        report.vmpl in _VMPLS,
        "report.vmpl",
        f"VMPL is {report.vmpl}, allowed are 0 to 3; the host's own reports are none",
    )
    return role


@dataclass(frozen=True)
class _Given:
    """Certificates by what they are good for.

    Attributes:
        leaves: by role.
        index: leaves by role, chip and TCB, without those that contradict themselves.
        others: what is no leaf.
    """

    leaves: Mapping[str, tuple[Certificate, ...]]
    index: Mapping[tuple[str, bytes, bytes], tuple[Leaf, ...]]
    others: tuple[Certificate, ...]


@lru_cache(maxsize=8)
def _given(blobs: tuple[bytes, ...]) -> _Given:
    """The same certificates serve many reports of one call, so they are sorted once."""
    loaded = certificates.load_all(blobs)
    leaves: dict[str, tuple[Certificate, ...]] = {
        role: tuple(one for one in loaded if amd.role_of(one) == role) for role in ("VCEK", "VLEK")
    }
    index: dict[tuple[str, bytes, bytes], tuple[Leaf, ...]] = {}
    for certificate in (*leaves["VCEK"], *leaves["VLEK"]):
        try:
            leaf = amd.leaf(certificate)
        except Refused:
            continue
        key = (leaf.role, leaf.hwid, leaf.tcb_version())
        index[key] = (*index.get(key, ()), leaf)
    return _Given(leaves, index, tuple(one for one in loaded if not amd.role_of(one)))


def _signer(report: Report, role: str, collateral: Collateral, now: datetime) -> Leaf:
    """The leaf for this report: the one that is given, or out of several the one of this chip and TCB."""
    given = _given(collateral.certificates)
    mine = given.leaves[role]
    if not mine:
        refuse(
            "certificate",
            f"no {role} is given, and the report is signed by one ({sum(map(len, given.leaves.values()))} others are there)",
            hint="AMD's key distribution service has it by chip id and reported TCB; the host's extended report too",
        )
    if len(mine) == 1:
        return amd.leaf(mine[0])
    if role == "VLEK":
        names: tuple[bytes, ...] = (b"",)
    elif any(report.chip_id):
        names = tuple({report.chip_id[: product.hwid] for product in amd.PRODUCTS.values()})
    else:
        names = tuple({name for _, name, _ in given.index})
    found = [leaf for name in names for leaf in given.index.get((role, name, report.reported_tcb), ())]
    if not found:
        chip = f"chip {report.chip_id.hex()[:32]}.. and " if role == "VCEK" else ""
        refuse("certificate", f"none of {len(mine)} {role}s is for {chip}TCB {report.reported_tcb.hex()}")
    if len(found) == 1:
        return found[0]
    failure: Refused | None = None
    for leaf in found:  # one key may have been certified more than once
        try:
            amd.chain(leaf, given.others, now)
            verify_signature(leaf.certificate.key, _SCHEME, report.signature(), report.signed, "report.signature")
        except Refused as refused:
            failure = refused
        else:
            return leaf
    raise failure or Refused("no leaf holds", "certificate")


def bound(report: Report, leaf: Leaf) -> None:
    """Refuse a leaf whose chip or TCB is not the report's.

    Where a host masks chip ids (MASK_CHIP_ID, section 7.3: CHIP_ID is "set to 0h"), a VCEK's key still is its chip's alone,
    so the certificate says whose report it is.
    """
    if leaf.role == "VCEK" and any(report.chip_id):
        size = leaf.product.hwid
        chip, rest = report.chip_id[:size], report.chip_id[size:]
        require(
            chip == leaf.hwid, "certificate.hwid", f"the VCEK is chip {leaf.hwid.hex()}'s, the report is {chip.hex()}'s"
        )
        require(not any(rest), "report.chip_id", f"{leaf.product.name}'s chip id has {size} bytes, more are not zero")
    for name, found in report.tcb("reported_tcb", leaf.product).items():
        certified = leaf.tcb.get(name, 0)
        require(
            found == certified,
            f"certificate.tcb.{name}",
            f"the {leaf.role} is for level {certified}, the report has {found}",
        )
    if any(report.cpuid):
        family = report.cpuid[0]
        require(
            family == leaf.product.family,
            "report.cpuid.family",
            f"CPU family {family:#x}, and {leaf.product.name}'s is {leaf.product.family:#x}",
        )


def _consistent(report: Report, leaf: Leaf) -> None:
    """Firmware never reports or commits more than it runs."""
    current = report.tcb("current_tcb", leaf.product)
    for which in ("reported_tcb", "committed_tcb"):
        for name, level in report.tcb(which, leaf.product).items():
            require(
                level <= current[name], f"report.{which}.{name}", f"level is {level}, and {current[name]} is what runs"
            )
    require(
        report.committed <= report.current, "report.committed", "firmware is committed that is newer than what runs"
    )


def revocation(
    path: tuple[Certificate, ...],
    collateral: Collateral,
    section: SnpPolicy,
    now: datetime,
    grace: timedelta = _NO_GRACE,
) -> tuple[tuple[str, ...], tuple[Mark, ...]]:
    """Refuse a path on which AMD revoked something, by a list that is signed and in date.

    Args:
        path: leaf, ASK or ASVK, ARK, verified already.
        collateral: with or without the ARK's list.
        section: whether the list has to be there.
        now: the controller's time.
        grace: how long the list may be used beyond its date.

    Returns:
        Notes of what the grace lets pass, and the list's number, where there is one.
    """
    root = path[-1]
    found = crl.of_issuer([crl.load(blob) for blob in collateral.crls], root)
    if found is None:
        require(not section.crl, "crl", f"the policy asks for {root.name}'s revocation list, and none is given")
        return (), ()
    notes = crl.check(found, root, now, "crl", grace=grace)
    for certificate in path[1:]:
        crl.not_revoked(found, certificate, "crl")
    return notes, (found.mark(root, "crl"),)


def _facts(report: Report, leaf: Leaf, path: tuple[Certificate, ...], notes: tuple[str, ...]) -> Facts:
    identity = report.chip_id[: leaf.product.hwid] if any(report.chip_id) else leaf.hwid
    if leaf.role == "VCEK" and not any(report.chip_id):
        notes = (*notes, "the report masks its chip id; the identity is the VCEK's")
    compare = ("measurement", "host_data") if any(report.host_data) else ("measurement",)
    return Facts(
        kind=NAME,
        platform=Platform.SNP,
        report_data=report.report_data,
        measurements={name: getattr(report, name) for name in MEASUREMENTS},
        must_compare=compare,
        identity=identity,
        aliases=(identity.ljust(len(report.chip_id), b"\0"),) if 0 < len(identity) < len(report.chip_id) else (),
        notes=notes,
        fields={
            "product": leaf.product_name,
            "certificate": {**_leaf_fields(leaf), "chain": [one.name for one in path]},
            "report": snp_report.decoded(report, leaf.product),
        },
        detail=(report, leaf),
    )
