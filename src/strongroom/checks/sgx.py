"""Intel SGX: CPUID, IA32_FEATURE_CONTROL, the kernel's enclave memory and the device files."""

from __future__ import annotations

import re

from strongroom.checks.evidence import first, msr_bits, msr_value, parameters_on
from strongroom.checks.registry import judges
from strongroom.checks.verdict import CheckVerdict, Finding, failed, noted, passed, unknown, warned
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport
from strongroom.probe.text import bit

FEATURE_CONTROL, DEBUG_MODE = 0x3A, 0x503
_CONTROL_BITS = {0: "lock", 17: "launch control", 18: "SGX"}
LEAF = 0x12
_FIRST_SECTION, _LAST_SECTION = 2, 64

# The DCAP driver, for kernels before 5.11, says intel_sgx where the kernel's own says sgx; linux-sgx-driver has words of its own.
EPC_SECTION = re.compile(r"\b(?:intel_)?sgx: EPC section 0x[0-9a-f]{1,16}-0x[0-9a-f]{1,16}")
DISABLED = re.compile(
    r"\bSGX disabled(?: or unsupported)? by BIOS\.?"
    r"|\bintel_sgx: (?:SGX is not enabled|the feature control MSR is not locked|the CPU is missing SGX)\b",
    re.IGNORECASE,
)
# feat_ctl.c; the driver of 6.15 and newer, after it set up enclave memory; the out-of-tree drivers.
LOCKED = re.compile(
    r"\bSGX Launch Control is locked\..*|\bSGX disabled: SGX launch control .*not available.*"
    r"|\b(?:intel_)?sgx: The (?:launch control|public key) MSRs are not writable.*"
)
NO_SGX1 = re.compile(
    r"\bSGX disabled: SGX1 instruction support not available.*|\bintel_sgx: CPU does not support the SGX1 instructions"
)
NO_EPC = re.compile(r"\b(?:intel_)?sgx: There are zero EPC sections")
DEVICES = ("/dev/sgx_enclave", "/dev/sgx_provision")
DEV_MOUNT = "mount:/dev"


def enclave_memory(report: HostReport) -> int | None:
    """Bytes of enclave memory by CPUID leaf 0x12 (sub-leaves 2 and on), or by a tool; None where neither was read."""
    if report.cpuid.leaf(LEAF, _FIRST_SECTION) is None:
        return report.sgx.epc
    total = 0
    for sub in range(_FIRST_SECTION, _LAST_SECTION):
        leaf = report.cpuid.leaf(LEAF, sub)
        if leaf is None or leaf.eax & 0xF != 1:
            break
        total += (leaf.ecx & 0xFFFFF000) | (leaf.edx & 0xFFFFF) << 32
    return total


@judges("SGX-CPUID")
def cpuid(report: HostReport, check: Check) -> Finding:
    """SGX and launch control. A clear bit is a CPU without it or a BIOS that hides it; software cannot tell which."""
    leaf = report.cpuid.leaf(7)
    if report.cpuid.beyond(7):
        return failed("the CPU has no leaf 7")
    flags = report.processor.flags or frozenset()
    supported = first(
        bit(leaf.ebx, 2) if leaf else None,
        report.cpuid.says("SGX: Software Guard Extensions"),
        report.sgx.supported,
        True if "sgx" in flags else None,
    )
    launch = first(
        bit(leaf.ecx, 30) if leaf else None,
        report.cpuid.says("SGX_LC: SGX launch config"),
        report.sgx.launch_control,
        True if "sgx_lc" in flags else None,
    )
    if supported is False:
        return failed("no SGX")
    if launch is False:
        return failed("SGX without launch control", "launch")
    if supported is None or launch is None:
        return unknown(report.section("cpuid").why)
    return passed("SGX and launch control")


@judges("SGX-LEAF12")
def capabilities(report: HostReport, check: Check) -> Finding:
    """All zeros under a set feature bit is a CPU that could and a BIOS that does not."""
    leaf = report.cpuid.leaf(LEAF)
    if report.cpuid.beyond(LEAF):
        return failed("the CPU has no leaf 12")
    sgx1 = first(bit(leaf.eax, 0) if leaf else None, report.cpuid.says("SGX1 supported"), report.sgx.sgx1)
    if sgx1 is False:
        return failed("SGX1 is off in leaf 12")
    memory = enclave_memory(report)
    if sgx1 is None or memory is None:
        return unknown(f"enclave memory: {report.section('cpuid').why}" if sgx1 else report.section("cpuid").why)
    seen = f"SGX1, {memory >> 20} MiB of enclave memory"
    return passed(seen) if memory else failed(seen)


@judges("SGX-FC")
def feature_control(report: HostReport, check: Check) -> Finding:
    """Locked with SGX and launch control on, as the BIOS leaves it."""
    told = report.sgx.control
    if report.msr.get(FEATURE_CONTROL) is None and told:
        if clear := [name for position, name in _CONTROL_BITS.items() if told.get(position) is False]:
            return failed(f"{', '.join(clear)} clear, as test-sgx says")
        if told.keys() >= _CONTROL_BITS.keys():
            return passed("all set, as test-sgx says")
    return msr_bits(report, FEATURE_CONTROL, _CONTROL_BITS)


@judges("SGX-LOG")
def log(report: HostReport, check: Check) -> Finding:
    """The kernel's words. Older kernels say "disabled by BIOS" where launch control is missing, too. Newer ones set up
    enclave memory then, and only guests may have it: that is not what is asked for."""
    if match := report.log.find(DISABLED):
        return failed(match[0])
    if match := report.log.find(LOCKED):
        return failed(match[0], "launch")
    if match := report.log.find(NO_EPC) or report.log.find(NO_SGX1):
        return failed(match[0], "memory")
    if sections := report.log.all(EPC_SECTION):
        return passed(f"{len(sections)} EPC sections")
    return failed("the kernel set up no EPC") if report.log.whole else unknown(report.section("dmesg").why)


@judges("SGX-DEV")
def devices(report: HostReport, check: Check) -> Finding:
    """Both devices for a group of their own, on a /dev that code may be mapped from."""
    if report.sgx.noexec:
        return failed("/dev is mounted noexec, as sgx-detect says", "noexec")
    missing = [path for path in DEVICES if path not in report.nodes]
    legacy = "/dev/isgx" in report.nodes
    if missing and (legacy or any(report.lacks(path) for path in missing)):
        isgx = ", but /dev/isgx" if legacy else ""
        # driver.c and virt.c: with launch control locked there are the devices of guests, and no enclaves of the host's own.
        locked = "/dev/sgx_enclave" in missing and any(path in report.nodes for path in ("/dev/sgx_vepc", DEVICES[1]))
        return failed(f"no {', '.join(missing)}{isgx}", "legacy" if legacy else "launch" if locked else "none")
    modes = {path: report.nodes[path].mode for path in DEVICES if path in report.nodes}
    for path, mode in modes.items():
        node = report.nodes[path]
        if mode and not (mode[4:6] == "rw" and node.group != "root") and mode[7:9] != "rw":
            return failed(f"{path} is {mode} {node.owner}:{node.group}")
    if len(missing) == len(DEVICES) and report.sgx.driver is False:
        return failed("no SGX device that a tool could open", "none")
    if missing or None in modes.values():
        return unknown(report.section("devices").why if missing else "permissions were not read")
    options = report.sysfs.get(DEV_MOUNT)
    if options is None:
        return unknown(f"mount options of /dev: {report.section('sysfs').why}")
    return (
        failed("/dev is mounted noexec", "noexec")
        if "noexec" in options.split(",")
        else passed("both, group and mode right")
    )


@judges("SGX-SVC")
def service(report: HostReport, check: Check) -> Finding:
    """aesmd, where it is installed; without it quotes are made in the process itself. Active proves nothing by itself."""
    unit = report.units.get("aesmd.service")
    section = report.section("units")
    if unit is None or unit.load == "not-found":
        return noted("no aesmd; quotes are made in process") if section.complete or unit else unknown(section.why)
    if error := next(
        (line for line in reversed(unit.log) if any(words in line for words in check.words("errors"))), None
    ):
        return failed(f"aesmd logged {error}", "enclave")
    if unit.active is None:
        return unknown(section.why)
    if unit.active != "active":
        return failed(f"aesmd {unit.state}", None if unit.active == "inactive" else "enclave")
    return passed("aesmd active") if section.complete else unknown(f"active; {section.why}")


@judges("SGX-SMT")
def smt(report: HostReport, check: Check) -> Finding:
    """For the record."""
    value = report.sysfs.get("/sys/devices/system/cpu/smt/active")
    return unknown(report.section("sysfs").why) if value is None else noted("SMT on" if value == "1" else "SMT off")


@judges("SGX-DEBUG")
def debug(report: HostReport, check: Check) -> Finding:
    """A part in debug mode attests to nothing."""
    value = msr_value(report, DEBUG_MODE)
    if isinstance(value, Finding):
        return value
    return failed(f"SGX_DEBUG_MODE is 0x{value:x}") if value else passed("SGX_DEBUG_MODE is 0")


@judges("SGX-KVM")
def kvm(report: HostReport, check: Check) -> Finding:
    """Only guests that want enclaves of their own need it."""
    found = parameters_on(report, "kvm_intel", ("sgx",))
    return warned(found.seen) if found.verdict is CheckVerdict.FAIL else found
