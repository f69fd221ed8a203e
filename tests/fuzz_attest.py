"""Hostile evidence and collateral for every kind: nothing leaves a verifier but its verdict or Refused, and none takes long.

``python -m tests.fuzz_attest --seed 1 --count 100000`` runs any number of inputs and prints seed, count and the slowest one;
the tests run about a minute of it. An input is real evidence of the corpus, or made up, spoiled by a seed, given to a kind with
collateral that is spoiled as well. Verifiers are called without the registry's net, so that a defect shows as what it is.
"""

from __future__ import annotations

import argparse
import base64
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from strongroom.attest import registry
from strongroom.attest.base import Authentic, Refused
from strongroom.attest.collateral import Collateral
from tests.corpus.index import EVIDENCE

NOW = datetime(2026, 6, 1, tzinfo=UTC)
_LARGEST = 80_000  # bytes of a file to start from: what is hostile is the form, not the size
_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_NOISE = (
    b"", b"\0", b"\xff", b"\0" * 64, b"\xff" * 64, b"[" * 3000, b"{" * 3000, b"<a>" * 500, b"\x81" * 3000, b"\x30\x84\xff\xff\xff\xff",
    b"\x30\x80", b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", b"1e999999", b"9" * 5000, b'"\\ud800"', b"\xed\xa0\x80", b"-----BEGIN X-----",
    b"NaN", b"\x1b[31m", b"&a;" * 100, b"<!DOCTYPE a>", b"0" * 4000, b"=" * 40,
)  # fmt: skip


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

    evidence = draw.randbytes(draw.randrange(300)) if draw.random() < 0.1 else maybe(pick(), 0.6)
    certificates = tuple(maybe(draw.choice(source.certificates or everything), 0.2) for _ in range(draw.randrange(4)))
    names = ("tcb_info", "qe_identity", "event_log", "hcl_report", "ak", "nonce", "rim", "key", draw.randbytes(3).hex())
    documents = {draw.choice(names): maybe(pick(), 0.4) for _ in range(draw.randrange(4))}
    crls = tuple(maybe(draw.choice(everything), 0.3) for _ in range(draw.randrange(2)) if draw.random() < 0.3)
    return evidence, Collateral(certificates, crls, documents)


def run(seed: int, count: int) -> Outcome:
    """Verify and show so many inputs of a seed; an exception names its input."""
    source, began, slowest, slowest_input, slowest_kind = pool(), time.perf_counter(), 0.0, 0, ""
    ours = {name: kind for name, kind in registry.kinds().items() if kind.verify.__module__.startswith("strongroom.")}
    verdicts = Counter[str]()
    for number in range(count):
        draw = random.Random(f"{seed}/{number}")
        kind = ours[draw.choice(sorted(ours))]
        evidence, collateral = hostile(draw, source, kind.name)
        started = time.process_time()  # a busy machine is not a slow verifier
        for attempt in ("verify", "show", "looks_like"):
            try:
                if attempt == "verify":
                    said = kind.verify(evidence, collateral, None, NOW)
                    if not isinstance(said, Authentic):
                        raise TypeError(f"a verifier said {said!r}")
                    verdicts["authentic"] += 1
                elif attempt == "show":
                    kind.show(evidence, collateral)
                else:
                    kind.looks_like(evidence)
            except Refused:
                verdicts["refused"] += attempt == "verify"
            except Exception as error:
                message = f"seed {seed}, input {number}, {attempt} of {kind.name}: {error!r}\n{evidence[:2000]!r}"
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
