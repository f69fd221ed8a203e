"""The kernel and what runs guests on it: version, configuration, command line, cgroups, QEMU and guest firmware."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache

from strongroom.checks.evidence import dotted
from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, noted, passed, unknown, warned
from strongroom.model.checks import Check
from strongroom.probe.linux import CommandLine
from strongroom.probe.report import HostReport
from strongroom.probe.text import number, truth, version

CAPACITY = "/sys/fs/cgroup/misc.capacity"


def _words(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, tuple) else ()


def _floor(check: Check, vendor: str) -> tuple[int, ...]:
    value = check.table("floors").get(vendor)
    return tuple(part for part in value if isinstance(part, int)) if isinstance(value, tuple) else ()


@judges("C-KVER")
def kernel_version(report: HostReport, check: Check) -> Finding:
    """A hint, not proof: distributions backport, so a release that says so is left to the other checks."""
    if report.kernel is None:
        return unknown(report.section("uname").why)
    floor = _floor(check, report.vendor or "")
    if not floor:
        return noted(report.kernel)
    if any(word in report.kernel for word in check.words("backports")):
        return passed(f"{report.kernel}, a release with backports")
    return (
        passed(report.kernel) if version(report.kernel) >= floor else warned(f"{report.kernel}, before {dotted(floor)}")
    )


@judges("C-KCONF")
def kernel_config(report: HostReport, check: Check) -> Finding:
    """Options that are ``n`` or not there; a part of the file proves only what it has."""
    wanted = _words(check.table("options").get(report.vendor or "", ()))
    section = report.section("kconfig")
    if not wanted:
        return noted(f"nothing asked of {report.vendor or 'an unknown CPU'}")
    if not report.kconfig:
        return unknown(section.why)
    missing = [name for name in wanted if report.kconfig.get(name, "n") not in ("y", "m")]
    sure = [name for name in missing if section.complete or name in report.kconfig]
    if sure:
        return failed(f"without {', '.join(sure)}")
    return unknown(section.why) if missing else passed(f"{len(wanted)} options set")


@judges("C-CMDLINE")
def command_line(report: HostReport, check: Check) -> Finding:
    """Options that the kernel ignores silently: a module's name or a parameter mistyped, a parameter of another module."""
    line = report.command_line
    if not line.present:
        return unknown(report.section("cmdline").why)
    modules = {name: _words(names) for name, names in check.table("options").items()}
    for key, _ in line.options:
        if right := mistyped(key, modules):
            return failed(f"{key} is no option; {right} is")
    for name in check.words("once"):
        values = dict.fromkeys(value for key, value in line.options if key.replace("-", "_") == name)
        # Some take several values in several places; only yes against no is a contradiction.
        if len({truth(value) for value in values if truth(value) is not None}) > 1:
            return failed(f"{name} is given as {' and as '.join(map(str, values))}", "contradiction")
    stray = _stray(report, line, check)
    return warned(f"no module of these options is loaded: {', '.join(stray)}") if stray else passed("no such option")


_closest = lru_cache(1024)(get_close_matches)  # hosts of a rack have the same options


def mistyped(key: str, modules: Mapping[str, tuple[str, ...]]) -> str | None:
    """What ``module.parameter`` should have been, when it is nearly one of these or a parameter of another of them."""
    module, dot, parameter = key.replace("-", "_").partition(".")
    if not dot:
        return None
    owner = next((name for name, names in modules.items() if parameter in names), None)
    if owner is not None:
        return None if module == owner else f"{owner}.{parameter}"
    near = module if module in modules else next(iter(_closest(module, tuple(modules), 1, 0.8)), None)
    close = _closest(parameter, modules[near], 1, 0.75) if near else []
    return f"{near}.{close[0]}" if close else None


def _stray(report: HostReport, line: CommandLine, check: Check) -> list[str]:
    if not report.section("modules").complete:
        return []
    known = {*report.modules, *check.words("userspace")}
    names = [(key, key.replace("-", "_").partition(".")) for key, value in line.options if value is not None]
    return [key for key, (module, dot, parameter) in names if dot and parameter and module not in known]


@judges("C-QEMU")
def qemu(report: HostReport, check: Check) -> Finding:
    """By the objects that QEMU can make: an older one lacks them on the best of hosts."""
    section = report.section("qemu")
    wanted = str(check.table("objects").get(report.vendor or "", ""))
    if report.qemu.version is None:
        return noted("no QEMU of the host's own") if section.complete else unknown(section.why)
    seen = f"QEMU {dotted(report.qemu.version)}"
    if not wanted:
        return noted(seen)
    if wanted not in report.qemu.objects:
        return warned(f"{seen} without {wanted}") if section.complete else unknown(section.why)
    floor = _floor(check, report.vendor or "")
    return (
        passed(f"{seen} with {wanted}") if report.qemu.version >= floor else warned(f"{seen}, before {dotted(floor)}")
    )


@judges("C-OVMF")
def guest_firmware(report: HostReport, check: Check) -> Finding:
    """By the files' names."""
    section = report.section("firmware-files")
    wanted = _words(check.table("files").get(report.vendor or "", ()))
    if not wanted:
        return noted("nothing asked of this CPU")
    found = sorted(path for path in report.firmware_files if any(word in path.lower() for word in wanted))
    if found:
        return passed(found[0])
    return warned("none of the known files") if section.complete else unknown(section.why)


@judges("C-CAP")
def capacity(report: HostReport, check: Check) -> Finding:
    """Names are compared whole: ``sev`` is the beginning of ``sev_es`` too. The kernel leaves out what is zero."""
    text = report.sysfs.get(CAPACITY)
    wanted = _words(check.table("kinds").get(report.vendor or "", ()))
    if not wanted:
        return noted("nothing asked of this CPU")
    if text is None:
        section = report.section("sysfs")
        return noted("the kernel counts none") if section.complete else unknown(section.why)
    found = {name: number(count) or 0 for name, _, count in (line.partition(" ") for line in text.splitlines())}
    if not any(name in found for name in wanted):
        return noted("the kernel counts none of these")
    missing = [name for name in wanted if not found.get(name)]
    if missing and set(missing) - set(found) and not report.section("sysfs").complete:
        return unknown(report.section("sysfs").why)
    seen = ", ".join(f"{name} {found.get(name, 0)}" for name in wanted)
    return failed(seen) if missing else passed(seen)
