"""``strongroom lab``: real Linux hosts on this machine, for trial runs and tests without TEE hardware."""

from __future__ import annotations

import json
import os
import shutil
import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from strongroom.cli.output import Output, OutputForm
from strongroom.errors import ConfigError, StrongroomError
from strongroom.lab import making, qemu, ssh, state, status, vm
from strongroom.report.progress import progress

app = typer.Typer(
    help="Real Linux hosts on this machine, for trial runs without TEE hardware.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class Accel(StrEnum):
    """How QEMU runs a host."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


Name = Annotated[
    str, typer.Option("--name", envvar=state.SETTING, metavar="NAME", help="The lab; several can run side by side.")
]


@app.command()
def up(
    name: Name = state.DEFAULT_NAME,
    hosts: Annotated[
        str | None, typer.Option("--hosts", metavar="NAMES", help="Names with commas between (cp1,w1), or how many.")
    ] = None,
    memory: Annotated[
        int | None, typer.Option("--memory", metavar="MIB", help=f"MiB of each host; {making.MEMORY} unless told.")
    ] = None,
    cpus: Annotated[
        int | None, typer.Option("--cpus", metavar="N", help=f"CPUs of each host; {making.CPUS} unless told.")
    ] = None,
    disk: Annotated[
        int | None, typer.Option("--disk", metavar="GIB", help=f"GiB of each host's disk; {making.DISK} unless told.")
    ] = None,
    packages: Annotated[
        str | None,
        typer.Option(
            "--packages", metavar="NAMES", help="Debian packages that its hosts have besides (containerd,jq)."
        ),
    ] = None,
    tpm: Annotated[
        bool, typer.Option("--tpm", help="Boot by UEFI, measured into a software TPM (needs swtpm and ovmf).")
    ] = False,
    uki: Annotated[
        bool, typer.Option("--uki", help="As --tpm, and boot a unified kernel image from a disk (needs e2fsprogs).")
    ] = False,
    accel: Annotated[
        Accel, typer.Option("--accel", help="auto takes KVM where a trial boot in it works, else TCG.")
    ] = Accel.AUTO,
) -> None:
    """Start a lab and wait until its hosts take logins; what runs already is left alone."""
    names = None if hosts is None else making.parse_hosts(hosts)
    extra = None if packages is None else making.parse_packages(packages)
    lab = vm.up(
        name,
        names,
        memory=memory,
        cpus=cpus,
        disk=disk,
        packages=extra,
        measured=tpm or None,
        unified=uki or None,
        accelerator=accel.value,
    )
    print_status(lab)


@app.command("status")
def show_status(
    name: Name = state.DEFAULT_NAME,
    output: OutputForm = Output.TEXT,
) -> None:
    """Show the hosts of a lab: addresses, ports, state."""
    lab = state.load(name)
    if output is Output.JSON:
        typer.echo(json.dumps(status.document(lab), indent=2))
    else:
        print_status(lab)


@app.command("ssh", context_settings={"ignore_unknown_options": True})
def open_ssh(
    host: Annotated[str | None, typer.Argument(metavar="[HOST]", help="The lab's first host unless told.")] = None,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Run this instead of a shell.")
    ] = None,
    name: Name = state.DEFAULT_NAME,
) -> None:
    """Log in to a host as root, with its host key pinned."""
    words = list(command or [])
    lab = state.load(name)
    if host is not None and host not in [known.name for known in lab.hosts] and _after_dashes(host):
        words.insert(0, host)
        host = None
    target = lab.host(host) if host else lab.hosts[0]
    if qemu.running(lab, target) is None:
        raise StrongroomError(f"lab {lab.name}: {target.name} is off", hint=f"strongroom lab up --name {lab.name}")
    program = shutil.which("ssh")
    if program is None:
        raise StrongroomError("lab: this machine has no ssh", hint="apt-get install openssh-client")
    arguments = ssh.command(lab, target)
    if words:
        arguments += ["--", *words]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, arguments)  # noqa: S606  a list of arguments, no shell


@app.command()
def down(
    name: Name = state.DEFAULT_NAME,
    everything: Annotated[bool, typer.Option("--all", help="All labs of this user.")] = False,
) -> None:
    """End a lab: no process and no file of it stays but the cache."""
    for each in vm.all_names() if everything else [name]:
        progress.say(f"lab {each}: gone" if vm.down(each) else f"lab {each}: there is none, nothing to do")


@app.command()
def reset(
    hosts: Annotated[list[str] | None, typer.Argument(metavar="[HOST...]", help="All hosts unless told.")] = None,
    name: Name = state.DEFAULT_NAME,
) -> None:
    """Give hosts fresh disks and boot them, with the same keys, addresses and ports."""
    print_status(vm.reset(name, hosts or ()))


@app.command("power-cut")
def power_cut(
    host: Annotated[str | None, typer.Argument(metavar="[HOST]", help="The lab's only host unless told.")] = None,
    name: Name = state.DEFAULT_NAME,
) -> None:
    """Pull a host's plug, plug it in again, wait for a login: what wasn't synced may be gone."""
    lab = state.load(name)
    if host is None and len(lab.hosts) > 1:
        raise ConfigError(f"lab {lab.name}: which host? It has {', '.join(known.name for known in lab.hosts)}")
    vm.power_cut(lab, host or lab.hosts[0])


def print_status(lab: state.Lab) -> None:
    """Print a lab's hosts as a table that fits in 80 columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title, justify in {"host": "left", "address": "left", "ssh": "right", "api": "right"}.items():
        table.add_column(title, justify="right" if justify == "right" else "left", overflow="fold")
    for title in ("accel", "state"):
        table.add_column(title)
    table.add_column("uptime", justify="right", no_wrap=True)
    for host in status.of(lab):
        ports = (str(host.ssh_port), str(host.api_port))
        table.add_row(host.name, host.address, *ports, host.accelerator, host.state, status.duration(host.uptime))
    Console(highlight=False).print(table)


def _after_dashes(word: str) -> bool:
    """Whether a word came after ``--`` on this command line, so that it is part of a command and no host."""
    return "--" in sys.argv and word in sys.argv[sys.argv.index("--") + 1 :]
