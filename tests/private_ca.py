"""A certificate authority that nobody knows, and a server's certificate of it."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def issue(folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """The CA's certificate, and a file with a key and a certificate of it for a DNS name or an address; PEM both."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in ("a private CA", name)]
    try:
        answers_to: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        answers_to = x509.DNSName(name)
    made = []
    for key, subject, is_ca in ((keys[0], names[0], True), (keys[1], names[1], False)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([answers_to]), False)
        )
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ca, both = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(made[0])
    both.write_bytes(keys[1].private_bytes(pem, pkcs8, plain) + made[1])
    return ca, both
