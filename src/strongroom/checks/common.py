"""Checks that every host has to pass, whatever its platform."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.checks.verdict import CheckResult, Outcome
from strongroom.probe.report import HostReport

# A kubelet needs these in the cgroup v2 hierarchy (Kubernetes, "About cgroup v2").
CONTROLLERS = frozenset({"cpu", "cpuset", "memory", "pids"})
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Needs:
    """What this host has to offer: architecture, MiB of memory and of free disk by path, ports by their user."""

    arch: str
    memory: int
    free: dict[str, int]
    ports: dict[int, str]


def judge(report: HostReport, needs: Needs) -> list[CheckResult]:
    """All common checks, in the order an operator reads them."""
    return [
        _arch(report, needs),
        _root(report),
        _cgroups(report),
        _memory(report, needs),
        *(_disk(report, path, needs.free[path]) for path in sorted(needs.free)),
        *(_port(report, port, needs.ports[port]) for port in sorted(needs.ports)),
    ]


def _arch(report: HostReport, needs: Needs) -> CheckResult:
    wanted = f"{needs.arch}, as the bundle"
    if report.machine is None:
        return CheckResult("HOST-ARCH", Outcome.UNKNOWN, "not probed", wanted)
    found = ARCHITECTURES.get(report.machine, report.machine)
    outcome = Outcome.PASS if found == needs.arch else Outcome.FAIL
    return CheckResult("HOST-ARCH", outcome, found, wanted, f"use a bundle for {found}")


def _root(report: HostReport) -> CheckResult:
    if report.root is None:
        return CheckResult("HOST-ROOT", Outcome.UNKNOWN, "not probed", "root")
    outcome = Outcome.PASS if report.root else Outcome.FAIL
    remedy = "connect as root, or set _sudo: True in the host's data and allow sudo without a password"
    return CheckResult("HOST-ROOT", outcome, "root" if report.root else "another user", "root", remedy)


def _cgroups(report: HostReport) -> CheckResult:
    wanted = "cgroup v2 with " + ", ".join(sorted(CONTROLLERS))
    if report.cgroup_controllers is None:
        return CheckResult("HOST-CGROUP2", Outcome.UNKNOWN, "not probed", wanted)
    missing = CONTROLLERS - report.cgroup_controllers
    seen = "without " + ", ".join(sorted(missing)) if missing else "all there"
    remedy = "boot with systemd.unified_cgroup_hierarchy=1 and without cgroup_disable"
    return CheckResult("HOST-CGROUP2", Outcome.FAIL if missing else Outcome.PASS, seen, wanted, remedy)


def _memory(report: HostReport, needs: Needs) -> CheckResult:
    wanted = f"{needs.memory} MiB"
    if report.memory is None:
        return CheckResult("HOST-MEMORY", Outcome.UNKNOWN, "not probed", wanted)
    outcome = Outcome.PASS if report.memory >= needs.memory else Outcome.FAIL
    return CheckResult("HOST-MEMORY", outcome, f"{report.memory} MiB", wanted, "give the host more memory")


def _disk(report: HostReport, path: str, needed: int) -> CheckResult:
    wanted = f"{needed} MiB free below {path}"
    if path not in report.free:
        return CheckResult("HOST-DISK", Outcome.UNKNOWN, f"{path}: not probed", wanted)
    outcome = Outcome.PASS if report.free[path] >= needed else Outcome.FAIL
    return CheckResult(
        "HOST-DISK", outcome, f"{report.free[path]} MiB free below {path}", wanted, f"make room below {path}"
    )


def _port(report: HostReport, port: int, user: str) -> CheckResult:
    wanted = f"port {port} free for {user}"
    if report.listeners is None:
        return CheckResult("HOST-PORT", Outcome.UNKNOWN, "not probed", wanted)
    holder = next((listener.program for listener in report.listeners if listener.port == port), None)
    if holder is None or holder == user:
        return CheckResult(
            "HOST-PORT", Outcome.PASS, f"port {port} " + ("free" if holder is None else f"is {user}'s"), wanted
        )
    return CheckResult(
        "HOST-PORT",
        Outcome.FAIL,
        f"port {port} is in use by {holder}",
        wanted,
        f"stop {holder}, or move it to another port",
    )
