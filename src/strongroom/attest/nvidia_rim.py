"""NVIDIA's reference integrity manifests: SWID tags (ISO/IEC 19770-2, TCG RIM Information Model) signed in XML.

A manifest gives for measurement indices, counted from 0, the digests of which one has to be there. A device needs the
driver's and the VBIOS's manifest (a GPU), or the firmware's alone (a switch); the two never speak of the same index.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from strongroom.attest import certificates, xml_signature, xml_tree
from strongroom.attest.base import refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.xml_tree import Element

# SHA-256 of SubjectPublicKeyInfo of "NVIDIA CoRIM signing Root CA", 2023-03-16 to 2053-03-08: verifier_RIM_root.pem in
# NVIDIA's nvtrust repository (guest_tools/gpu_verifiers/local_gpu_verifier/src/verifier/certs).
ROOTS: Final = frozenset({"dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3"})
_SWID: Final = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
_SHA384: Final = "http://www.w3.org/2001/04/xmlenc#sha384"
_MOST_ALTERNATIVES: Final = 1000
_MOST_INDICES: Final = 256


@dataclass(frozen=True)
class Rim:
    """A manifest whose signature and chain were verified.

    Attributes:
        version: of the driver, or of the VBIOS.
        product: the chip's name, for instance ``GH100``; empty where it names none.
        tag: the manifest's own identifier.
        allowed: digests by index, counted from 0; only those that are to be compared.
        chain: the signer's, leaf first.
    """

    version: str
    product: str
    tag: str
    allowed: Mapping[int, tuple[bytes, ...]]
    chain: tuple[Certificate, ...]


def looks_like(document: bytes) -> bool:
    """Whether a document says that it is a SWID tag."""
    return b"SoftwareIdentity" in document[:1000]


def load(document: bytes, now: datetime, what: str) -> Rim:
    """Verify and read a manifest.

    Args:
        document: the XML.
        now: when every certificate of the signer's chain has to be valid.
        what: for reasons.

    Raises:
        Refused: its form, its signature, its signer's chain to NVIDIA's root, or a date.
    """
    root = xml_tree.parse(document, what)
    require(root.qualified == (_SWID, "SoftwareIdentity"), what, f"the root is {root.name}, allowed is a SWID tag")
    signature = xml_signature.read(root, what)
    leaf = signature.chain[0]
    chain = certificates.chain(leaf, signature.chain[1:], ROOTS, now, f"{what}.chain")
    require(certificates.may_sign_data(leaf), f"{what}.chain", f"{leaf.name} may not sign documents")
    xml_signature.verify(signature, leaf, root, what)
    meta, payload = _one(root, "Meta", what), _one(root, "Payload", what)
    version = meta.attributes.get("colloquialVersion", "")
    require(bool(version), f"{what}.version", "the manifest names no version")
    return Rim(
        version, meta.attributes.get("product", ""), root.attributes.get("tagId", ""), _allowed(payload, what), chain
    )


def _one(root: Element, name: str, what: str) -> Element:
    found = [child for child in root.elements if child.qualified == (_SWID, name)]
    require(len(found) == 1, f"{what}.{name}", f"{len(found)} elements of this name, allowed is 1")
    return found[0]


def _allowed(payload: Element, what: str) -> Mapping[int, tuple[bytes, ...]]:
    allowed: dict[int, tuple[bytes, ...]] = {}
    seen: set[int] = set()
    for resource in payload.elements:
        form = resource.attributes.get("type", "")
        if resource.qualified != (_SWID, "Resource") or form != "Measurement":
            # A reference value that we can't compare would be one that we pass over.
            refuse(f"{what}.payload", f"{resource.name} of type {form[:40]!r}, allowed are measurements")
        index = _number(resource, "index", _MOST_INDICES, what)
        require(index not in seen, f"{what}.payload", f"index {index} is there twice")
        seen.add(index)
        active = resource.attributes.get("active", "")
        require(
            active in ("True", "False"), f"{what}.{index}", f"active is {active[:20]!r}, allowed are True and False"
        )
        if active == "True":
            allowed[index] = _digests(resource, index, what)
    require(bool(allowed), f"{what}.payload", "the manifest asks for no measurement")
    return MappingProxyType(allowed)


def _digests(resource: Element, index: int, what: str) -> tuple[bytes, ...]:
    size = _number(resource, "size", 65, what)
    count = _number(resource, "alternatives", _MOST_ALTERNATIVES, what)
    found = []
    for number in range(count):
        text = resource.attribute(_SHA384, f"Hash{number}") or ""
        try:
            digest = bytes.fromhex(text)
        except ValueError:
            digest = b""
        require(
            len(digest) == size and len(text) == 2 * size,
            f"{what}.{index}",
            f"Hash{number} has not {size} bytes of hex",
        )
        found.append(digest)
    require(bool(found), f"{what}.{index}", "no digest is given")
    return tuple(found)


def _number(resource: Element, name: str, below: int, what: str) -> int:
    text = resource.attributes.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < below):
        refuse(f"{what}.{name}", f"{name} is {text[:20]!r}, allowed is a number below {below}")
    return int(text)
