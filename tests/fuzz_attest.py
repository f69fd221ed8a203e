"""Hostile evidence and collateral for every kind: nothing leaves a verifier but its verdict or Refused, and none takes long.

``python -m tests.fuzz_attest --seed 1 --count 100000`` runs any number of inputs and prints seed, count and the slowest one;
the tests run about a minute of it. An input is real evidence of the corpus, or made up, spoiled by a seed, given to a kind with
collateral that is spoiled as well. Half of the inputs go to a verifier itself, the others the way of the command line: what
they were found in is opened, they are judged under a policy, and files are sorted into collateral. A defect shows as what it
is either way.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias, get_args

from strongroom.attest import policy, record, registry, tdx
from strongroom.attest.base import Authentic, Refused, Verified
from strongroom.attest.collateral import Collateral
from strongroom.attest.policy import Policy
from strongroom.attest.registry import Kind
from strongroom.cli import attest_files
from tests.corpus.index import EVIDENCE

NOW = datetime(2026, 6, 1, tzinfo=UTC)
_LARGEST = 80_000  # bytes of a file to start from: what is hostile is the form, not the size
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_NOISE = (
    b"", b"\0", b"\xff", b"\0" * 64, b"\xff" * 64, b"[" * 3000, b"{" * 3000, b"<a>" * 500, b"\x81" * 3000, b"\x30\x84\xff\xff\xff\xff",
    b"\x30\x80", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"1e999999", b"9" * 5000, b'"\\ud800"', b"\xed\xa0\x80", b"-----BEGIN X-----",
    b"NaN", b"\x1b[31m", b"&a;" * 100, b"<!DOCTYPE a>", b"0" * 4000, b"=" * 40,
)  # fmt: skip

# Members that some reader of ours looks for in JSON, and what may stand there in place of what it wants.
_MEMBERS = (
    "attestation_report", "report", "evidence", "quote", "token", "cert_chain", "certs", "vcek", "td_quote", "hcl_report",
    "tpm_quote", "event_log", "ak_public", "nonce", "measurement", "signature", "version", "pcrs", "message", "evidence_list",
    "certificate", "certificates", "crls", "documents", "data", "tcbInfo",
)  # fmt: skip
_VALUES: tuple[object, ...] = (
    None, True, 0, -1, 2**70, 1.5, "", "00", "{", '{"a":1}', "[", "AAAAAAAA", "\ud800", "{\ud800", "-----BEGIN \udfff", "é",
    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", [], [1, 2], [256], ["x"], [[]], {}, {"data": "00"},
    {"r": "00", "s": "00"}, {"\ud800": "00"},
)  # fmt: skip
# Everything allowed that may be, nothing compared: so much passes that what comes after is reached as well.
LAX: Mapping[str, object] = {
    "not_compared": ["measurements", "nvidia.measurements", "identities", "report_data", "minimum_tcb"],
    "collateral_grace_hours": 720,
    "snp": {"debug": True, "smt": True, "migration": True, "provisional_firmware": True, "vmpl": [0, 1, 2, 3]},
    "tdx": {"tcb_status": get_args(tdx.Status), "debug": True, "migratable": True, "sept_ve_disable": False},
    "ccel": {"beyond_log": [0, 1, 2, 3]},
    "cca": {"permit_debug": True},
    "nvidia": {"manifests": "when-given", "revocation": "when-given", "permit_debug": True},
}
# And as much as can be asked beside, which reads what the lax one does not.
_QUOTE = {"secure_boot": True, "event_log": "required"}
ASKING: Mapping[str, object] = {
    **LAX,
    "ccel": {"beyond_log": [2, 3], "secure_boot": True},
    **dict.fromkeys(("tpm", "azure-snp", "azure-tdx"), _QUOTE),
    "nvidia": {"permit_debug": True},
}
Attempts: TypeAlias = "Mapping[str, Callable[[], object]]"
JUDGES = ("verify", "judge")  # the attempts that say a verdict


def inside(kind: Kind, evidence: bytes, collateral: Collateral, now: datetime) -> Attempts:
    """A kind's own functions over bytes that are evidence as they are."""
    return MappingProxyType(
        {
            "verify": lambda: kind.verify(evidence, collateral, None, now),
            "show": lambda: kind.show(evidence, collateral),
            "looks_like": lambda: kind.looks_like(evidence),
        }
    )


def outside(
    kind: Kind, evidence: bytes, collateral: Collateral, expected: Policy | None, now: datetime, file: bytes
) -> Attempts:
    """The way of the command line: evidence in whatever form under a policy, and a file of ``--collateral`` or ``--certs``."""
    return MappingProxyType(
        {
            "judge": lambda: record.judge(kind.name, evidence, collateral, expected, now),
            "open": lambda: kind.looks_like(registry.unwrap(kind.name, evidence, collateral)[0]),
            "sort": lambda: attest_files.sort("rim", file),
            "certificate_file": lambda: attest_files.certificate_file(file, Path("file")),
        }
    )


def attempt(name: str, function: Callable[[], object]) -> str:
    """The verdict, in a word; empty where the attempt says none.

    Raises:
        Exception: a defect, whether or not it was caught in a net.
    """
    try:
        said = function()
    except registry.Defect as defect:
        raise defect.__cause__ or defect from None
    except Refused:
        return "refused" if name in JUDGES else ""
    if name not in JUDGES:
        return ""
    if not isinstance(said, Authentic | Verified):
        raise TypeError(f"a verifier said {said!r}")
    return type(said).__name__.lower()


@dataclass(frozen=True)
class Outcome:
    """How a run went; ``slowest`` is in seconds of CPU time, with the number of its input and its kind."""

    seed: int
    count: int
    slowest: float
    slowest_input: int
    slowest_kind: str
    seconds: float
    verdicts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        said = ", ".join(f"{name} {number}" for name, number in sorted(self.verdicts.items()))
        return (
            f"seed {self.seed}: {self.count} inputs in {self.seconds:.1f} s, slowest {self.slowest * 1000:.1f} ms"
            f" (input {self.slowest_input}, {self.slowest_kind}); {said}"
        )


@dataclass(frozen=True)
class Pool:
    """What inputs are made of: evidence by the folder of the corpus that it lies in, and certificates."""

    evidence: dict[str, list[bytes]]
    certificates: list[bytes]

    @property
    def everything(self) -> list[bytes]:
        """All of it."""
        return [data for group in self.evidence.values() for data in group]


def pool() -> Pool:
    """The corpus; noise alone where there is none."""
    evidence: dict[str, list[bytes]] = {
        "": [b"{}", b"[]", bytes(1184), b"\x11\xe0\x01\xff" + bytes(100), b"\xd9\x01\x8f\xa2"]
    }
    certificates = []
    files = sorted(EVIDENCE.rglob("*")) if EVIDENCE.is_dir() else []
    for path in files:
        if path.is_file() and path.name != "INDEX.tsv" and path.stat().st_size <= _LARGEST:
            data = path.read_bytes()
            evidence.setdefault(path.parent.name, []).append(data)
            if _CERTIFICATE in data[:100]:
                certificates.append(data)
    return Pool(evidence, certificates)


def spoil(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """The same with one thing wrong."""
    kind = draw.randrange(9)
    if kind == 0 or not data:
        return draw.choice(_NOISE)
    at = draw.randrange(len(data))
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
    if kind == 3:
        return data[:at] + draw.choice(_NOISE) + data[at:]
    if kind == 4:
        return data[:at] + draw.randbytes(draw.choice((1, 2, 4, 8, 48))) + data[at + 8 :]
    if kind == 5:
        return data + draw.choice((b"\0", b"\n", other[:64], data[:64]))
    if kind == 6:
        start = draw.randrange(max(1, len(other)))
        return data[:at] + other[start : start + draw.randrange(1, 200)] + data[at:]
    if kind == 7:
        # A length field, as like as not: what follows it is read by it.
        width = draw.choice((1, 2, 4))
        value = draw.choice((0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)) & ((1 << 8 * width) - 1)
        return data[:at] + value.to_bytes(width, draw.choice(("little", "big"))) + data[at + width :]
    return _inside(draw, data, other)


def _inside(draw: random.Random, data: bytes, other: bytes) -> bytes:
    """Spoil what is encoded in it: a run of base64, or of hex, is decoded, spoiled and encoded again."""
    text = data.decode("latin-1")
    start = draw.randrange(len(text))
    alphabet = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    while start and text[start - 1] in alphabet:
        start -= 1
    end = start
    while end < len(text) and text[end] in alphabet:
        end += 1
    run = text[start:end]
    if len(run) < 16:
        return data[:start] + data[end:]
    try:
        if all(character in "0123456789abcdefABCDEF" for character in run):
            inner = spoil(draw, bytes.fromhex(run), other).hex()
        else:
            inner = base64.b64encode(spoil(draw, base64.b64decode(run + "=" * (-len(run) % 4)), other)).decode()
    except ValueError:
        return data[:start]
    return (text[:start] + inner + text[end:]).encode("latin-1")


def _dressed(draw: random.Random, data: bytes) -> bytes:
    """JSON with members of the right names: evidence in one of them now and then, in the others whatever else."""
    encoded = (data[:4000].hex(), base64.b64encode(data[:4000]).decode(), data[:2000].decode("latin-1"))
    found = {draw.choice(_MEMBERS): draw.choice((*_VALUES, *encoded)) for _ in range(draw.randrange(1, 6))}
    if draw.random() < 0.3:
        found[draw.choice(_MEMBERS)] = {draw.choice(_MEMBERS): draw.choice(_VALUES) for _ in range(4)}
    if draw.random() < 0.1:
        depth = draw.choice((60, 65, 300, 700, 990, 5000))
        return b'{"report":"00","%s":' % draw.choice(_MEMBERS).encode() + b"[" * depth + b'"x"' + b"]" * depth + b"}"
    return json.dumps(found).encode()


def hostile(draw: random.Random, source: Pool, kind: str) -> tuple[bytes, Collateral]:
    """One input: evidence, mostly of the kind's own folder, and collateral; each right, spoiled, or another's."""
    everything = source.everything
    own = [
        data
        for folder, group in source.evidence.items()
        if folder and (folder in kind or kind in folder)
        for data in group
    ]

    def pick() -> bytes:
        return draw.choice(own if own and draw.random() < 0.8 else everything)

    def maybe(data: bytes, chance: float) -> bytes:
        while draw.random() < chance:
            data = spoil(draw, data, draw.choice(everything))
        return data

    kind_of_input = draw.random()
    if kind_of_input < 0.1:
        evidence = draw.randbytes(draw.randrange(300))
    elif kind_of_input < 0.2:
        evidence = maybe(_dressed(draw, pick()), 0.2)
    else:
        evidence = maybe(pick(), 0.6)
    certificates = tuple(maybe(draw.choice(source.certificates or everything), 0.2) for _ in range(draw.randrange(4)))
    names = ("tcb_info", "qe_identity", "event_log", "hcl_report", "ak", "nonce", "rim", "key", draw.randbytes(3).hex())
    documents = {draw.choice(names): maybe(pick(), 0.4) for _ in range(draw.randrange(4))}
    crls = tuple(maybe(draw.choice(everything), 0.3) for _ in range(draw.randrange(2)) if draw.random() < 0.3)
    return evidence, Collateral(certificates, crls, documents)


def run(seed: int, count: int) -> Outcome:
    """Verify and show so many inputs of a seed; an exception names its input."""
    source, began, slowest, slowest_input, slowest_kind = pool(), time.perf_counter(), 0.0, 0, ""
    ours = {name: kind for name, kind in registry.kinds().items() if kind.verify.__module__.startswith("strongroom.")}
    policies = (None, policy.make(LAX), policy.make(ASKING))
    verdicts = Counter[str]()
    for number in range(count):
        draw = random.Random(f"{seed}/{number}")
        kind = ours[draw.choice(sorted(ours))]
        evidence, collateral = hostile(draw, source, kind.name)
        if draw.random() < 0.5:
            attempts = inside(kind, evidence, collateral, NOW)
        else:
            file = draw.choice((evidence, *collateral.certificates, *collateral.crls, *collateral.documents.values()))
            attempts = outside(kind, evidence, collateral, draw.choice(policies), NOW, file)
        started = time.process_time()  # a busy machine is not a slow verifier
        for name, function in attempts.items():
            try:
                if verdict := attempt(name, function):
                    verdicts[verdict] += 1
            except Exception as error:
                message = f"seed {seed}, input {number}, {name} of {kind.name}: {error!r}\n{evidence[:2000]!r}"
                raise AssertionError(message) from error
        took = time.process_time() - started
        if took > slowest:
            slowest, slowest_input, slowest_kind = took, number, kind.name
    return Outcome(seed, count, slowest, slowest_input, slowest_kind, time.perf_counter() - began, verdicts)


def main() -> None:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100_000)
    arguments = parser.parse_args()
    print(run(arguments.seed, arguments.count), flush=True)


if __name__ == "__main__":
    main()
