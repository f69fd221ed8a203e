"""``strongroom measure``: what to expect of evidence, from the files that a guest or a machine boots."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from strongroom.errors import ConfigError
from strongroom.measure import ovmf, pcr, snp, tdx, values, vmsa
from strongroom.measure.values import Input

app = typer.Typer(help="Compute reference values, with the inputs that made them.", no_args_is_help=True)

_LARGEST = 2 * 1024**3
_PHASES = ("enter-initrd", "leave-initrd", "sysinit", "ready")

Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the JSON here, not to stdout.")]
SignKey = Annotated[
    Path | None,
    typer.Option(
        "--sign-key",
        metavar="FILE",
        help="Private key (PEM, Ed25519 or ECDSA): sign the JSON; the detached signature goes to FILE.sig beside --out.",
    ),
]
Kernel = Annotated[
    Path | None, typer.Option("--kernel", metavar="FILE", help="Kernel that QEMU starts directly, as QEMU gets it.")
]
Initrd = Annotated[Path | None, typer.Option("--initrd", metavar="FILE", help="Initrd that goes with --kernel.")]
Cmdline = Annotated[str | None, typer.Option("--cmdline", metavar="TEXT", help="Command line that goes with --kernel.")]
Loader = Annotated[
    Path | None, typer.Option("--loader", metavar="FILE", help="systemd-boot, where it starts the image.")
]
Attempts = Annotated[
    int, typer.Option("--attempts", metavar="N", help="Boot options that may fail before it, at most.")
]
Phase = Annotated[
    list[str] | None,
    typer.Option("--phase", metavar="WORD", help=f"Words that systemd extends, in their order ({', '.join(_PHASES)})."),
]


class Vmm(StrEnum):
    """Who starts the guest."""

    QEMU = "qemu"
    EC2 = "ec2"
    GCE = "gce"


def _read(name: str, path: Path | None) -> Input | None:
    if path is None:
        return None
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(f"{path}: {path.stat().st_size} bytes, allowed are {_LARGEST}")
        return Input(name, str(path), path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error


def _given(*inputs: Input | None) -> tuple[Input, ...]:
    return tuple(entry for entry in inputs if entry is not None)


@contextmanager
def _naming(*inputs: Input | None) -> Iterator[None]:
    """What refuses a part of a file names the part ("firmware: …"); here the file's name goes before it.

    An "image" is a program for UEFI: the unified kernel image, or its loader.
    """
    try:
        yield
    except ConfigError as error:
        part = re.split(r"[.:]", str(error), maxsplit=1)[0]
        names = ("uki", "loader", "kernel") if part == "image" else (part,)
        files = " or ".join(entry.path for entry in _given(*inputs) if entry.name in names)
        if not files:
            raise
        raise ConfigError(f"{files}: {error}", hint=error.hint) from error


def _write(document: bytes, out: Path | None, sign_key: Path | None) -> None:
    """The document, and its signature; nothing is written where the key can't be used."""
    if sign_key is not None and out is None:
        raise ConfigError("--sign-key: needs --out FILE, for the signature is of that file's bytes")
    key = None
    if sign_key is not None:
        pem = _read("key", sign_key)
        key = values.private_key(pem.data, str(sign_key)) if pem else None
    if out is None:
        sys.stdout.write(document.decode())
        return
    try:
        # The former values' signature goes first: beside these it would look like tampering.
        signature = out.with_name(f"{out.name}.sig")
        signature.unlink(missing_ok=True)
        out.write_bytes(document)
        if key is not None:
            signature.write_bytes(values.sign(document, key))
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror or error}") from error


def _boot(kernel: Input | None, initrd: Input | None, cmdline: str | None) -> snp.DirectBoot | None:
    if kernel is None:
        if initrd is not None or cmdline is not None:
            raise ConfigError("--initrd, --cmdline: need --kernel")
        return None
    return snp.DirectBoot(kernel.data, initrd.data if initrd else b"", cmdline or "")


@app.command("snp")
def measure_snp(
    firmware: Annotated[Path, typer.Option("--firmware", metavar="FILE", help="The guest's OVMF image, whole.")],
    vcpus: Annotated[list[int], typer.Option("--vcpus", metavar="N", help="vCPUs at launch (repeatable).")],
    model: Annotated[
        list[str],
        typer.Option(
            "--vcpu-model", metavar="MODEL", help="QEMU's model, family:model:stepping or 0x... (repeatable)."
        ),
    ],
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--guest-features", metavar="HEX", help="SEV_FEATURES (repeatable): 0x1; newer QEMU and KVM may set 0x21."
        ),
    ] = None,
    kernel: Kernel = None,
    initrd: Initrd = None,
    cmdline: Cmdline = None,
    vmm: Annotated[Vmm, typer.Option("--vmm", help="Who starts the guest.")] = Vmm.QEMU,
    out: Out = None,
    sign_key: SignKey = None,
) -> None:
    """Launch digests of a SEV-SNP guest: one for each combination that a host profile allows."""
    image, started, ramdisk = _read("firmware", firmware), _read("kernel", kernel), _read("initrd", initrd)
    assert image is not None
    boot = _boot(started, ramdisk, cmdline)
    with _naming(image, started, ramdisk):
        found = snp.allowed(
            ovmf.parse(image.data),
            vcpus=tuple(vcpus),
            signatures=tuple(vmsa.signature(name) for name in model),
            features=tuple(_hex(text) for text in features or ["0x1"]),
            boot=boot,
            vmm=vmm.value,
        )
    parameters = {
        "vcpus": list(vcpus),
        "vcpu_models": list(model),
        "guest_features": features or ["0x1"],
        "cmdline": cmdline,
        "vmm": vmm.value,
    }
    notes = () if boot else ("no kernel was given: the digest is of the firmware, and says nothing of what it boots",)
    document = values.document("snp", {"measurement": found}, _given(image, started, ramdisk), parameters, notes)
    _write(document, out, sign_key)


def _hex(text: str) -> int:
    try:
        value = int(text, 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise ConfigError(f"--guest-features: found {text!r}, allowed is hex, for instance 0x1")
    return value


@app.command("pcr")
def measure_pcr(
    uki: Annotated[Path, typer.Option("--uki", metavar="FILE", help="The unified kernel image.")],
    loader: Loader = None,
    attempts: Attempts = 2,
    phase: Phase = None,
    pk: Annotated[Path | None, typer.Option("--pk", metavar="FILE", help="Contents of the variable PK.")] = None,
    kek: Annotated[Path | None, typer.Option("--kek", metavar="FILE", help="Contents of KEK.")] = None,
    db: Annotated[Path | None, typer.Option("--db", metavar="FILE", help="Contents of db.")] = None,
    dbx: Annotated[Path | None, typer.Option("--dbx", metavar="FILE", help="Contents of dbx.")] = None,
    authority: Annotated[
        list[str] | None,
        typer.Option(
            "--authority",
            metavar="HEX",
            help="SHA-256 of an authority's event, from an approved boot; Secure Boot is on.",
        ),
    ] = None,
    out: Out = None,
    sign_key: SignKey = None,
) -> None:
    """PCRs 4, 7, 9, 11 and 12 (SHA-256) of a machine that boots a unified kernel image."""
    image, starter = _read("uki", uki), _read("loader", loader)
    variables = [_read(name, path) for name, path in (("pk", pk), ("kek", kek), ("db", db), ("dbx", dbx))]
    assert image is not None
    contents = [entry.data if entry else b"" for entry in variables]
    digests = tuple(_digest(text) for text in authority or ())
    state = pcr.SecureBoot(bool(digests), contents[0], contents[1], contents[2], contents[3], digests)
    with _naming(image, starter, *variables):
        found = pcr.predict(
            image.data,
            loader=starter.data if starter else None,
            attempts=attempts,
            phases=phase or (),
            secure_boot=state,
        )
    parameters = {"attempts": attempts, "phases": phase or [], "authority": authority or []}
    notes = (
        "PCRs 0 to 3 and 5 are the firmware's and the disk's: record them on an approved first boot",
        "PCR 12 holds with no credentials, extensions, addons and command line beside the image's own",
    )
    document = values.document("tpm", found, _given(image, starter, *variables), parameters, notes)
    _write(document, out, sign_key)


def _digest(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise ConfigError(f"--authority: found {text!r}, allowed is a SHA-256 digest in hex")
    return value


@app.command("tdx")
def measure_tdx(
    firmware: Annotated[Path, typer.Option("--firmware", metavar="FILE", help="The TD's OVMF image (TDVF), whole.")],
    kernel: Kernel = None,
    initrd: Initrd = None,
    cmdline: Cmdline = None,
    uki: Annotated[
        Path | None,
        typer.Option("--uki", metavar="FILE", help="Unified kernel image that the firmware boots from disk."),
    ] = None,
    loader: Loader = None,
    gpt: Annotated[
        Path | None,
        typer.Option("--gpt", metavar="FILE", help="First 64 KiB of the boot disk, for its partition table."),
    ] = None,
    attempts: Attempts = 2,
    phase: Phase = None,
    out: Out = None,
    sign_key: SignKey = None,
) -> None:
    """MRTD for QEMU, and RTMR1 and RTMR2 of what the firmware boots. RTMR0 is judged by its event log."""
    image, started, ramdisk = _read("firmware", firmware), _read("kernel", kernel), _read("initrd", initrd)
    unified, starter, disk = _read("uki", uki), _read("loader", loader), _read("gpt", gpt)
    assert image is not None
    if started and unified:
        raise ConfigError("--kernel, --uki: one of them, not both")
    if (starter or disk) and not unified:
        raise ConfigError("--loader, --gpt: need --uki")
    boot = _boot(started, ramdisk, cmdline)
    with _naming(image, started, ramdisk, unified, starter, disk):
        parsed = ovmf.parse(image.data)
        found = {
            "mrtd": {
                "QEMU 9 and later": tdx.mrtd(parsed),
                "QEMU before 9 (two passes)": tdx.mrtd(parsed, two_pass=True),
            }
        }
        if boot:
            found |= tdx.direct(boot.kernel, ramdisk.data if ramdisk else None, boot.cmdline)
        if unified:
            found |= tdx.unified(
                unified.data,
                gpt=disk.data if disk else None,
                loader=starter.data if starter else None,
                attempts=attempts,
                phases=tuple(phase or ()),
            )
    parameters = {"cmdline": cmdline, "attempts": attempts, "phases": phase or []}
    notes = (
        "RTMR0 is not computed: it holds the memory map, variables and QEMU's ACPI tables; judge it by its event log",
        "MRTD was not compared with hardware; QEMU patches a kernel's setup header unless told not to",
    )
    inputs = _given(image, started, ramdisk, unified, starter, disk)
    _write(values.document("tdx", found, inputs, parameters, notes), out, sign_key)
