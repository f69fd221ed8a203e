"""AMD's certificates for SEV-SNP: the products, the pinned keys, what a VCEK or VLEK says, and its chain.

Sources: "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification", AMD 57230, chapters 3 and
4 (chains, extensions); "SEV Secure Nested Paging Firmware ABI Specification", AMD 56860, section 2.2 (TCB_VERSION).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import ec

from strongroom.attest import certificates, roots
from strongroom.attest.base import refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.der import IA5_STRING, OCTET_STRING, Der

_OLD = ("bootloader", "tee", "spl4", "spl5", "spl6", "spl7", "snp", "microcode")
_FMC = ("fmc", "bootloader", "tee", "snp", "spl5", "spl6", "spl7", "microcode")


@dataclass(frozen=True)
class Product:
    """One product line with a root of its own.

    Attributes:
        name: as AMD's key distribution service and the certificates name it.
        family: CPUID family (base and extended together) of its chips.
        tcb: what each of TCB_VERSION's 8 bytes is, from the lowest address on.
        hwid: bytes of CHIP_ID that name the chip; the rest of the field is zero.
    """

    name: str
    family: int
    tcb: tuple[str, ...]
    hwid: int


MILAN = Product("Milan", 0x19, _OLD, 64)
GENOA = Product("Genoa", 0x19, _OLD, 64)  # and Bergamo and Siena
TURIN = Product("Turin", 0x1A, _FMC, 8)
PRODUCTS: Mapping[str, Product] = MappingProxyType({product.name: product for product in (MILAN, GENOA, TURIN)})
# Product names in leaves that are known to be of a line; the issuer, which is pinned, is what decides.
_LINES: Mapping[str, str] = MappingProxyType(
    {"Milan": "Milan", "Genoa": "Genoa", "Bergamo": "Genoa", "Siena": "Genoa", "Turin": "Turin"}
)
SPLS = ("fmc", "bootloader", "tee", "snp", "microcode")  # what of a TCB has a meaning

# SHA-256 of the DER SubjectPublicKeyInfo, of the certificates that roots/amd.pem gives the source of.
ROOTS: Mapping[str, str] = MappingProxyType(
    {
        "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9": "ARK-Milan",
        "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831": "ARK-Genoa",
        "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08": "ARK-Turin",
    }
)
INTERMEDIATES: Mapping[str, str] = MappingProxyType(
    {
        "42491669ccb851d627ea9846cd24eccbeb7de7c2a62740120fff88001d38ebb6": "SEV-Milan",
        "66450a123ea5876206df67f2514a4fea224c0f63b18313423078b0edc4535e33": "SEV-VLEK-Milan",
        "0324d55bcd48ba877a8fd87c0e1b4934dec8448e3807a24384a34dc6a6c9ebb8": "SEV-Genoa",
        "7d1633252ebbadaa75f96e9b4e6f7d43a90ceb3f843937482630f8da2459264e": "SEV-VLEK-Genoa",
        "0000ead352025f208bf55297c4192c34cd1b878002107366d8f2065a9ae7d3a9": "SEV-Turin",
        "bfc441408b2f806c5dbf180bd8920e6e60dd404d82141780d85dbf962954d386": "SEV-VLEK-Turin",
    }
)
_AUTHORITY = re.compile(r"(ARK|SEV|SEV-VLEK)-([A-Z][A-Za-z]{2,15})")
_ISSUERS = {"VCEK": "SEV-", "VLEK": "SEV-VLEK-"}

_OID = "1.3.6.1.4.1.3704.1."
_STRUCT_VERSION, _PRODUCT_NAME, _HWID, _CSP_ID = (_OID + arc for arc in ("1", "2", "4", "5"))
_SPLS = {
    _OID + f"3.{arc}": name
    for arc, name in enumerate(("bootloader", "tee", "snp", "spl4", "spl5", "spl6", "spl7", "microcode", "fmc"), 1)
}


@dataclass(frozen=True, eq=False)
class Leaf:
    """What a VCEK or VLEK certificate says; nothing in it is trusted before its chain is.

    Attributes:
        role: ``VCEK`` (a chip's) or ``VLEK`` (a cloud provider's).
        product: by the issuer's name, which is pinned, and no other line's name in the certificate.
        product_name: with the stepping, ``Milan-B0``.
        tcb: security patch levels by name, as the key was derived for.
        hwid: the chip's id, empty in a VLEK; csp_id: the provider's id, empty in a VCEK.
    """

    certificate: Certificate
    role: str
    product: Product
    product_name: str
    tcb: Mapping[str, int]
    hwid: bytes
    csp_id: str

    def tcb_version(self) -> bytes:
        """TCB_VERSION as reports have it: 8 bytes, lowest address first."""
        return bytes(self.tcb.get(name, 0) for name in self.product.tcb)


def role_of(certificate: Certificate) -> str:
    """``VCEK`` or ``VLEK`` by the common name, or nothing."""
    return certificate.name.removeprefix("SEV-") if certificate.name in ("SEV-VCEK", "SEV-VLEK") else ""


@lru_cache(maxsize=4096)
def _leaf(data: bytes) -> Leaf:
    certificate = certificates.parse(data)
    role, field = role_of(certificate), "certificate"
    require(bool(role), f"{field}.subject", f"{certificate.name} is neither SEV-VCEK nor SEV-VLEK")
    issuer = certificates.common_name(certificate.issuer, f"{field}.issuer")
    product = PRODUCTS.get(issuer.removeprefix(_ISSUERS[role]))
    if product is None:
        names = " or ".join(_ISSUERS[role] + name for name in PRODUCTS)
        refuse(f"{field}.issuer", f"a {role} of {issuer}, allowed is {names}")
    name = _text(certificate, _PRODUCT_NAME, "product")
    if _LINES.get(name.partition("-")[0], product.name) != product.name:
        refuse(f"{field}.product", f"product is {name}, and the issuer is {issuer}")
    _small(certificate, _STRUCT_VERSION, "struct_version")
    tcb = {spl: _small(certificate, oid, f"tcb.{spl}") for oid, spl in _SPLS.items() if oid in certificate.extensions}
    for spl in SPLS:
        require((spl in tcb) or spl not in product.tcb, f"{field}.tcb.{spl}", "the certificate does not name it")
    for spl, level in tcb.items():
        require(
            not level or spl in product.tcb, f"{field}.tcb.{spl}", f"{product.name} has no such level, it is {level}"
        )
    hwid, csp_id = b"", ""
    if role == "VCEK":
        hwid = _hwid(certificate, product)
    else:
        csp_id = _text(certificate, _CSP_ID, "csp_id")
    return Leaf(certificate, role, product, name, MappingProxyType(tcb), hwid, csp_id)


def leaf(certificate: Certificate) -> Leaf:
    """What a VCEK or VLEK says.

    Raises:
        Refused: it is neither, or lacks one of AMD's extensions, or they contradict each other.
    """
    return _leaf(certificate.der)


def _value(certificate: Certificate, oid: str, name: str) -> bytes:
    extension = certificate.extensions.get(oid)
    if extension is None:
        refuse(f"certificate.{name}", f"{certificate.name} lacks the extension {oid}")
    return extension.value


def _text(certificate: Certificate, oid: str, name: str) -> str:
    reader = Der(_value(certificate, oid, name), f"certificate.{name}")
    content = reader.take(IA5_STRING, "text")
    reader.end()
    require(bool(re.fullmatch(rb"[ -~]{1,128}", content)), f"certificate.{name}", "not a line of up to 128 characters")
    return content.decode("ascii")


def _small(certificate: Certificate, oid: str, name: str) -> int:
    reader = Der(_value(certificate, oid, name), f"certificate.{name}")
    value = reader.small("value")
    reader.end()
    require(value <= 255, f"certificate.{name}", f"level is {value}, allowed are 0 to 255")
    return value


def _hwid(certificate: Certificate, product: Product) -> bytes:
    """The bytes themselves, or wrapped in an OCTET STRING, as certificates issued since 2023 may have them."""
    value = _value(certificate, _HWID, "hwid")
    if len(value) == product.hwid + 2:
        reader = Der(value, "certificate.hwid")
        value = reader.take(OCTET_STRING, "value")
        reader.end()
    size = f"{product.name}'s has {product.hwid}"
    require(len(value) == product.hwid, "certificate.hwid", f"{len(value)} bytes, and {size}")
    return value


def authorities(given: tuple[Certificate, ...], wanted: Leaf) -> tuple[Certificate, ...]:
    """Certificates to build the chain of: those given, which have to be AMD's own and of this product, and the shipped.

    Raises:
        Refused: one that is given under the name of AMD's authority has another key, or all are of other products.
    """
    products = set()
    for one in given:
        if match := _AUTHORITY.fullmatch(one.name):
            pinned = ROOTS.get(one.spki_sha256) or INTERMEDIATES.get(one.spki_sha256)
            require(
                pinned == one.name, "certificate.chain", f"the {one.name} that was given has a key that is not AMD's"
            )
            products.add(match[2])
    if products and wanted.product.name not in products:
        names = ", ".join(sorted(products))
        refuse("certificate.chain", f"the chain given is for {names}, the {wanted.role} is {wanted.product.name}'s")
    return (*given, *roots.shipped("amd"))


def chain(wanted: Leaf, given: tuple[Certificate, ...], now: datetime) -> tuple[Certificate, ...]:
    """The leaf's chain: leaf, ASK or ASVK, ARK; each key but the leaf's is pinned.

    Raises:
        Refused: something on it does not hold.
    """
    field = "certificate.chain"
    path = certificates.chain(wanted.certificate, authorities(given, wanted), ROOTS, now, field)
    names = [one.name for one in path[1:]]
    expected = [_ISSUERS[wanted.role] + wanted.product.name, f"ARK-{wanted.product.name}"]
    require(names == expected, field, f"the chain is {' < '.join(names)}, allowed is {' < '.join(expected)}")
    require(
        INTERMEDIATES.get(path[1].spki_sha256) == path[1].name, field, f"{path[1].name} has a key that is not AMD's"
    )
    require(ROOTS.get(path[2].spki_sha256) == path[2].name, field, f"{path[2].name} has a key that is not AMD's")
    key = wanted.certificate.key
    is_p384 = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1)
    require(is_p384, "certificate.key", f"the {wanted.role}'s key is not on P-384")
    return path
