"""Enveloped XML signatures (W3C XML Signature 1.1) in the one shape that signed documents need.

One signature, a child of the root, over the whole document without itself (one reference with an empty URI): then
everything else in the document is signed, and there is nothing to wrap it in.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from strongroom.attest import certificates
from strongroom.attest.base import refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.signatures import Scheme, ecdsa_der, verify_signature
from strongroom.attest.xml_tree import Element, canonical

_DS: Final = "http://www.w3.org/2000/09/xmldsig#"
_ENVELOPED: Final = f"{_DS}enveloped-signature"
_CANONICAL: Final = ("http://www.w3.org/2006/12/xml-c14n11", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315")
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_DIGESTS: Final[dict[str, hashes.HashAlgorithm]] = {
    "http://www.w3.org/2001/04/xmlenc#sha256": hashes.SHA256(),
    f"{_MORE}sha384": hashes.SHA384(),
    "http://www.w3.org/2001/04/xmlenc#sha512": hashes.SHA512(),
}
_SIGNATURES: Final[dict[str, hashes.HashAlgorithm]] = {
    f"{_MORE}ecdsa-sha256": hashes.SHA256(),
    f"{_MORE}ecdsa-sha384": hashes.SHA384(),
    f"{_MORE}ecdsa-sha512": hashes.SHA512(),
}
_MOST_CERTIFICATES: Final = 10


@dataclass(frozen=True)
class Signature:
    """A signature as the document has it; nothing is said of it before :func:`verify`."""

    element: Element
    chain: tuple[Certificate, ...]
    algorithm: str
    value: bytes
    covered: bytes
    hashing: str
    digest: bytes


def read(root: Element, what: str) -> Signature:
    """The document's one signature.

    Raises:
        Refused: there is none or more than one, or it has another shape.
    """
    found = [element for element in _all(root) if element.qualified == (_DS, "Signature")]
    require(len(found) == 1, f"{what}.signature", f"{len(found)} signatures, allowed is 1")
    signature = found[0]
    require(
        any(child is signature for child in root.elements), f"{what}.signature", "the signature is no child of the root"
    )
    info, value, keys = _children(signature, what, "SignedInfo", "SignatureValue", "KeyInfo")
    method, signing, reference = _children(info, what, "CanonicalizationMethod", "SignatureMethod", "Reference")
    _algorithm(method, _CANONICAL, what)
    algorithm = _algorithm(signing, _SIGNATURES, what)
    require(set(reference.attributes) == {"URI"}, f"{what}.reference", "the reference has other attributes than a URI")
    require(reference.attributes["URI"] == "", f"{what}.reference", "the reference is not to the whole document")
    transforms, digesting, digest = _children(reference, what, "Transforms", "DigestMethod", "DigestValue")
    first, second = _children(transforms, what, "Transform", "Transform")
    _algorithm(first, (_ENVELOPED,), what)
    _algorithm(second, _CANONICAL, what)
    return Signature(
        element=signature,
        chain=_chain(keys, what),
        algorithm=algorithm,
        value=_base64(value, what),
        covered=canonical(info),
        hashing=_algorithm(digesting, _DIGESTS, what),
        digest=_base64(digest, what),
    )


def verify(signature: Signature, leaf: Certificate, root: Element, what: str) -> None:
    """Check the signature, and that the document is what it covers, under a certificate whose chain the caller verified.

    Raises:
        Refused: the document's digest is another, or the key is not on an elliptic curve, or did not sign.
    """
    hashing = hashes.Hash(_DIGESTS[signature.hashing])
    hashing.update(canonical(root, without=signature.element))
    computed = hashing.finalize()
    require(
        computed == signature.digest,
        f"{what}.digest",
        f"the document's digest is {computed.hex()[:16]}..., what was signed is {signature.digest.hex()[:16]}...",
    )
    key = leaf.key
    if not isinstance(key, ec.EllipticCurvePublicKey):
        refuse(f"{what}.signature", "the signer's key is not on an elliptic curve")
    size = (key.curve.key_size + 7) // 8
    raw = signature.value
    require(len(raw) == 2 * size, f"{what}.signature", f"{len(raw)} bytes, allowed are {2 * size}")
    scheme = Scheme(signature.algorithm.rpartition("#")[2], "ecdsa", _SIGNATURES[signature.algorithm])
    encoded = ecdsa_der(raw[:size], raw[size:], "big", f"{what}.signature")
    verify_signature(key, scheme, encoded, signature.covered, f"{what}.signature")


def _all(element: Element) -> list[Element]:
    found, pending = [], [element]
    while pending:
        current = pending.pop()
        found.append(current)
        pending += current.elements
    return found


def _children(element: Element, what: str, *names: str) -> tuple[Element, ...]:
    """Exactly these children of the signature's namespace, with nothing but white space between them."""
    children = tuple(element.elements)
    found = [child.qualified for child in children]
    if found != [(_DS, name) for name in names] or element.text.strip():
        refuse(f"{what}.signature", f"{element.name} holds other than {', '.join(names)}")
    return children


def _algorithm(element: Element, allowed: tuple[str, ...] | dict[str, hashes.HashAlgorithm], what: str) -> str:
    algorithm = element.attributes.get("Algorithm", "")
    bare = len(element.attributes) == 1 and not element.content
    if not bare or algorithm not in allowed:
        refuse(f"{what}.signature", f"{element.name} is {algorithm[:100]!r}, allowed are {', '.join(allowed)}")
    return algorithm


def _chain(keys: Element, what: str) -> tuple[Certificate, ...]:
    (data,) = _children(keys, what, "X509Data")
    entries = tuple(data.elements)
    if not 0 < len(entries) <= _MOST_CERTIFICATES or data.text.strip():
        refuse(f"{what}.certificates", f"{len(entries)} certificates, allowed are 1 to {_MOST_CERTIFICATES}")
    if any(entry.qualified != (_DS, "X509Certificate") for entry in entries):
        refuse(f"{what}.certificates", "the signer's data holds other than certificates")
    return tuple(certificates.parse(_base64(entry, what), f"{what}.certificate") for entry in entries)


def _base64(element: Element, what: str) -> bytes:
    if any(True for _ in element.elements):
        refuse(f"{what}.{element.name}", "it holds elements, allowed is base64")
    try:
        return b64decode("".join(element.text.split()).encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        refuse(f"{what}.{element.name}", "it is no base64")
