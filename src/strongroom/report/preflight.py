"""The preflight table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from strongroom.checks.verdict import CheckResult, Outcome
from strongroom.probe.report import HostReport

_STYLE = {Outcome.FAIL: "bold red", Outcome.WARN: "yellow", Outcome.UNKNOWN: "yellow", Outcome.PASS: "green"}


def show(console: Console, reports: Mapping[str, HostReport], results: Mapping[str, Sequence[CheckResult]]) -> None:
    """One row a host, then every check that did not pass with what to do."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("HOST", "SYSTEM", "KERNEL", "CPUS", "MIB", "CHECKS"):
        table.add_column(heading, overflow="fold")
    for name, report in reports.items():
        counts = [(outcome, sum(r.outcome is outcome for r in results[name])) for outcome in Outcome]
        summary = ", ".join(f"{count} {outcome}" for outcome, count in counts if count)
        table.add_row(
            name,
            report.system or "?",
            report.kernel or "?",
            str(report.processors or "?"),
            str(report.memory or "?"),
            summary,
        )
    console.print(table)
    for name, checks in results.items():
        for check in checks:
            if check.outcome in (Outcome.FAIL, Outcome.WARN, Outcome.UNKNOWN):
                console.print(
                    f"{name}: {check.id} {check.outcome}: {check.seen}; wanted: {check.wanted}",
                    style=_STYLE[check.outcome],
                    markup=False,
                )
                if check.waived:
                    console.print(f"    waived: {check.waived}", markup=False)
                elif check.remedy:
                    console.print(f"    {check.remedy}", markup=False)
