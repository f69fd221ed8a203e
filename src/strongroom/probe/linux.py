"""What Linux says of itself: CPU flags, devices, the boot command line, QEMU and memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import dropwhile, takewhile

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
_FOLDER = re.compile(r"[#$>] (?:sudo )?ls(?: -\w{1,6})?(?: (/[\w/.-]{1,200}?))/?(?: ?\|.*)?$")
_NAME = r"[A-Za-z][\w.-]{0,63}"
_NAMES = re.compile(rf"^{_NAME}(?:\s+{_NAME})*$")
_IN_FOLDER = re.compile(rf"^[bcdl-][rwxsStT-]{{9}}[.+]?\s+\d+ .*\s({_NAME})$")
_LS_DEV = re.compile(r"^([bc][rwxsStT-]{9})[.+]?\s+\d+\s+(\S{1,64})\s+(\S{1,64})\s+\d+,\s*\d+\s.*\s([\w-]{1,64})$")
# grep -r . /sys/module/kvm_amd/parameters, and a prompt at which a file was shown, whose next line is what is in it.
_GREPPED = re.compile(r"^(/sys/[\w./-]{1,200}):([^=]*)$")
_SHOWN = re.compile(r"[#$>] (?:sudo )?cat (/(?:sys|proc)/\S{1,200})$")
_COUNTED = re.compile(r"[#$>] (?:sudo )?(?:ls|find) (?:-\w{1,4} )?(/sys/kernel/iommu_groups)/? ?\| ?wc -l$")
_NVRM = ("NVRM version: ", "/proc/driver/nvidia/version")  # whose first line is like no other file's
_ABSENT = re.compile(r"\bcannot access '?(/[^\s':]{1,256})'?: No such file or directory")
_CONTENTS = re.compile(r"^(empty|unread): (/\S{1,256})$")
_QEMU = re.compile(r"QEMU emulator version (\d{1,3}(?:\.\d{1,4}){1,3})")
_CMDLINE = re.compile(r"\bcat /proc/cmdline\s*$")
_PROMPT = re.compile(r"^(?:\[\S{1,64}@\S{1,64} [^\]]{1,64}\][#$] |\S{1,64}@\S{1,64}[#$] |[#$] )")
_CONFIG = re.compile(r"(?:^|:)(CONFIG_[A-Z0-9_]{1,64})=(\S.{0,200})$|(?:^|:)# (CONFIG_[A-Z0-9_]{1,64}) is not set\b")
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
    """Files of sysfs and their values: ``path=value`` as the probe has them, or as people show them."""
    found: list[str] = []
    shown = None
    for line in map(str.strip, lines):
        if match := _SHOWN.search(line) or _COUNTED.search(line):
            shown = match[1]
            continue
        if match := _GREPPED.match(line):
            line = f"{match[1]}={match[2]}"
        elif line.startswith(_NVRM[0]):
            line = f"{_NVRM[1]}={line}"
        elif shown and not line.startswith("cat: "):
            line = f"{shown}={line}"
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
        elif re.fullmatch(r"[a-z][a-z0-9_]{1,40}", line.strip()):
            bare.append(line.strip())
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
        flags_whole=listed is not None,
        bugs=frozenset(found.get("bugs", "").split()),
        microcode=frozenset(microcode),
        facilities=None if facilities is None else frozenset(facilities.split()),
        machine_type=of_first[1] if of_first else found.get("machine type"),
        # A partition of the machine itself is what metal is elsewhere.
        hypervisor=None if found.get("hypervisor", "").startswith(_PARTITION) else found.get("hypervisor vendor"),
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
        if match := _FOLDER.search(line):
            folder = match[1]
        elif _PROMPT.match(line):
            folder = None
        elif match := _LS.match(line.strip()):
            found[match[4]] = Node(match[1], match[2], match[3])
        elif match := _LS_DEV.match(line.strip()):
            found[f"/dev/{match[4]}"] = Node(match[1], match[2], match[3])
        elif all(word.startswith("/dev/") for word in line.split()):
            # A terminal gets them side by side.
            found.update({word: Node() for word in line.split() if word not in found})
        elif folder and (match := _IN_FOLDER.match(line.rstrip())):
            found.setdefault(f"{folder}/{match[1]}", Node())
        elif folder and _NAMES.match(line.rstrip()) and not line.startswith("total "):
            found.update({path: Node() for word in line.split() if (path := f"{folder}/{word}") not in found})
    return found


def contents(lines: Sequence[str]) -> dict[str, str]:
    """Files of which the probe says that they are ``empty``, or ``unread``: that it could not look."""
    return {match[2]: match[1] for line in lines if (match := _CONTENTS.match(line))}


def absent(lines: Sequence[str]) -> frozenset[str]:
    """Paths that ``ls`` was asked for and did not find; a pattern that the shell found nothing for stays one."""
    return frozenset(match[1] for line in lines if (match := _ABSENT.search(line)))


def qemu(lines: Sequence[str]) -> Qemu:
    """``--version`` and ``-object help``, one after the other."""
    versions = [match[1] for line in lines if (match := _QEMU.search(line))]
    objects = frozenset(match[1] for line in lines if (match := _OBJECT.match(line)))
    return Qemu(version(versions[0]) if versions else None, objects)


def kconfig(lines: Sequence[str]) -> dict[str, str]:
    """Options of the kernel's configuration, with the file's name before them or not; ``n`` where it says that one is not
    set."""
    found = (match for line in lines if (match := _CONFIG.search(line.strip())))
    return {match[1] or match[3]: match[2] or "n" for match in found}


def command_line(lines: Sequence[str], *, whole: bool) -> CommandLine:
    """One line, which a paste may have folded or put below its command, split at blanks outside of double quotes."""
    below = next((place for place, line in enumerate(lines, 1) if _CMDLINE.search(line)), 0)
    shown = dropwhile(_PROMPT.match, lines[below:])
    text = " ".join(takewhile(lambda line: not _PROMPT.match(line), shown))
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
