"""Readers that several platforms share: bits of registers, module parameters, versions as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from strongroom.checks.verdict import Finding, failed, passed, unknown
from strongroom.probe.report import HostReport
from strongroom.probe.text import truth


def msr_bits(report: HostReport, number: int, wanted: Mapping[int, str]) -> Finding:
    """Whether these bits, by position and name, are set in a register on every CPU."""
    register = report.msr.get(number)
    clear = [name for position, name in wanted.items() if 0 in report.msr.seen(number, position, position)]
    if clear:
        return failed(
            f"{', '.join(clear)} clear" + (f": MSR {number:x} is {register}" if register else f" in MSR {number:x}")
        )
    if register is None:
        return unknown(f"MSR {number:x}: {report.section('msr').why}")
    if not register.whole:
        return unknown(f"MSR {number:x} was not read on every CPU")
    return passed(f"MSR {number:x} is {register}")


def msr_value(report: HostReport, number: int) -> int | Finding:
    """A register that has the same value on every CPU, or the finding that it has not or was not read."""
    register = report.msr.get(number)
    if register is None:
        return unknown(f"MSR {number:x}: {report.section('msr').why}")
    if len({value for value, _ in register.values}) > 1:
        return failed(f"CPUs differ: MSR {number:x} is {register}", "differ")
    value = register.uniform
    return unknown(f"MSR {number:x} was not read on every CPU") if value is None else value


def parameters(report: HostReport, module: str, names: Sequence[str]) -> dict[str, bool | None]:
    """Yes-or-no parameters of a loaded module by name; None where one was not read."""
    return {name: truth(report.sysfs.get(f"/sys/module/{module}/parameters/{name}")) for name in names}


def parameters_on(report: HostReport, module: str, names: Sequence[str]) -> Finding:
    """Whether all of these parameters are on."""
    values = parameters(report, module, names)
    off = [f"{module}.{name}=N" for name in names if values[name] is False]
    if off:
        return failed(", ".join(off))
    missing = [name for name in names if values[name] is None]
    if not missing:
        return passed(", ".join(f"{module}.{name}=Y" for name in names))
    if report.section("modules").complete and module not in report.modules:
        return failed(f"{module} is not loaded")
    return unknown(f"{module}: {', '.join(missing)}: {report.section('sysfs').why}")


def dotted(version: Sequence[int]) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))


def first(*answers: bool | None) -> bool | None:
    """The first answer that was given: sources are named in the order of their weight."""
    return next((answer for answer in answers if answer is not None), None)
