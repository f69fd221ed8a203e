"""``strongroom attest``: verify evidence against a policy, and show what it says.

``collateral`` alone fetches, and ``collect`` alone asks a host.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.attest import registry
from strongroom.attest.base import Facts, Refused, plain, printable
from strongroom.attest.collateral import Collateral
from strongroom.attest.marks import Mark
from strongroom.attest.policy import Policy
from strongroom.attest.record import UNREPEATED, Given, Judged, judge
from strongroom.cli import attest_audit, attest_collateral, attest_collect, attest_files, attest_record
from strongroom.cli.output import Output, OutputForm
from strongroom.errors import ConfigError, Exit
from strongroom.fetch import collateral_seen
from strongroom.report.attestation import WIDTH, lines

SCHEMA = "strongroom.dev/attestation/v1"
NOT_COMPARED = (
    "Nothing was compared with an expectation: whose machine it is, what runs on it, for whom this was"
    " made and which TCB is recent enough, nobody asked. Such evidence opens no gate."
)
app = typer.Typer(
    help="Evidence of trusted execution environments: verified without asking anybody.", no_args_is_help=True
)
app.add_typer(attest_collateral.app, name="collateral")
app.command("audit")(attest_audit.audit)
app.command("collect")(attest_collect.collect)

Evidence = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="Evidence: bytes, hex, base64 or JSON; - is stdin.")
]
KindName = Annotated[
    str, typer.Option("--kind", metavar="KIND", help="What evidence it is; never taken from the evidence.")
]
Certificates = Annotated[
    list[Path] | None,
    typer.Option("--certs", metavar="FILE", help="Certificates, PEM or DER: a file or a folder (repeatable)."),
]
Others = Annotated[
    list[str] | None,
    typer.Option(
        "--collateral", metavar="FILE", help="CRLs, TCB info, logs …: a file, a folder, or NAME=FILE (repeatable)."
    ),
]
PolicyFile = Annotated[Path | None, typer.Option("--policy", metavar="FILE", help="What is expected: TOML or YAML.")]
At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="Judge as of a date or a time, in place of now.")]


@dataclass(frozen=True)
class Result(Judged):
    """What came of one file."""

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.evidence).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """In JSON's types."""
        found: dict[str, Any] = {"file": self.file, "sha256": self.digest, "verdict": self.verdict}
        if self.refused is not None:
            return {**found, "reason": self.refused.reason, "field": self.refused.field}
        assert self.said is not None
        facts = self.said.facts
        return {
            **found,
            "identity": facts.identity.hex(),
            "report_data": facts.report_data.hex(),
            "measurements": plain(facts.measurements),
            "notes": list(facts.notes),
            "fields": plain(facts.fields),
        }


@app.command("verify")
def verify(
    evidence: Evidence,
    kind: KindName,
    certs: Certificates = None,
    collateral: Others = None,
    policy: PolicyFile = None,
    authenticity_only: Annotated[
        bool, typer.Option("--authenticity-only", help="Compare nothing with an expectation, and say so.")
    ] = False,
    nonce: Annotated[
        str | None,
        typer.Option("--nonce", metavar="HEX", help="What the evidence was asked to cover, in place of the policy's."),
    ] = None,
    at: At = None,
    seen: Annotated[
        Path | None,
        typer.Option(
            "--seen",
            metavar="DIR",
            help="Where the highest numbers of collateral are kept; the user's state unless told, none with --at.",
        ),
    ] = None,
    record: Annotated[
        str | None, typer.Option("--record", metavar="NAME", help="Append verdicts to the record of that name.")
    ] = None,
    output: OutputForm = Output.TEXT,
) -> None:
    """Verify evidence offline. Ends with 0 when all of it holds, with 5 when any is refused."""
    if (policy is None) is not authenticity_only:
        found = "both" if authenticity_only else "neither"
        raise ConfigError(f"found {found} of --policy and --authenticity-only, allowed is one of them")
    found_kind = registry.find(kind)
    expected, text = attest_files.read_policy(policy) if policy else (None, None)
    if nonce is not None:
        if expected is None:
            raise ConfigError("--nonce: found with --authenticity-only, which compares nothing")
        expected, text = attest_files.expecting(expected, nonce)
    if record is not None:
        attest_record.file_of(record)
    now = attest_files.moment(at)
    files = [(str(path), attest_files.content(path)) for path in evidence]
    try:
        given: Collateral | Refused = attest_files.gather(certs or (), collateral or ())
    except Refused as refused:
        given = refused
    memory = None if at is not None and seen is None else _Memory(seen)
    results = [_verify(file, data, kind, given, expected, now, memory) for file, data in files]
    head = None
    if record is not None:  # before anything is said: a verdict that is not on record is none
        had = Given(kind, now, None if isinstance(given, Refused) else given, text)
        head = attest_record.append(record, had, results, datetime.now(UTC))
    refused_count = sum(result.said is None for result in results)
    if output is Output.JSON:
        report = {
            "schema": SCHEMA,
            "kind": kind,
            "platform": found_kind.platform.value,
            "at": plain(now),
            "policy": expected.digest if expected else None,
            "compared": expected is not None,
            "seen": str(memory.file) if memory else None,
            "verdict": "refused" if refused_count else "verified" if expected else "authentic",
            "results": [result.as_json() for result in results],
            **({"record": head} if head else {}),
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        _print(results, expected)
        if refused_count and not isinstance(given, Refused) and (told := attest_files.told(given)):
            typer.echo(textwrap.fill(f"given beside the evidence: {told}", WIDTH))
        if head:
            typer.echo(f"on record: {head}")
    if refused_count:
        raise typer.Exit(int(Exit.ATTESTATION))


class _Memory:
    """What collateral was seen before; each set of numbers is looked up once."""

    def __init__(self, folder: Path | None) -> None:
        self.folder, self.file = folder, collateral_seen.path(folder)
        self._good: set[tuple[Mark, ...]] = set()

    def advance(self, marks: tuple[Mark, ...]) -> None:
        """Keep the numbers.

        Raises:
            Refused: one of them goes back.
        """
        if marks in self._good:
            return
        try:
            collateral_seen.advance(marks, self.folder)
        except Refused as refused:
            raise Refused(refused.reason, f"{UNREPEATED}{refused.field}", hint=refused.hint) from refused
        self._good.add(marks)


def _verify(
    file: str,
    data: bytes,
    kind: str,
    given: Collateral | Refused,
    expected: Policy | None,
    now: datetime,
    memory: _Memory | None,
) -> Result:
    try:
        if isinstance(given, Refused):
            raise given
        said = judge(kind, data, given, expected, now)
        if memory is not None:
            memory.advance(said.facts.marks)
        return Result(file, data, said, None)
    except Refused as refused:
        return Result(file, data, None, refused)


def _print(results: list[Result], expected: Policy | None) -> None:
    for result in results:
        file = printable(result.file)
        if result.refused is not None:
            typer.echo(f"REFUSED {file}: {result.refused}")
            if result.refused.hint:
                typer.echo(f"  hint: {result.refused.hint}")
            continue
        assert result.said is not None
        facts = result.said.facts
        typer.echo(f"{result.verdict.upper()} {file}: {facts.kind}, {facts.identity.hex()[:32] or 'no identity'}")
        for note in facts.notes:
            typer.echo(f"  note: {printable(note)}")
        if len(results) == 1:
            _print_facts(facts)
    if len(results) > 1:
        good = sum(result.said is not None for result in results)
        typer.echo(f"{good} of {len(results)} {'verified' if expected else 'authentic'}, {len(results) - good} refused")
    if expected is None and any(result.said for result in results):
        typer.echo(textwrap.fill(NOT_COMPARED, WIDTH))


def _print_facts(facts: Facts) -> None:
    shown = {"identity": facts.identity, "report data": facts.report_data, "measurements": facts.measurements}
    for line in lines(shown, depth=1):
        typer.echo(line)


@app.command("show")
def show(
    evidence: Annotated[Path, typer.Argument(metavar="FILE", help="Evidence in any form; - is stdin.")],
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="What evidence it is; guessed by its form.")
    ] = None,
    certs: Certificates = None,
    collateral: Others = None,
    output: OutputForm = Output.TEXT,
) -> None:
    """Show every field of evidence, decoded. Nothing is verified."""
    data = attest_files.content(evidence)
    given = attest_files.gather(certs or (), collateral or ())
    name = registry.find(kind).name if kind else _guessed(evidence, data)
    fields = registry.show(name, data, given)
    if output is Output.JSON:
        typer.echo(json.dumps({"schema": SCHEMA, "kind": name, "verified": False, "fields": plain(fields)}, indent=2))
        return
    typer.echo(f"{name}: as the bytes say; nothing was verified")
    for line in lines(fields):
        typer.echo(line)


def _guessed(file: Path, data: bytes) -> str:
    names = registry.guess(data)
    if len(names) > 1:
        raise ConfigError(f"{file}: its bytes may be {' or '.join(names)}; name one by --kind")
    if not names:
        kinds = ", ".join(registry.kinds())
        raise Refused(
            f"the {len(data)} bytes of {file} have the form of no kind of evidence",
            "evidence",
            hint=f"name one by --kind: {kinds}",
        )
    return names[0]
