"""``strongroom attest audit``: whether a record is whole, and whether its verdicts still hold."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from strongroom.attest import record
from strongroom.attest.base import printable
from strongroom.cli import attest_record
from strongroom.cli.output import Output, OutputForm
from strongroom.errors import ConfigError, Exit

SCHEMA = "strongroom.dev/attestation-audit/v1"


def audit(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A record's name, or a file with one.")],
    head: Annotated[
        str | None, typer.Option("--head", metavar="SHA256", help="A digest that was noted: its line has to be there.")
    ] = None,
    output: OutputForm = Output.TEXT,
) -> None:
    """Check a record of verdicts once more. Ends with 0 when all of it holds, with 5 when something doesn't."""
    if head is not None and len(head) != 64:
        raise ConfigError(f"--head: found {head!r}, allowed is a SHA-256 in 64 hex digits")
    source, ends = attest_record.opened(name)
    bad, last, verdicts, noted, wrong = [], record.FIRST, 0, head is None, []
    with source:
        for finding in record.audit(attest_record.lines(source)):
            last = finding.digest
            noted = noted or (head is not None and finding.digest == head.lower())
            verdicts += finding.is_verdict
            if finding.wrong:
                bad.append(finding)
    if last == record.FIRST:
        wrong.append("there is no line in it")
    if not noted:
        wrong.append(f"no line has the digest {head}: lines were removed or changed")
    if ends is not None and last not in ends:
        wrong.append(
            f"its last line has the digest {last}, written last was {' or '.join(ends) or 'nobody knows what'}"
        )
    if output is Output.JSON:
        report = {
            "schema": SCHEMA,
            "holds": not bad and not wrong,
            "verdicts": verdicts,
            "head": last,
            "wrong": wrong,
            "lines": [
                {"line": one.number, "sha256": one.digest, "what": one.what, "wrong": list(one.wrong)} for one in bad
            ],
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        for one in bad:
            typer.echo(f"line {one.number} ({printable(one.what)}):")
            for reason in one.wrong:
                typer.echo(f"  {printable(reason)}")
        for reason in wrong:
            typer.echo(reason)
        typer.echo(
            f"{verdicts} verdict{'' if verdicts == 1 else 's'}, {'all hold' if not bad and not wrong else 'NOT ALL HOLD'}; head {last}"
        )
    if bad or wrong:
        raise typer.Exit(int(Exit.ATTESTATION))
