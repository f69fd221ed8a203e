"""Coverage-guided hostile evidence: what leads a verifier to code that it has not been in is kept and spoiled further.

``python -m tests.fuzz_guided --seed 1 --seconds 3600`` runs libFuzzer (atheris, ``requirements-fuzz.lock``) over every
verifier of ours, from the real evidence of the corpus, and prints how many inputs it ran. The first exception other than
Refused ends the run with 77, and leaves its input as a file. ``tests/fuzz_attest.py`` does the same without the guide: it
needs nothing that must be installed.

An input is the number of a case and of a way to try it, the number of a part of it (0 the evidence, then the collateral's
parts in order), and the bytes that this part has in place of its own. The ways are those of ``tests/fuzz_attest.py``: the
verifier itself, and that of the command line under each policy.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["strongroom.attest", "strongroom.cli.attest_files"], enable_loader_override=False
):
    from strongroom.attest import policy, registry, tdx_collateral
    from strongroom.attest.collateral import NOTHING, Collateral
    from strongroom.cli import attest_files  # noqa: F401

    registry.kinds()  # it imports every verifier, and only what is imported here is watched
from tests import fuzz_attest
from tests.corpus.index import EVIDENCE, WHY_NOT, read

_LARGEST = 48_000  # bytes of an input; what is hostile is the form, not the size
_SLOWEST = 20  # seconds for one input, instrumented, on a machine that does other things as well


@dataclass(frozen=True)
class Case:
    """Real evidence with the collateral that belongs to it, at a time at which that is in date."""

    kind: str
    evidence: bytes
    collateral: Collateral
    now: datetime

    def parts(self) -> list[bytes]:
        """The evidence, then certificates, CRLs and documents."""
        given = self.collateral
        return [self.evidence, *given.certificates, *given.crls, *given.documents.values()]

    def with_part(self, number: int, data: bytes) -> Case:
        """The same with other bytes in one part."""
        parts = self.parts()
        parts[number % len(parts)] = data
        given = self.collateral
        certificates, crls = 1 + len(given.certificates), 1 + len(given.certificates) + len(given.crls)
        documents = dict(zip(given.documents, parts[crls:], strict=True))
        collateral = Collateral(tuple(parts[1:certificates]), tuple(parts[certificates:crls]), documents)
        return replace(self, evidence=parts[0], collateral=collateral)


def _files(*certificates: str, **documents: str) -> Collateral:
    return Collateral(
        tuple(map(read, certificates)), (), {name.replace("_", " "): read(f) for name, f in documents.items()}
    )


def _tdx(name: str) -> Collateral:
    return tdx_collateral.from_bundle(read(f"tdx/{name}"))


def _ccel() -> Collateral:
    bundle = _tdx("dcapqvl-tdx_quote_collateral.json")
    return Collateral(bundle.certificates, bundle.crls, {**bundle.documents, "quote": read("tdx/dcapqvl-tdx_quote")})


def _tpm(file: str) -> Case:
    """A TPM's quote in its parts, which lie in one JSON document."""
    whole = json.loads(read(file))
    quote = whole["tpm_quote"]
    documents = {"signature": base64.b64decode(quote["signature"]), "ak_public": base64.b64decode(whole["ak_public"])}
    documents["pcrs"] = json.dumps(quote["pcrs"]).encode()
    return Case("tpm", base64.b64decode(quote["message"]), Collateral(documents=documents), _TODAY)


_TODAY = datetime(2026, 11, 24, tzinfo=UTC)
_QUOTE = "tpm/trustee-tpm_evidence.json"
_CASES: tuple[tuple[str, str, Callable[[], Collateral]], ...] = (
    ("snp", "snp/dstack-milan.report.bin", lambda: _files("snp/dstack-sev_snp_vcek.pem")),
    ("snp", "snp/trustee-test-report.bin", lambda: _files("snp/trustee-test-vcek.der")),
    ("tdx", "tdx/dcapqvl-tdx_quote", lambda: _tdx("dcapqvl-tdx_quote_collateral.json")),
    ("ccel", "ccel/ccapi-ccel_data.bin", _ccel),
    ("azure-snp", "azure-vtpm/az-snp-evidence-v1.json", lambda: _files("azure-vtpm/az-snp-vcek.pem")),
    ("azure-tdx", "azure-vtpm/az-tdx-evidence-v1.json", lambda: _tdx("dcapqvl-tdx_quote_collateral.json")),
    (
        "nvidia",
        "nvidia/trustee-hopperAttestationReport.txt",
        lambda: _files(
            "nvidia/trustee-hopper_cert_chain_case1.txt", driver="nvidia/nvsdk-NV_GPU_DRIVER_GH100_550.144.03.xml"
        ),
    ),
    ("nvidia", "nvidia/nvsdk-hopper_evidence.json", lambda: NOTHING),
    ("cca", "cca/veraison-cca-good.cbor", lambda: _files(platform_key="cca/veraison-comid-cca-ta.json")),
    ("cca", "cca/trustee-cca-example-token.cbor", lambda: _files(platform_key="cca/trustee-cpak-pub.json")),
)
_NOW: Mapping[str, datetime] = {
    "tdx": datetime(2025, 6, 25, tzinfo=UTC),
    "ccel": datetime(2025, 6, 25, tzinfo=UTC),
    "azure-tdx": datetime(2025, 6, 25, tzinfo=UTC),
}


def cases() -> list[Case]:
    """All cases; one of a kind at least for every verifier of ours."""
    found = [Case(kind, read(file), collateral(), _NOW.get(kind, _TODAY)) for kind, file, collateral in _CASES]
    found.append(_tpm(_QUOTE))
    missing = {name for name, kind in registry.kinds().items() if kind.verify.__module__.startswith("strongroom.")}
    if missing := missing - {case.kind for case in found}:
        raise SystemExit(f"no real evidence of {', '.join(sorted(missing))} at {EVIDENCE}")
    return found


_POLICIES = tuple(policy.make(values) for values in (fuzz_attest.LAX, fuzz_attest.ASKING))
WAYS = 1 + len(_POLICIES)


def try_one(case: Case, way: int, part: bytes) -> None:
    """One way of trying it; nothing but a verdict or Refused may come of it."""
    kind = registry.kinds()[case.kind]
    if way == 0:
        attempts = fuzz_attest.inside(kind, case.evidence, case.collateral, case.now)
    else:
        expected = _POLICIES[way - 1]
        attempts = fuzz_attest.outside(kind, case.evidence, case.collateral, expected, case.now, part)
    for name, function in attempts.items():
        fuzz_attest.attempt(name, function)


def main() -> None:
    """The long run; libFuzzer ends the process itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=3600)
    arguments = parser.parse_args()
    if not EVIDENCE.is_dir():
        print(f"skipped: {WHY_NOT}")
        return
    known = cases()

    def one_input(data: bytes) -> None:
        if len(data) >= 2:
            way, at = divmod(data[0], len(known))
            try_one(known[at].with_part(data[1], data[2:]), way % WAYS, data[2:])

    with tempfile.TemporaryDirectory() as folder:
        for at, case in enumerate(known):
            for number, part in enumerate(case.parts()):
                for way in range(WAYS):
                    Path(folder, f"{at}-{number}-{way}").write_bytes(bytes((at + way * len(known), number)) + part)
        print(
            f"seed {arguments.seed}, {arguments.seconds} s, {len(known)} cases, {len(list(Path(folder).iterdir()))} parts, {WAYS} ways each"
        )
        options = {
            "seed": arguments.seed, "max_total_time": arguments.seconds, "max_len": _LARGEST, "timeout": _SLOWEST,
            "rss_limit_mb": 2048, "print_final_stats": 1, "len_control": 0, "reload": 0,
        }  # fmt: skip
        atheris.Setup([sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
