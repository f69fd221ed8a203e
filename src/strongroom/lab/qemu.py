"""One host as a QEMU process: its command line, its disk, starting it and finding it again."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

from strongroom.errors import StrongroomError
from strongroom.lab import credentials, keys, processes, state, switch, tools, tpm, uki
from strongroom.lab.rootfs import RootFs
from strongroom.lab.state import Accelerator, Lab, LabHost

PROGRAM = tools.QEMU
# noinit_itable: after the file system grew, its kernel thread would write hundreds of MiB of zeroes to a sparse disk.
KERNEL = "root=/dev/vda rw rootflags=noinit_itable console=ttyS0 mitigations=off quiet net.ifnames=0 panic=10"

_ACCELERATOR = {
    "tcg": ["-accel", "tcg,thread=multi,tb-size=512"],
    "kvm": ["-accel", "kvm"],
}
"""512 MiB for translated code: with less, two virtual CPUs of a whole distribution throw it away over and over."""


def machine(accelerator: Accelerator, memory: int, cpus: int) -> list[str]:
    """Arguments for a bare machine: no default devices, no display.

    Args:
        memory: MiB.
    """
    size = ["-smp", str(cpus), "-m", str(memory)]
    return [*_ACCELERATOR[accelerator], "-M", "pc", "-cpu", "max", *size, "-nodefaults", "-display", "none"]


def cmdline(host: LabHost) -> str:
    """The kernel's command line."""
    return f"{KERNEL} systemd.hostname={host.name}"


def pid_file(lab: Lab, host: LabHost) -> Path:
    """The argument that makes a QEMU this host's."""
    return lab.host_folder(host) / "qemu.pid"


def quoted(value: Path | str) -> str:
    """A value inside one of QEMU's option lists, where a comma ends it unless doubled."""
    return str(value).replace(",", ",,")


def command(lab: Lab, host: LabHost, root: RootFs, strings: list[Path]) -> list[str]:
    """The command line of a host.

    Args:
        strings: files with the SMBIOS strings that hold the host's credentials.
    """
    folder = lab.host_folder(host)
    # The user network is restricted on purpose: a host of a lab reaches nothing outside, so the bundle must suffice.
    forward = [f"hostfwd=tcp:127.0.0.1:{host.ssh_port}-:22", f"hostfwd=tcp:127.0.0.1:{host.api_port}-:6443"]
    return [
        PROGRAM,
        *("-name", f"guest=strongroom-{lab.name}-{host.name}"),
        *machine(lab.accelerator, host.memory, host.cpus),
        # kubeadm wants a product id for each node that no other has.
        *("-uuid", str(uuid.uuid5(uuid.NAMESPACE_URL, f"strongroom-lab:{lab.name}/{host.name}/{host.ssh_port}"))),
        *("-serial", f"file:{folder / 'serial.log'}"),
        *([] if lab.uki else ["-kernel", str(root.kernel), "-initrd", str(root.initrd), "-append", cmdline(host)]),
        *("-drive", f"file={quoted(disk(lab, host))},format=qcow2,if=virtio,cache=unsafe,discard=unmap"),
        *(part for file in strings for part in ("-smbios", f"type=11,path={quoted(file)}")),
        *("-netdev", ",".join(["user", "id=ssh", "restrict=on", *forward])),
        *("-device", f"virtio-net-pci,netdev=ssh,mac={host.mac_ssh}"),
        *("-netdev", f"vde,id=lan,sock={quoted(switch.plug(lab))}"),
        *("-device", f"virtio-net-pci,netdev=lan,mac={host.mac_lan}"),
        *("-device", "virtio-rng-pci"),
        *(tpm.arguments(lab, host) if lab.tpm else []),
        *(uki.arguments(lab, host) if lab.uki else []),
        *("-qmp", f"unix:{quoted(monitor(lab, host))},server=on,wait=off"),
        *("-pidfile", str(pid_file(lab, host))),
    ]


def monitor(lab: Lab, host: LabHost) -> Path:
    """The host's QMP socket."""
    return lab.socket_folder / f"{host.name}.qmp"


def disk(lab: Lab, host: LabHost) -> Path:
    """What the host wrote: a qcow2 overlay of the root file system."""
    return lab.host_folder(host) / "overlay.qcow2"


def ensure_disk(lab: Lab, host: LabHost, root: RootFs) -> None:
    """Make the host's overlay unless it has one; a half-made one isn't taken for one."""
    overlay = disk(lab, host)
    if overlay.exists():
        return
    new = overlay.with_name(".overlay.new")
    new.unlink(missing_ok=True)
    make = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(root.disk), str(new), f"{lab.disk}G"]
    done = subprocess.run(make, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StrongroomError(f"lab {lab.name}: {host.name}: qemu-img: {done.stderr.strip()}")
    new.rename(overlay)


def write_credentials(lab: Lab, host: LabHost) -> list[Path]:
    """Write the host's credentials as files that only their owner reads; return them."""
    host_key = keys.load((lab.host_folder(host) / "host_key").read_text())
    operator = keys.load(lab.ssh_key.read_text()).public
    folder = lab.host_folder(host) / "credentials"
    folder.mkdir(mode=0o700, exist_ok=True)
    files = []
    for name, text in credentials.of_host(host, lab.hosts, host_key, operator).items():
        state.write(folder / name, text)
        files.append(folder / name)
    return files


def running(lab: Lab, host: LabHost) -> int | None:
    """The host's process id; None when it is off."""
    return processes.find(PROGRAM, pid_file(lab, host))


def start(lab: Lab, host: LabHost, root: RootFs) -> None:
    """Start a host that is off, with the disk it has, else a fresh one; doesn't wait for it."""
    folder = lab.host_folder(host)
    ensure_disk(lab, host, root)
    strings = write_credentials(lab, host)
    for stale in (monitor(lab, host), folder / "serial.log"):
        stale.unlink(missing_ok=True)
    if lab.uki:
        uki.ensure(lab, host, root, cmdline(host))
    if lab.tpm:
        tpm.start(lab, host)
    processes.start(command(lab, host, root, strings), folder / "qemu.log")


def kill(lab: Lab, host: LabHost) -> bool:
    """Pull the host's plug: QEMU gets no chance to write anything. Returns whether it was on."""
    was_on = processes.end(PROGRAM, pid_file(lab, host))
    tpm.end(lab.host_folder(host))
    pid_file(lab, host).unlink(missing_ok=True)
    return was_on


def last_words(lab: Lab, host: LabHost, lines: int = 5) -> str:
    """The last lines of QEMU's log and of the serial console, for an error message."""
    told = []
    for file in ("qemu.log", "serial.log"):
        try:
            text = (lab.host_folder(host) / file).read_text(errors="replace")
        except OSError:
            continue
        # Terminal control of the firmware and of login prompts would play with the reader's terminal.
        kept = ["".join(mark for mark in line if mark.isprintable()).strip() for line in text.splitlines()]
        told += [f"  {file}: {line}" for line in [line for line in kept if line][-lines:]]
    return "\n".join(told) or "  its logs are empty"
