"""SSH keys of a lab: one for the operator, one for each host, all made here and gone with the lab."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True)
class KeyPair:
    """An Ed25519 key in OpenSSH's formats."""

    private: str
    """The private key file, with its last newline."""
    public: str
    """``ssh-ed25519 AAAA…``, without a comment or a newline."""

    def __repr__(self) -> str:
        return f"KeyPair({self.public!r})"


def generate() -> KeyPair:
    """A new key."""
    return _pair(Ed25519PrivateKey.generate())


def load(private: str) -> KeyPair:
    """The pair that belongs to a private key file.

    Raises:
        ValueError: the text is no unencrypted Ed25519 key in OpenSSH's format.
    """
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    key = load_ssh_private_key(private.encode(), None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return _pair(key)


def _pair(key: Ed25519PrivateKey) -> KeyPair:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return KeyPair(private, public)
