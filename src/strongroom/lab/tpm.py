"""Measured boot of a lab host: UEFI by OVMF, and a TPM 2.0 by swtpm, one process beside each QEMU.

The TPM is real in what it does - PCRs, event log, quotes - and a stand-in in what it is: software of this machine's user.
Its state belongs to the host like its disk's place does: a power cut and a reset keep it, the end of the lab removes it.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from strongroom.errors import StrongroomError
from strongroom.lab import processes, tools
from strongroom.lab.state import Lab, LabHost

PROGRAM = "swtpm"
TO_RUN = {PROGRAM: "swtpm"}
_FIRMWARE = Path("/usr/share/OVMF")
_CODE, _VARIABLES = _FIRMWARE / "OVMF_CODE_4M.fd", _FIRMWARE / "OVMF_VARS_4M.fd"


def check() -> None:
    """Check that this machine has firmware and TPM.

    Raises:
        StrongroomError: one line that names what is missing.
    """
    tools.require(TO_RUN)
    if missing := [path for path in (_CODE, _VARIABLES) if not path.is_file()]:
        raise StrongroomError(f"lab: this machine has no {missing[0]}; --tpm needs it", hint="apt-get install ovmf")


def pid_file(folder: Path) -> Path:
    """In a host's folder: what makes an swtpm that host's."""
    return folder / "tpm.pid"


def _socket(lab: Lab, host: LabHost) -> Path:
    return lab.socket_folder / f"{host.name}.tpm"


def arguments(lab: Lab, host: LabHost) -> list[str]:
    """What QEMU needs for both."""
    variables = str(lab.host_folder(host) / "uefi-variables.fd").replace(",", ",,")
    return [
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_CODE}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={variables}"),
        *("-chardev", f"socket,id=tpm,path={str(_socket(lab, host)).replace(',', ',,')}"),
        *("-tpmdev", "emulator,id=tpm,chardev=tpm"),
        *("-device", "tpm-tis,tpmdev=tpm"),
    ]


def start(lab: Lab, host: LabHost) -> None:
    """Start the host's TPM before its QEMU; it ends with the connection to it.

    Raises:
        StrongroomError: it doesn't come up.
    """
    folder, socket = lab.host_folder(host), _socket(lab, host)
    end(folder)
    variables = folder / "uefi-variables.fd"
    if not variables.exists():
        shutil.copyfile(_VARIABLES, new := folder / ".uefi-variables.new")
        new.rename(variables)
    (folder / "tpm").mkdir(mode=0o700, exist_ok=True)
    socket.unlink(missing_ok=True)
    command = [
        *(PROGRAM, "socket", "--tpm2", "--terminate"),
        *("--tpmstate", f"dir={folder / 'tpm'},mode=0600"),
        *("--ctrl", f"type=unixio,path={socket},mode=0600"),
        *("--pid", f"file={pid_file(folder)}"),
    ]
    pid = processes.start(command, folder / "tpm.log")
    until = time.monotonic() + 10
    while not socket.exists():
        if not processes.alive(pid) or time.monotonic() > until:
            said = (folder / "tpm.log").read_text(errors="replace").strip().splitlines()
            raise StrongroomError(f"lab {lab.name}: {host.name}: swtpm: {said[-1] if said else 'does not come up'}")
        time.sleep(0.01)


def end(folder: Path) -> None:
    """End the TPM of the host with that folder, where it did not end with its QEMU."""
    processes.end(PROGRAM, pid_file(folder))
