"""``strongroom preflight``: read the hosts, or what was saved of them, and judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from strongroom import paths
from strongroom.cli.common import BundleFolder
from strongroom.engine import inventory as inventories
from strongroom.engine.session import connect
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle as bundles
from strongroom.model.bundle import BundleManifest
from strongroom.model.cluster import Inventory
from strongroom.phases import preflight as phase
from strongroom.report import document, saved
from strongroom.report.changes import changes
from strongroom.report.document import PreflightDocument
from strongroom.report.html import html
from strongroom.report.junit import junit
from strongroom.report.preflight import show, show_changes
from strongroom.report.progress import progress


class Form(StrEnum):
    """Forms of the report."""

    TEXT = "text"
    JSON = "json"
    JUNIT = "junit"
    HTML = "html"


_FORMS: Mapping[Form, Callable[[PreflightDocument], str]] = {
    Form.JSON: PreflightDocument.json_text,
    Form.JUNIT: junit,
    Form.HTML: html,
}


def preflight(
    inventory: Annotated[
        Path | None,
        typer.Argument(metavar="[INVENTORY]", help="As for plan and apply; with --replay it may be left out."),
    ] = None,
    bundle: BundleFolder = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="DIR", help="Also write what was read, as DIR/HOST/SECTION.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option("--replay", metavar="DIR", help="Judge what --save wrote; no host is asked.")
    ] = None,
    diff: Annotated[
        Path | None, typer.Option("--diff", metavar="OLD.json", help="Say what changed since that JSON report.")
    ] = None,
    output: Annotated[Form, typer.Option("--output", help="Form of the report on stdout.")] = Form.TEXT,
) -> None:
    """Read every host once and say which TEEs work, and what stands in the way; nothing is changed.

    Ends with 4 when a host is not what the inventory asks for, with 1 when one could not be read.
    """
    if diff and output is not Form.TEXT:
        raise ConfigError(f"--output: found {output.value!r}, allowed with --diff is 'text'")
    if save and save.exists() and not save.is_dir():
        raise ConfigError(f"{save}: not a folder", hint="choose another for --save")
    if replay and save:
        raise ConfigError("--save: not with --replay, which reads no host")
    old = document.load(diff) if diff else None
    outcome, unread = _replayed(inventory, replay, bundle) if replay else _asked(inventory, bundle, save)
    if old is not None:
        _print(lambda console: show_changes(console, changes(old, outcome.document)))
    elif output is Form.TEXT:
        _print(lambda console: show(console, outcome.document))
    else:
        print(_FORMS[output](outcome.document), end="")
    outcome.refuse()
    if unread:
        raise StrongroomError("\n".join(f"{name}: {why}" for name, why in sorted(unread.items())))


def _print(write: Callable[[Console], None]) -> None:
    """As wide as the terminal is, without the blanks that rich fills its lines up with: reports go into files and mails."""
    console = Console(highlight=False)
    with console.capture() as captured:
        write(console)
    for line in captured.get().removesuffix("\n").split("\n"):
        print(line.rstrip())


def _asked(inventory: Path | None, bundle: Path | None, save: Path | None) -> tuple[phase.Outcome, dict[str, str]]:
    if inventory is None:
        raise ConfigError("INVENTORY: missing; it says which hosts to read", hint="or give --replay a saved folder")
    pyinfra_inventory, ours = inventories.load(inventory)
    manifest = _manifest(ours, bundle)
    with (
        progress.step(f"Preflight of {len(ours.hosts)} host(s)"),
        connect(pyinfra_inventory, ours, lock=False, later=True) as session,
    ):
        examined, unread = phase.read(session, ours.hosts, phase.examine(ours, manifest, set_up=False))
    if save and examined:
        for name, found in examined.items():
            saved.save(save, name, found.sections)
        progress.say(f"saved in {save}")
    return phase.judge_inventory(ours, examined, unread), unread


def _replayed(inventory: Path | None, folder: Path, bundle: Path | None) -> tuple[phase.Outcome, dict[str, str]]:
    sections = saved.load(folder)
    for line in saved.passed_over(folder):
        progress.say(line)
    if inventory is None:
        return phase.judge_alone(sections), {}
    _, ours = inventories.load(inventory)
    hosts = {host.name for host in ours.hosts}
    for name in (name for name in sections if name not in hosts):
        progress.say(f"{folder / name}: passed over, being no host of {inventory}")
    unread = {host.name: f"not in {folder}" for host in ours.hosts if host.name not in sections}
    look = phase.examine(ours, _manifest(ours, bundle), set_up=False)
    examined = {host.name: look(host, sections[host.name]) for host in ours.hosts if host.name not in unread}
    return phase.judge_inventory(ours, examined, unread), unread


def _manifest(inventory: Inventory, option: Path | None) -> BundleManifest | None:
    """The bundle's manifest, where there is a bundle yet: hosts can be looked at before anything is downloaded.

    Raises:
        StrongroomError: there is one, and it is damaged, or --bundle names a folder without one.
    """
    folder = option or (paths.written(inventory.cluster.bundle) if inventory.cluster.bundle else None)
    if folder and (option or folder.exists()):
        return bundles.load(folder).manifest
    progress.say("no bundle yet: architecture and room on the disks are not asked for")
    return None
