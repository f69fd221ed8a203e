"""The evidence command: a POSIX sh script that takes a kind and a challenge and prints evidence, and how to read that."""

from __future__ import annotations

import base64
import binascii
import json
import re
import shlex
from dataclasses import dataclass
from importlib.resources import files

from strongroom.errors import AttestationRefused

SCHEMA = "strongroom.dev/evidence/v1"
KINDS = ("snp", "tdx", "tpm", "nvidia")
ACTIVATE = "activate"
CHALLENGE = 32  # bytes
LARGEST_CREDENTIAL = 1024  # bytes
LARGEST = 2 << 20  # bytes of an answer: three parts of 384 KiB each, in base64
_BOOT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Answer:
    """What a host answered; all of it is the host's claim until a verifier has judged the evidence.

    Attributes:
        kind: as it was asked for.
        evidence: for ``attest verify --kind``.
        boot_id: of the kernel that answered.
        event_log: a TDX guest's CCEL, where it has one.
    """

    kind: str
    evidence: bytes
    boot_id: str
    event_log: bytes | None


def evidence_script() -> str:
    """The script, as packed with strongroom."""
    return files("strongroom").joinpath("probe", "evidence.sh").read_text(encoding="utf-8")


def command(kind: str, challenge: bytes) -> str:
    """The shell command to give the script to on stdin.

    Raises:
        ValueError: no such kind, or a challenge that has not 32 bytes.
    """
    if kind not in KINDS or len(challenge) != CHALLENGE:
        raise ValueError(f"found {kind!r} and {len(challenge)} bytes, allowed are {', '.join(KINDS)} and {CHALLENGE}")
    return shlex.join(["sh", "-s", "--", kind, challenge.hex()])


def activation(challenge: bytes, credential: bytes) -> str:
    """The shell command that has the host's TPM open a credential, made for its EK and the AK that it quotes with.

    Args:
        challenge: another one, 32 bytes; the answer names it.
        credential: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.

    Raises:
        ValueError: a size that may not be.
    """
    if len(challenge) != CHALLENGE or not 0 < len(credential) <= LARGEST_CREDENTIAL:
        raise ValueError(f"found {len(challenge)} and {len(credential)} bytes, allowed are {CHALLENGE} and 1 to 1024")
    return shlex.join(["sh", "-s", "--", ACTIVATE, challenge.hex(), credential.hex()])


def report_data(kind: str, challenge: bytes) -> bytes:
    """What evidence of that kind covers, for a policy's ``report_data``."""
    return challenge + bytes(32) if kind in ("snp", "tdx") else challenge


def read(output: bytes, kind: str, challenge: bytes) -> Answer:
    """What the script printed, taken for a stranger's.

    Raises:
        AttestationRefused: it says an error, is too large or of another form, or is for another kind or challenge.
    """
    whole = _whole(output, kind, challenge)
    boot_id = whole.get("boot_id")
    if not isinstance(boot_id, str) or not _BOOT_ID.fullmatch(boot_id):
        raise AttestationRefused("evidence.boot_id: is none")
    evidence = _bytes(whole, "gpu_evidence") if kind == "nvidia" else output
    return Answer(kind, evidence, boot_id, _bytes(whole, "ccel") if "ccel" in whole else None)


def read_activated(output: bytes, challenge: bytes) -> bytes:
    """What the TPM found in the credential, as the host says.

    Raises:
        AttestationRefused: as :func:`read`.
    """
    return _bytes(_whole(output, ACTIVATE, challenge), "activated")


def with_activated(evidence: bytes, activated: bytes) -> bytes:
    """Evidence of a TPM, with what the TPM gave back beside it, as ``attest verify`` looks for it."""
    whole = json.loads(evidence)
    return (
        json.dumps({**whole, "activated": base64.b64encode(activated).decode()}, separators=(",", ":")).encode() + b"\n"
    )


def _whole(output: bytes, kind: str, challenge: bytes) -> dict[str, object]:
    if len(output) > LARGEST:
        raise AttestationRefused(f"evidence: more than {LARGEST} bytes")
    try:
        whole = json.loads(output.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise AttestationRefused(f"evidence: not JSON ({len(output)} bytes)") from error
    if not isinstance(whole, dict) or whole.get("schema") != SCHEMA:
        raise AttestationRefused(f"evidence: not of the schema {SCHEMA}")
    if "error" in whole:
        raise AttestationRefused(f"evidence: the host says {str(whole['error'])[:200]!a}")
    for name, wanted in (("kind", kind), ("challenge", challenge.hex())):
        if whole.get(name) != wanted:
            raise AttestationRefused(f"evidence.{name}: found {str(whole.get(name))[:80]!a}, asked was {wanted}")
    return whole


def _bytes(whole: dict[str, object], name: str) -> bytes:
    value = whole.get(name)
    try:
        return base64.b64decode(value if isinstance(value, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise AttestationRefused(f"evidence.{name}: not base64") from error
