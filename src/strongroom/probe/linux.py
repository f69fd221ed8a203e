"""What Linux says of itself: CPU flags, devices, the boot command line, QEMU and memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from strongroom.probe import paste
from strongroom.probe.text import assignments, number, version

_RELEASE = re.compile(r"\d{1,3}\.\d\S{0,120}")
_MACHINE = re.compile(r"[a-z][a-z0-9_]{2,15}")
_SYSTEMS = ("GNU/Linux", "Linux", "unknown")  # what uname -a prints behind the machine
_FOLDED = re.compile(r"[a-z0-9_\s]{1,512}")
_ARM = frozenset(
    ("ARM", "Ampere", "Apple", "Cavium", "FUJITSU", "HiSilicon", "Marvell", "NVIDIA", "Phytium", "Qualcomm")
)
_COUNT = re.compile(r"^\s*\d{1,5} (?=[a-z])")  # of uniq -c, which people have count the lines of many CPUs
_MACHINE_TYPE = re.compile(r"\bmachine = ([0-9A-F]{4})\b")  # of s390's "processor 0: version = FF, ..."
_PARTITION = "PR/SM"
_LS = re.compile(r"^([bcdl-][rwxsStT-]{9})[.+]?\s+\d+\s+(\S{1,64})\s+(\S{1,64})\s+.*?(/\S{1,256})(?: -> .*)?$")
# ls -l /dev, whose lines have no path; by its numbers a device file is told from what other folders have.
_FOLDER = re.compile(r"^ls(?: -\w{1,6})? (/[\w/.-]{1,200}?)/?(?: ?\|.*)?$")
_NAME = r"[A-Za-z][\w.-]{0,63}"
_NAMES = re.compile(rf"^{_NAME}(?:\s+{_NAME})*$")
_IN_FOLDER = re.compile(rf"^[bcdl-][rwxsStT-]{{9}}[.+]?\s+\d+ .*\s({_NAME})$")
_LS_DEV = re.compile(r"^([bc][rwxsStT-]{9})[.+]?\s+\d+\s+(\S{1,64})\s+(\S{1,64})\s+\d+,\s*\d+\s.*\s([\w-]{1,64})$")
# grep -r . /sys/module/kvm_amd/parameters, and a prompt at which a file was shown, whose next line is what is in it.
_GREPPED = re.compile(r"^(/sys/[\w./-]{1,200}):([^=]*)$")
# A command that shows a file, or counts a folder: what it prints is that path's.
_SHOWN = re.compile(
    r"^cat (/(?:sys|proc)/\S{1,200})$|^(?:ls|find) (?:-\w{1,4} )?(/sys/kernel/iommu_groups)/? ?\| ?wc -l$"
)
_NVRM = ("NVRM version: ", "/proc/driver/nvidia/version")  # whose first line is like no other file's
# A report of configfs, counted: wc -c of it, or behind a pipe.
_COUNTED = re.compile(r"^(\d{1,9}) (/sys/\S{1,200}/outblob)$")
_PIPED = re.compile(r"\bcat (/sys/\S{1,200}/outblob) ?\| ?wc -c$")
# A line of the quote library's configuration: JSON since DCAP 1.11, PCCS_URL= before.
_PCCS_URL = re.compile(r'^(?:"pccs_url" *: *"|PCCS_URL=)(https?://[^",\s]{1,200})')
_DEVICES = ("sgx_enclave", "sgx_provision", "sgx_vepc", "isgx", "sev", "sev-guest", "tdx_guest", "tpm0", "tpmrm0")
# In the words of GNU's ls (which differ by its age and the locale), of busybox's and of others.
_ABSENT = re.compile(
    r"\b(?:ls|stat): [^/]{0,40}?(/[^\s:'\"\u2018\u2019]{1,256})['\"\u2018\u2019]?(?: [^/:]{1,20})?: {0,2}"
    r"(?:No such file or directory|没有那个文件或目录|Datei oder Verzeichnis nicht gefunden|Aucun fichier ou dossier de ce type)"
)
_CONTENTS = re.compile(r"^(empty|unread): (/\S{1,256})$")
_FLAG = re.compile(r"^\s*([a-z][a-z0-9_]{1,40})\s*$")  # grep -o
_TDX = re.compile(r"^(CPU supports TDX|No TDX support in CPU) according to /proc/cpuinfo$")
_QEMU = re.compile(r"QEMU emulator version (\d{1,3}(?:\.\d{1,4}){1,3})")
_OBJECT = re.compile(r"^\s{1,4}([a-z][a-z0-9-]{1,60})\s*$")


@dataclass(frozen=True)
class Cpu:
    """``/proc/cpuinfo`` or ``lscpu``. ``flags`` are those seen; ``flags_whole`` is whether the list is all of them.
    ``machine_type`` is s390's, ``hypervisor`` the vendor of the one below."""

    vendor: str | None = None
    architecture: str | None = None
    name: str | None = None
    family: int | None = None
    model: int | None = None
    processors: int | None = None
    flags: frozenset[str] | None = None
    flags_whole: bool = False
    bugs: frozenset[str] = frozenset()
    microcode: frozenset[str] = frozenset()
    facilities: frozenset[str] | None = None
    machine_type: str | None = None
    hypervisor: str | None = None
    tdx: bool | None = None
    """Whether the flags have TDX, where only canonical/tdx's system-report.sh says so."""


@dataclass(frozen=True)
class Node:
    """A device file: permissions as ``ls -l`` prints them (None where only its name was listed), owner and group."""

    mode: str | None = None
    owner: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Qemu:
    """The distribution's QEMU: version (None: no QEMU) and the objects it can make."""

    version: tuple[int, ...] | None = None
    objects: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CommandLine:
    """Options of the running kernel, in order; ``whole`` is whether all of them are here."""

    options: tuple[tuple[str, str | None], ...] = ()
    present: bool = False
    whole: bool = False

    def get(self, name: str) -> str | None:
        """The last value of an option; an option without a value is an empty string, one that is not there None."""
        values = [value or "" for key, value in self.options if key == name]
        return values[-1] if values else None


def uname(lines: Sequence[str]) -> tuple[str | None, str | None]:
    """Kernel and machine of ``uname -srm``, or as people paste it: ``-a`` has the host's name before the kernel and a date
    behind it, ``-rvpio`` no name, ``-r`` nothing else."""
    for line in lines:
        words = line.split()
        place = next((place for place, word in enumerate(words) if _RELEASE.fullmatch(word)), None)
        if place is None:
            continue
        last = next((word for word in reversed(words[place + 1 :]) if word not in _SYSTEMS), "")
        return words[place], last if _MACHINE.fullmatch(last) else None
    return None, None


def sysfs(lines: Sequence[str]) -> dict[str, str]:
    """Files of sysfs and their values: ``path=value`` as the probe has them, or as people show them. Of a report that was asked
    for only the size counts: none where the next prompt follows."""
    found: list[str] = []
    shown = None
    for line in map(str.strip, lines):
        if shown and shown.endswith("/outblob"):
            found += [f"{shown}_bytes=0"] if paste.PROMPT.match(line) else []
            shown = None
        if match := _PCCS_URL.match(line):
            line = f"/etc/sgx_default_qcnl.conf:pccs_url={match[1]}"
        elif match := _COUNTED.match(line):
            line = f"{match[2]}_bytes={match[1]}"
        elif match := _PIPED.search(line):
            shown = f"{match[1]}_bytes"
            continue
        elif match := _SHOWN.match(paste.command(line) or ""):
            shown = match[1] or match[2]
            continue
        elif match := _GREPPED.match(line):
            line = f"{match[1]}={match[2]}"
        elif line.startswith(_NVRM[0]):
            line = f"{_NVRM[1]}={line}"
        elif shown and not line.startswith("cat: "):
            line = f"{shown}={line.removeprefix('# ')}"  # a guide has what is printed as a comment
        shown = None
        found.append(line)
    return assignments(found)


def cpu(lines: Sequence[str]) -> Cpu:
    """From cpuinfo (x86, Arm, s390), lscpu, or a bare list of flags as ``grep -o`` prints them."""
    found: dict[str, str] = {}
    microcode: list[str] = []
    bare: list[str] = []
    folded = ""
    for line in (_COUNT.sub("", line) for line in lines):
        key, mark, value = line.partition(":")
        if not mark and folded and _FOLDED.fullmatch(line):
            found[folded] = _unfold(found[folded], line.strip())
        elif mark:
            name = key.strip().lower()
            folded = name if name in ("flags", "facilities") and name not in found else ""
            found.setdefault(name, value.strip())
            if key.strip() == "microcode":
                microcode.append(value.strip())
        elif match := _FLAG.match(line):
            bare.append(match[1])
    listed = found.get("flags") or found.get("features")
    flags = frozenset(listed.split()) if listed is not None else frozenset(bare) if bare else None
    facilities = found.get("facilities")
    of_first = _MACHINE_TYPE.search(found.get("processor 0", ""))
    vendor = found.get("vendor_id") or found.get("vendor id")
    return Cpu(
        vendor=vendor,
        # cpuinfo has no word for it, and lscpu's vendors of Arm CPUs make no others.
        architecture=found.get("architecture") or ("aarch64" if "cpu implementer" in found or vendor in _ARM else None),
        name=found.get("model name"),
        family=number(found.get("cpu family")),
        model=number(found.get("model")),
        processors=number(found.get("processors")) or number(found.get("cpu(s)")),
        flags=flags,
        # A list that somebody cut begins later (fpu is x86's first flag, fp is Arm's) or has dots where something was.
        flags_whole=listed is not None and listed.startswith("fp") and not re.search(r"\.\.\.|…", listed),
        bugs=frozenset(found.get("bugs", "").split()),
        microcode=frozenset(microcode),
        facilities=None if facilities is None else frozenset(facilities.split()),
        machine_type=of_first[1] if of_first else found.get("machine type"),
        # A partition of the machine itself is what metal is elsewhere.
        hypervisor=None if found.get("hypervisor", "").startswith(_PARTITION) else found.get("hypervisor vendor"),
        tdx=next((match[1] == "CPU supports TDX" for line in lines if (match := _TDX.match(line.strip()))), None),
    )


def _unfold(text: str, more: str) -> str:
    """lscpu folds the flags at the terminal's width, and a terminal what is longer than it, in the middle of a word or not:
    both readings are kept."""
    return f"{text} {text.rpartition(' ')[2]}{more.partition(' ')[0]} {more}"


def devices(lines: Sequence[str]) -> dict[str, Node]:
    """Device files by path, from ``ls -l`` of files or of /dev, or from a list of paths. Names below the command that lists a
    folder are that folder's."""
    found: dict[str, Node] = {}
    folder = None
    for line in lines:
        if match := _FOLDER.match(paste.command(line) or ""):
            folder = match[1]
        elif paste.PROMPT.match(line):
            folder = None
        elif match := _LS.match(line.strip()):
            found[match[4]] = Node(match[1], match[2], match[3])
        elif match := _LS_DEV.match(line.strip()):
            found[f"/dev/{match[4]}"] = Node(match[1], match[2], match[3])
        elif all(word.startswith("/dev/") for word in line.split()):
            # A terminal gets them side by side.
            found.update({word: Node() for word in line.split() if word not in found})
        elif line.strip() in _DEVICES:
            found.setdefault(f"{folder or '/dev'}/{line.strip()}", Node())  # ls /dev | grep sgx
        elif folder and (match := _IN_FOLDER.match(line.rstrip())):
            found.setdefault(f"{folder}/{match[1]}", Node())
        elif folder and _NAMES.match(line.rstrip()) and not line.startswith("total "):
            found.update({path: Node() for word in line.split() if (path := f"{folder}/{word}") not in found})
    return found


def contents(lines: Sequence[str]) -> dict[str, str]:
    """Files of which the probe says that they are ``empty``, or ``unread``: that it could not look."""
    return {match[2]: match[1] for line in lines if (match := _CONTENTS.match(line))}


def absent(lines: Sequence[str]) -> frozenset[str]:
    """Paths that ``ls`` was asked for and did not find; a pattern that the shell found nothing for stays one. Names of SGX's
    devices without a path are all that ``ls /dev | grep sgx`` found."""
    missed = {match[1] for line in lines if (match := _ABSENT.search(line))}
    names = {line.strip() for line in lines}
    if len(names & {"sgx_provision", "sgx_vepc", "sgx_enclave"}) > 1:  # one alone may be all that grep was asked for
        missed |= {f"/dev/{name}" for name in ("sgx_enclave", "sgx_provision") if name not in names}
    return frozenset(missed)


def qemu(lines: Sequence[str]) -> Qemu:
    """``--version`` and ``-object help``, one after the other."""
    versions = [match[1] for line in lines if (match := _QEMU.search(line))]
    objects = frozenset(match[1] for line in lines if (match := _OBJECT.match(line)))
    return Qemu(version(versions[0]) if versions else None, objects)


def command_line(lines: Sequence[str], *, whole: bool) -> CommandLine:
    """Its words, split at blanks outside of double quotes."""
    text = paste.options(lines)
    options = []
    for word in re.findall(r'(?:[^\s"]|"[^"]*")+', text[:8192]):
        key, mark, value = word.replace('"', "").partition("=")
        options.append((key, value if mark else None))
    return CommandLine(tuple(options), bool(text), whole)


@dataclass(frozen=True)
class Memory:
    """Ranges of RAM, in bytes; ``top`` is the end of the highest."""

    top: int | None = None
    ranges: tuple[tuple[int, int], ...] = field(default_factory=tuple)


def memory(lines: Sequence[str]) -> Memory:
    """``System RAM`` of /proc/iomem; an unprivileged reader gets zeros, which say nothing."""
    found = []
    for line in lines:
        if match := re.match(r"^\s*([0-9a-f]{1,16})-([0-9a-f]{1,16}) : System RAM\b", line):
            start, end = int(match[1], 16), int(match[2], 16)
            if end > start:
                found.append((start, end))
    return Memory(max((end + 1 for _, end in found), default=None), tuple(found))
