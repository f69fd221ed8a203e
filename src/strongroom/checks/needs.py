"""What the wanted cluster takes of a host: the checks whose wanted side is the inventory's and the bundle's."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.checks.verdict import CheckResult, CheckVerdict
from strongroom.probe.report import HostReport

# A kubelet needs these in the cgroup v2 hierarchy (Kubernetes, "About cgroup v2").
CONTROLLERS = frozenset({"cpu", "cpuset", "memory", "pids"})
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Needs:
    """What this host has to offer: architecture, MiB of memory and of free disk by path, ports by their user.

    ``arch`` is None where it is not known which one is wanted.
    """

    arch: str | None
    memory: int
    free: dict[str, int]
    ports: dict[int, str]


def judge(report: HostReport, needs: Needs) -> list[CheckResult]:
    """All of them, in the order an operator reads them."""
    return [
        *([_arch(report, needs.arch)] if needs.arch else []),
        _root(report),
        _cgroups(report),
        _memory(report, needs),
        *(_disk(report, path, needs.free[path]) for path in sorted(needs.free)),
        *(_port(report, port, needs.ports[port]) for port in sorted(needs.ports)),
    ]


def _arch(report: HostReport, arch: str) -> CheckResult:
    wanted = f"{arch}, as the bundle"
    if report.machine is None:
        return CheckResult("HOST-ARCH", CheckVerdict.UNKNOWN, "not probed", wanted)
    found = ARCHITECTURES.get(report.machine, report.machine)
    verdict = CheckVerdict.PASS if found == arch else CheckVerdict.FAIL
    return CheckResult("HOST-ARCH", verdict, found, wanted, f"use a bundle for {found}")


def _root(report: HostReport) -> CheckResult:
    if report.root is None:
        return CheckResult("HOST-ROOT", CheckVerdict.UNKNOWN, "not probed", "root")
    verdict = CheckVerdict.PASS if report.root else CheckVerdict.FAIL
    remedy = "connect as root, or set _sudo: True in the host's data and allow sudo without a password"
    return CheckResult("HOST-ROOT", verdict, "root" if report.root else "another user", "root", remedy)


def _cgroups(report: HostReport) -> CheckResult:
    wanted = "cgroup v2 with " + ", ".join(sorted(CONTROLLERS))
    if report.cgroup_controllers is None:
        return CheckResult("HOST-CGROUP2", CheckVerdict.UNKNOWN, "not probed", wanted)
    missing = CONTROLLERS - report.cgroup_controllers
    seen = "without " + ", ".join(sorted(missing)) if missing else "all there"
    remedy = "boot with systemd.unified_cgroup_hierarchy=1 and without cgroup_disable"
    return CheckResult("HOST-CGROUP2", CheckVerdict.FAIL if missing else CheckVerdict.PASS, seen, wanted, remedy)


def _memory(report: HostReport, needs: Needs) -> CheckResult:
    wanted = f"{needs.memory} MiB"
    if report.memory is None:
        return CheckResult("HOST-MEMORY", CheckVerdict.UNKNOWN, "not probed", wanted)
    verdict = CheckVerdict.PASS if report.memory >= needs.memory else CheckVerdict.FAIL
    return CheckResult("HOST-MEMORY", verdict, f"{report.memory} MiB", wanted, "give the host more memory")


def _disk(report: HostReport, path: str, needed: int) -> CheckResult:
    wanted = f"{needed} MiB free below {path}"
    if path not in report.free:
        return CheckResult("HOST-DISK", CheckVerdict.UNKNOWN, f"{path}: not probed", wanted)
    verdict = CheckVerdict.PASS if report.free[path] >= needed else CheckVerdict.FAIL
    return CheckResult(
        "HOST-DISK", verdict, f"{report.free[path]} MiB free below {path}", wanted, f"make room below {path}"
    )


def _port(report: HostReport, port: int, user: str) -> CheckResult:
    wanted = f"port {port} free for {user}"
    if report.listeners is None:
        return CheckResult("HOST-PORT", CheckVerdict.UNKNOWN, "not probed", wanted)
    holder = next((listener.program for listener in report.listeners if listener.port == port), None)
    if holder is None or holder == user:
        return CheckResult(
            "HOST-PORT", CheckVerdict.PASS, f"port {port} " + ("free" if holder is None else f"is {user}'s"), wanted
        )
    return CheckResult(
        "HOST-PORT",
        CheckVerdict.FAIL,
        f"port {port} is in use by {holder}",
        wanted,
        f"stop {holder}, or move it to another port",
    )
