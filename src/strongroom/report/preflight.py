"""The preflight table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from strongroom.checks.verdict import CheckResult, CheckVerdict
from strongroom.probe.report import HostReport

_STYLE = {
    CheckVerdict.FAIL: "bold red",
    CheckVerdict.WARN: "yellow",
    CheckVerdict.UNKNOWN: "yellow",
    CheckVerdict.PASS: "green",
}


def show(console: Console, reports: Mapping[str, HostReport], results: Mapping[str, Sequence[CheckResult]]) -> None:
    """One row a host, then every check that did not pass with what to do."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("HOST", "SYSTEM", "KERNEL", "CPUS", "MIB", "CHECKS"):
        table.add_column(heading, overflow="fold")
    for name, report in reports.items():
        counts = [(verdict, sum(r.verdict is verdict for r in results[name])) for verdict in CheckVerdict]
        summary = ", ".join(f"{count} {verdict}" for verdict, count in counts if count)
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
            if check.verdict in (CheckVerdict.FAIL, CheckVerdict.WARN, CheckVerdict.UNKNOWN):
                console.print(
                    f"{name}: {check.id} {check.verdict}: {check.seen}; wanted: {check.wanted}",
                    style=_STYLE[check.verdict],
                    markup=False,
                )
                if check.waived:
                    console.print(f"    waived: {check.waived}", markup=False)
                elif check.remedy:
                    console.print(f"    {check.remedy}", markup=False)
