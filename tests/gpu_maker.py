"""A pretended NVIDIA: roots, a device with its transcript, manifests, OCSP responses and CRLs, to change one thing at a time.

Nothing of it is real: tests put the pretended roots in place of NVIDIA's.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FWID = bytes(range(48))
Key = ec.EllipticCurvePrivateKey


def key() -> Key:
    """A key as NVIDIA's are."""
    return ec.generate_private_key(ec.SECP384R1())


def sign(private: Key, data: bytes) -> bytes:
    """r and s, big-endian."""
    r, s = decode_dss_signature(private.sign(data, ec.ECDSA(hashes.SHA384())))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def spki_sha256(private: Key) -> str:
    """The pin of a key."""
    der = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def certificate(
    name: str,
    private: Key,
    issuer: str,
    issuer_key: Key,
    *,
    authority: bool = True,
    extensions: tuple[tuple[str, bytes], ...] = (),
    ocsp_signing: bool = False,
    until: datetime = NOW + 400 * DAY,
) -> x509.Certificate:
    """One certificate."""

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - 400 * DAY)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(not authority, False, False, False, False, authority, authority, False, False), critical=True
        )
    )
    for oid, value in extensions:
        builder = builder.add_extension(x509.UnrecognizedExtension(ObjectIdentifier(oid), value), critical=False)
    if ocsp_signing:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    return builder.sign(issuer_key, hashes.SHA384())


def der(certificate: x509.Certificate) -> bytes:
    """Its bytes."""
    return certificate.public_bytes(serialization.Encoding.DER)


def tlv(tag: int, *parts: bytes) -> bytes:
    """One DER element."""
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    raw = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(raw)]) + raw + content


_SHA384 = tlv(0x06, bytes.fromhex("608648016503040202"))


def tcb_info(*fwids: bytes, flags: bytes = b"\x00\x00\x00\x00\x01") -> bytes:
    """TcbInfo with these firmware ids and flags."""
    listed = b"".join(tlv(0x30, _SHA384, tlv(0x04, fwid)) for fwid in fwids)
    return tlv(0x30, tlv(0x80, b"NVIDIA"), tlv(0x81, b"GB999"), tlv(0xA6, listed), tlv(0x87, flags))


@dataclass
class Device:
    """A device; change what you like, then :meth:`transcript`."""

    chip: str = "GH999"
    nonce: bytes = bytes(range(32))
    measurements: dict[int, bytes] = field(default_factory=lambda: {n: bytes([n]) * 48 for n in range(1, 65)})
    opaque: dict[int, bytes] = field(
        default_factory=lambda: {
            3: b"550.1\0",
            6: bytes.fromhex("00a5009601000000"),
            11: b"\xaa",
            20: FWID,
            36: b"\0\0",
        }
    )
    opaque_header: bytes = b""  # of the form since Rubin; entries then have the form of their value too
    fwid_extension: tuple[str, bytes] = ("2.23.133.5.4.1.1", tcb_info(FWID, bytes(48)))

    def __post_init__(self) -> None:
        self.keys = {
            name: key() for name in ("root", "identity", "provisioner", "rom", "leaf", "rim-root", "rim-ca", "rim")
        }
        self.rom_serial = 0
        names = (
            "Pretended Root",
            f"NVIDIA {self.chip} Identity",
            f"NVIDIA {self.chip} Provisioner",
            f"{self.chip} A01 GSP BROM",
        )
        keys = [self.keys[name] for name in ("root", "identity", "provisioner", "rom")]
        self.chain = [certificate(names[0], keys[0], names[0], keys[0])]
        for number in (1, 2, 3):
            self.chain.insert(0, certificate(names[number], keys[number], names[number - 1], keys[number - 1]))
        self.names = names
        self.leaf()
        self.rim_chain = [
            certificate("RIM L4", self.keys["rim"], "RIM CA", self.keys["rim-ca"], authority=False),
            certificate("RIM CA", self.keys["rim-ca"], "RIM Root", self.keys["rim-root"]),
            certificate("RIM Root", self.keys["rim-root"], "RIM Root", self.keys["rim-root"]),
        ]

    def leaf(self) -> None:
        """Issue the leaf anew, after its extension changed."""
        if len(self.chain) == 5:
            del self.chain[0]
        self.chain.insert(
            0,
            certificate(
                f"{self.chip} A01 GSP FMC LF",
                self.keys["leaf"],
                self.names[3],
                self.keys["rom"],
                authority=False,
                extensions=(self.fwid_extension,),
            ),
        )

    @property
    def pins(self) -> tuple[frozenset[str], frozenset[str]]:
        """Of the device's root and the manifests'."""
        return frozenset({spki_sha256(self.keys["root"])}), frozenset({spki_sha256(self.keys["rim-root"])})

    def certificates(self) -> tuple[bytes, ...]:
        """The chain as DER."""
        return tuple(map(der, self.chain))

    def transcript(self) -> bytes:
        """Request, response and signature."""
        record = b"".join(
            struct.pack("<BBHBH", index, 1, len(value) + 3, 1, len(value)) + value
            for index, value in self.measurements.items()
        )
        typed = struct.pack("<H", 0x86) if self.opaque_header else b""
        opaque = self.opaque_header + b"".join(
            struct.pack("<H", form) + typed + struct.pack("<H", len(value)) + value
            for form, value in self.opaque.items()
        )
        data = b"\x11\xe0\x01\xff" + self.nonce + b"\0" + b"\x11\x60\0\0" + bytes([len(self.measurements)])
        data += len(record).to_bytes(3, "little") + record + b"n" * 32 + struct.pack("<H", len(opaque)) + opaque
        return data + sign(self.keys["leaf"], data)

    def rim(
        self, version: str, allowed: dict[int, list[bytes]], *, extra: str = "", product: str | None = None
    ) -> bytes:
        """A manifest; ``extra`` is put among its resources, ``product`` is this chip unless told."""
        # Attributes in canonical order, so that what is written is what is digested.
        resources = "".join(
            f'<s:Resource active="True" alternatives="{len(values)}" index="{index}" name="m" size="48" type="Measurement"'
            + "".join(f' h:Hash{number}="{value.hex()}"' for number, value in enumerate(values))
            + "></s:Resource>"
            for index, values in allowed.items()
        )
        swid, sha = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd", "http://www.w3.org/2001/04/xmlenc#sha384"
        start = f'<SoftwareIdentity xmlns="{swid}" xmlns:h="{sha}" xmlns:s="{swid}" tagId="t">'
        body = f'<s:Meta colloquialVersion="{version}" product="{self.chip if product is None else product}"></s:Meta>'
        body += f"<s:Payload>{resources}{extra}</s:Payload>"
        end = "</SoftwareIdentity>"
        digest = hashlib.sha384((start + body + end).encode()).digest()
        return (start + body + self.signature(digest, swid, sha) + end).encode()

    def signature(self, digest: bytes, swid: str, sha: str) -> str:
        """The enveloped signature, written in canonical form, where only namespaces of the root have to be put in."""
        more, c14n = "http://www.w3.org/2001/04/xmldsig-more#", "http://www.w3.org/2006/12/xml-c14n11"
        ds = "http://www.w3.org/2000/09/xmldsig#"
        inner = (
            f'<ds:CanonicalizationMethod Algorithm="{c14n}"></ds:CanonicalizationMethod>'
            f'<ds:SignatureMethod Algorithm="{more}ecdsa-sha384"></ds:SignatureMethod><ds:Reference URI=""><ds:Transforms>'
            f'<ds:Transform Algorithm="{ds}enveloped-signature"></ds:Transform>'
            f'<ds:Transform Algorithm="{c14n}"></ds:Transform></ds:Transforms>'
            f'<ds:DigestMethod Algorithm="{more}sha384"></ds:DigestMethod>'
            f"<ds:DigestValue>{base64.b64encode(digest).decode()}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
        )
        canonical = f'<ds:SignedInfo xmlns="{swid}" xmlns:ds="{ds}" xmlns:h="{sha}" xmlns:s="{swid}">{inner}'
        value = base64.b64encode(sign(self.keys["rim"], canonical.encode())).decode()
        certificates = "".join(
            f"<ds:X509Certificate>{base64.b64encode(der(one)).decode()}</ds:X509Certificate>" for one in self.rim_chain
        )
        return (
            f'<ds:Signature xmlns:ds="{ds}"><ds:SignedInfo>{inner}<ds:SignatureValue>{value}</ds:SignatureValue>'
            f"<ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>"
        )

    def rims(self) -> dict[str, bytes]:
        """Both manifests of this device, right."""
        wrong = bytes(48)
        driver = self.rim("550.1", {index: [wrong, self.measurements[index + 1]] for index in range(40, 64)})
        vbios = self.rim("96.00.A5.00.01", {index: [self.measurements[index + 1]] for index in range(40)})
        return {"driver": driver, "vbios": vbios}

    def issuer_key(self, number: int) -> Key:
        """Key of the issuer of the chain's certificate of that number."""
        return self.keys[("rom", "provisioner", "identity", "root", "root")[number]]

    def answer(
        self,
        chain: list[x509.Certificate],
        number: int,
        signer: Key,
        *,
        status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
        reason: x509.ReasonFlags | None = None,
        responder: x509.Certificate | None = None,
        more: tuple[x509.Certificate, ...] = (),
        at: datetime = NOW - DAY,
        until: datetime | None = NOW + DAY,
    ) -> bytes:
        """An OCSP response on one certificate of a chain."""
        issuer = chain[number + 1]
        builder = ocsp.OCSPResponseBuilder().add_response(
            chain[number],
            issuer,
            hashes.SHA384(),
            status,
            at,
            until,
            at if status is ocsp.OCSPCertStatus.REVOKED else None,
            reason,
        )
        own = certificate("Named by hash alone", signer, "nobody", signer)
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder or own)
        if responder is not None:
            builder = builder.certificates([responder, *more])
        return builder.sign(signer, hashes.SHA384()).public_bytes(serialization.Encoding.DER)

    def answers(self) -> dict[str, bytes]:
        """Good answers on everything that can be revoked."""
        found = {f"ocsp{n}": self.answer(self.chain, n, self.issuer_key(n)) for n in (1, 2, 3)}
        for number, name in enumerate(("rim-ca", "rim-root")):
            found[f"ocsp-rim{number}"] = self.answer(self.rim_chain, number, self.keys[name])
        return found


def revoking(
    issuer: x509.Certificate, private: Key, *revoked: x509.Certificate, until: datetime = NOW + DAY, number: int = 7
) -> bytes:
    """A CRL."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.subject)
        .last_update(NOW - DAY)
        .next_update(until)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(NOW - DAY).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(private, hashes.SHA384()).public_bytes(serialization.Encoding.DER)
