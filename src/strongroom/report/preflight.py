"""Preflight in a terminal, readable at 80 columns: one host check by check, many as a matrix and then what is open."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from strongroom.checks.verdict import CheckVerdict, State
from strongroom.model.checks import Role
from strongroom.model.platform import Platform
from strongroom.report.changes import Changed
from strongroom.report.document import CheckEntry, HostEntry, PreflightDocument

_STYLE = {
    CheckVerdict.FAIL: "bold red",
    CheckVerdict.WARN: "yellow",
    CheckVerdict.UNKNOWN: "yellow",
    CheckVerdict.PASS: "green",
    CheckVerdict.SKIP: "dim",
    CheckVerdict.INFO: "dim",
}
_STATE_STYLE = {State.READY: "green", State.CAPABLE: "bold red", State.UNKNOWN: "yellow", State.ABSENT: "dim"}
_WORD = {State.READY: "ready", State.CAPABLE: "capable", State.UNKNOWN: "unknown", State.ABSENT: "-"}
# In the matrix of eight platforms every letter counts; the legend is below it.
_CELL = {**_WORD, State.UNKNOWN: "?"}
_NAMED = 8


def show(console: Console, document: PreflightDocument) -> None:
    """One host in detail; several as a matrix, then every open check once with the hosts that have it."""
    if len(document.hosts) == 1 and not document.hosts[0].unreachable:
        _one(console, document)
    else:
        overview(console, document)


def overview(console: Console, document: PreflightDocument) -> None:
    """The matrix of platforms and hosts, what is open, and what differs."""
    _matrix(console, document)
    for host in document.unread:
        _line(console, f"{host.name}: not read: {host.unreachable}", "bold red")
    _open(console, document)
    for platform, entry, names in document.unsaid:
        _line(console, f"{_names(names)}: {platform} {entry.state}: {entry.sentence}", _STATE_STYLE[entry.state])
    for difference in document.differences:
        _line(console, f"{difference.what} differs:", "yellow")
        for value, hosts in difference.values.items():
            _line(console, f"{value}: {_names(hosts)}", indent=4)
        if difference.unknown:
            _line(console, f"not told: {_names(difference.unknown)}", indent=4)


def _line(console: Console, text: str, style: str | None = None, indent: int = 0) -> None:
    console.print(Padding(Text(text, style=style or ""), (0, 0, 0, indent), expand=False))


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _cell(host: HostEntry, platform: Platform) -> Text:
    state = State.UNKNOWN if host.unreachable else host.state(platform)
    mark = "!" if platform is host.wanted and state is not State.READY else ""
    return Text(_CELL[state] + mark, style=_STATE_STYLE[state])


def _matrix(console: Console, document: PreflightDocument) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("HOST", overflow="fold")
    for platform in document.there:
        table.add_column(platform.value.upper(), no_wrap=True)
    table.add_column("OPEN", justify="right", no_wrap=True)
    for host in document.hosts:
        cells = [_cell(host, platform) for platform in document.there]
        name = f"{host.name} (guest)" if host.role is Role.GUEST else host.name
        table.add_row(Text(name), *cells, "?" if host.unreachable else str(len(host.open)))
    console.print(table)
    if document.nowhere:
        where = "on the hosts that were read" if document.unread else "everywhere"
        _line(console, f"absent {where}: {', '.join(document.nowhere)}", "dim")
    if any(
        host.wanted is not Platform.NONE and (host.unreachable or host.state(host.wanted) is not State.READY)
        for host in document.hosts
    ):
        _line(console, "! the inventory asks for this platform, and it is not ready", "dim")


def _open(console: Console, document: PreflightDocument) -> None:
    quiet: dict[tuple[str, ...], list[str]] = {}
    for check, names in document.open:
        if check.verdict is CheckVerdict.UNKNOWN and not check.remedy:
            quiet.setdefault(tuple(dict.fromkeys(names)), []).append(check.id)
            continue
        _line(console, f"{_names(names)}: {check.id} {check.verdict}: {check.seen}", _STYLE[check.verdict])
        _advice(console, check)
    for hosts, ids in quiet.items():
        _line(console, f"{_names(hosts)}: unknown: {_names(tuple(dict.fromkeys(ids)))}", _STYLE[CheckVerdict.UNKNOWN])


def _advice(console: Console, check: CheckEntry, indent: int = 4) -> None:
    if check.wanted:
        _line(console, f"wanted: {check.wanted}", indent=indent)
    if check.waived:
        _line(console, f"waived: {check.waived}", indent=indent)
    elif check.remedy:
        _line(console, f"do: {check.remedy}", indent=indent)
    if check.doc:
        _line(console, check.doc, "dim", indent)


def _one(console: Console, document: PreflightDocument) -> None:
    host = document.hosts[0]
    machine = host.machine
    memory = f"{machine.memory_mib / 1024:.0f} GiB" if machine.memory_mib else None
    cpus = f"{machine.processors} CPUs" if machine.processors else None
    console.print(Text(f"{host.name} ({host.role})", style="bold"))
    for parts in ((machine.cpu, cpus, memory), (machine.board, f"BIOS {machine.bios}" if machine.bios else None),
                  (machine.system, f"kernel {machine.kernel}" if machine.kernel else None)):  # fmt: skip
        if any(parts):
            _line(console, ", ".join(part for part in parts if part), indent=2)
    absent = [
        str(one) for one, entry in host.platforms.items() if entry.state is State.ABSENT and one is not host.wanted
    ]
    shown = [one for one in host.platforms if str(one) not in absent]
    console.print()
    if shown:
        table = Table(box=None, show_header=False, pad_edge=False)
        for _ in range(3):
            table.add_column(overflow="fold")
        for one in shown:
            state = host.state(one)
            table.add_row(
                one.value.upper(), Text(_WORD[state], style=_STATE_STYLE[state]), Text(host.platforms[one].sentence)
            )
        console.print(table)
    if absent:
        _line(console, f"absent: {', '.join(absent)}", "dim")
    _capacity(console, host)
    if host.open:
        console.print()
        _open(console, document)
    for platform in (Platform.NONE, *shown):
        _group(console, host, platform)


def _capacity(console: Console, host: HostEntry) -> None:
    carries = []
    if host.capacity.shims:
        carries.append(f"Kata shims {', '.join(host.capacity.shims)}")
    if host.capacity.cvm:
        carries.append(f"confidential VMs ({', '.join(host.capacity.cvm)})")
    guests = ", ".join(f"{count} {platform}" for platform, count in host.capacity.guests.items())
    if guests:
        carries.append(f"guests at a time: {guests}")
    _line(console, f"can carry: {'; '.join(carries)}" if carries else "can carry: nothing confidential as it is")


def _group(console: Console, host: HostEntry, platform: Platform) -> None:
    # A check of the other side (a guest's on a host) that is skipped without a cause has nothing to say.
    checks = [
        check
        for check in host.checks
        if check.platform is platform and not (check.verdict is CheckVerdict.SKIP and check.blocked_by is None)
    ]
    if not checks:
        return
    console.print()
    console.print(Text("the machine" if platform is Platform.NONE else platform.value.upper(), style="bold"))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(width=7)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        said = Text(f"{check.title}: {check.seen}" if check.seen else check.title)
        muted = not (check.verdict is CheckVerdict.PASS or host.matters(check))
        style = "dim" if muted else _STYLE[check.verdict]
        table.add_row(Text(check.verdict.value, style=style), Text(check.id, style=style), said)
    console.print(table)


def show_changes(console: Console, found: Sequence[Changed]) -> None:
    """What ``--diff`` found, host after host."""
    for change in found:
        _line(console, str(change))
    _line(console, f"{len(found)} changes since" if found else "nothing changed since", "bold")
