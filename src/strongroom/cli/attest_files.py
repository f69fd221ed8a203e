"""From files to what the verifiers take: evidence, certificates, lists, documents, a policy, a time."""

from __future__ import annotations

import base64
import binascii
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote_to_bytes

from strongroom.attest import certificates, crl, forms, jsontext, policy, registry, snp_forms
from strongroom.attest.base import Refused, printable
from strongroom.attest.collateral import Collateral
from strongroom.attest.policy import Policy
from strongroom.attest.record import PolicyText
from strongroom.errors import ConfigError

_CERTIFICATES = (".pem", ".der", ".crt", ".cer", ".cert", ".certs", ".p7c", ".bin")
_POLICY_FORMS = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "yaml"}
_SIGNED = {"tcbInfo": "tcb_info", "enclaveIdentity": "qe_identity"}  # Intel's answers, by their only key
_BUNDLE_KEYS = {"certificates", "crls", "documents"}


def content(path: Path) -> bytes:
    """A file's bytes, ``-`` being stdin; one byte more than any verifier takes is not read.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        if str(path) == "-":
            return sys.stdin.buffer.read(forms.LARGEST + 1)
        with path.open("rb") as file:
            return file.read(forms.LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error


def _files(path: Path, suffixes: tuple[str, ...] | None) -> list[Path]:
    """The file, or the files of a folder with one of these suffixes, sorted; nothing below it."""
    if not path.is_dir():
        return [path]
    try:
        inside = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    found = [one for one in inside if suffixes is None or one.suffix.lower() in suffixes]
    if not found:
        wanted = f" with one of the suffixes {', '.join(suffixes)}" if suffixes else ""
        raise ConfigError(f"{path}: the folder has no file{wanted}")
    return found


def gather(certs: Iterable[Path], others: Iterable[str]) -> Collateral:
    """Collateral out of the files of ``--certs`` and ``--collateral``.

    Args:
        certs: files or folders of certificates.
        others: files or folders of anything, or ``NAME=FILE`` for a document of that name.

    Raises:
        ConfigError: a file can't be read.
        Refused: a bundle or a certificate table is damaged.
    """
    found = Collateral()
    for path in certs:
        for file in _files(path, _CERTIFICATES):
            blob = content(file)
            with registry.net("reader", f"certificates.{file}"):
                more = certificate_file(blob, file)
            found = _joined(found, more, file)
    for text in others:
        for name, file, given in _named(text):
            blob = content(file)
            if not blob.strip():
                raise ConfigError(f"{file}: empty; allowed with --collateral is what the evidence's kind looks for")
            with registry.net("reader", f"collateral.{name}"):
                more = Collateral(documents={name: blob}) if given else sort(name, blob)
            found = _joined(found, more, file)
    return found


def told(given: Collateral) -> str:
    """What was taken for what, for people who wonder why it was not found; empty where nothing was given."""
    parts = [f"certificates ({len(given.certificates)})"] if given.certificates else []
    parts += [f"revocation lists ({len(given.crls)})"] if given.crls else []
    parts += [f"documents {', '.join(map(printable, sorted(given.documents)))}"] if given.documents else []
    return ", ".join(parts)


def certificate_file(blob: bytes, file: Path) -> Collateral:
    """Certificates in PEM, DER, or DER in hex or base64, AMD's table of them, or a list; a platform's key may also be JSON.

    Args:
        blob: the file's bytes.
        file: its name, for the refusal.

    Raises:
        Refused: it is nothing of these; what only looks like a certificate is its verifier's to refuse.
    """
    if snp_forms.is_table(blob):
        return snp_forms.table(blob)
    der = blob if b"-----BEGIN" in blob or blob[:1] == b"\x30" else forms.binary(blob)
    if b"-----BEGIN" not in der and der[:1] != b"\x30" and not forms.is_json(der):
        raise Refused(f"{file}: neither a certificate nor a list is in it", "certificates")
    return Collateral(crls=(der,)) if _reads(crl.load, der) else Collateral((der,))


def _named(text: str) -> Iterator[tuple[str, Path, bool]]:
    """Names and files of one ``--collateral``, and whether the name was given."""
    name, equals, rest = text.partition("=")
    if equals and name and not Path(text).exists():
        yield name, Path(rest), True
        return
    for file in _files(Path(text), None):
        yield file.stem.replace("-", "_"), file, False


def _joined(first: Collateral, second: Collateral, file: Path) -> Collateral:
    if twice := sorted(set(first.documents) & set(second.documents)):
        raise ConfigError(
            f"collateral: {file}: a second document named {twice[0]}, allowed is one; name it by NAME=FILE"
        )
    return Collateral(
        (*first.certificates, *second.certificates),
        (*first.crls, *second.crls),
        {**first.documents, **second.documents},
    )


def sort(name: str, blob: bytes) -> Collateral:
    """Put bytes where they belong by what they are; what is nothing else is a document of its file's name.

    A PCCS gives CRLs as DER in hex, and Intel's header with an issuer chain is PEM with percent signs.

    Raises:
        Refused: a bundle or a certificate table is damaged, or what begins as JSON is none.
    """
    if snp_forms.is_table(blob):
        return snp_forms.table(blob)
    if forms.is_json(blob):
        return _json(name, blob)
    if not blob.lstrip().startswith(b"<"):
        plain = unquote_to_bytes(blob) if b"-----BEGIN%20" in blob else blob
        der = plain if b"-----BEGIN" in plain else forms.binary(plain)
        if b"-----BEGIN CERTIFICATE-----" in plain or _reads(certificates.parse, der):
            return Collateral(certificates=(der,))
        if b"-----BEGIN X509 CRL-----" in plain or _reads(crl.load, der):
            return Collateral(crls=(der,))
    return Collateral(documents={name: blob})


def _reads(read: Callable[[bytes], object], blob: bytes) -> bool:
    try:
        read(blob)
    except Refused:
        return False
    return True


def _json(name: str, blob: bytes) -> Collateral:
    for kind in registry.kinds().values():
        if kind.unbundle and (found := kind.unbundle(blob)) is not None:
            return found
    value = jsontext.loads(blob, f"collateral.{name}")
    if isinstance(value, dict):
        if value and set(value) <= _BUNDLE_KEYS | {"schema"} and _BUNDLE_KEYS & set(value):
            return _bundle(value)
        name = next((document for key, document in _SIGNED.items() if key in value), name)
    return Collateral(documents={name: blob})


def _bundle(value: dict[str, object]) -> Collateral:
    """Our own: lists of PEM or base64, and documents by name."""
    lists, documents = [], value.get("documents", {})
    for key in ("certificates", "crls"):
        found = value.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise Refused(f"{key} is a {type(found).__name__}, needed is a list of PEM or base64", f"collateral.{key}")
        lists.append(tuple(_text(one, f"collateral.{key}") for one in found))
    if not isinstance(documents, dict):
        raise Refused("documents are no object", "collateral.documents")
    named = {str(name): _text(one, f"collateral.documents.{name}") for name, one in documents.items()}
    return Collateral(lists[0], lists[1], named)


def _text(value: object, field: str) -> bytes:
    if not isinstance(value, str):
        raise Refused(f"a {type(value).__name__}, needed is PEM, JSON or base64", field)
    if "-----BEGIN" in value or value.lstrip()[:1] in ("{", "[", "<"):
        return value.encode()
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"neither PEM nor JSON nor base64: {error}", field) from error


def read_policy(path: Path) -> tuple[Policy, PolicyText]:
    """The policy of a file, and its text.

    Raises:
        ConfigError: it can't be read, or is no policy.
    """
    form = _POLICY_FORMS.get(path.suffix.lower())
    if form is None:
        raise ConfigError(f"{path}: found the suffix {path.suffix or 'none'!r}, allowed are {', '.join(_POLICY_FORMS)}")
    try:
        text = content(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error.reason}") from error
    found = policy.load(text, "toml" if form == "toml" else "yaml", str(path))
    return found, PolicyText(text, form, found.digest)


def expecting(found: Policy, nonce: str) -> tuple[Policy, PolicyText]:
    """The policy with what evidence was asked to cover this time, and its values as text, for the record.

    Raises:
        ConfigError: the nonce is not hex, or empty.
    """
    try:
        covered = policy.unhex(nonce)
    except ValueError:
        covered = b""
    if not covered:
        raise ConfigError(f"--nonce: found {nonce!r}, allowed are hex digits, an even number")
    fresh = found.expecting(covered)
    text = json.dumps(fresh.model_dump(mode="json", by_alias=True), indent=2)
    return fresh, PolicyText(text, "yaml", fresh.digest)


def moment(text: str | None) -> datetime:
    """The time of ``--at``: a date (its midnight) or a time, UTC where no zone is named; now where there is none.

    Raises:
        ConfigError: it is neither.
    """
    if text is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"--at: found {text!r}, allowed is a date or a time, as 2026-03-31 or 2026-03-31T12:00:00Z"
        ) from error
