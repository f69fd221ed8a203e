"""Intel TDX on the host: BIOS registers, the TDX module and KVM. What attests it is in ``tdx_attestation``."""

from __future__ import annotations

import re

from strongroom.checks.evidence import dotted, msr_value, parameters_on
from strongroom.checks.registry import judges
from strongroom.checks.verdict import CheckVerdict, Finding, failed, noted, passed, unknown
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport
from strongroom.probe.text import bit, bits, hexadecimal, version

TME_ACTIVATE, KEYID_PARTITIONING = 0x982, 0x87
SEAMRR_BASE, SEAMRR_MASK, MCHECK = 0x1400, 0x1401, 0xA0
PLATFORM_INFO, SEAM_EXTEND, FEATURE_CONTROL = 0xCE, 0x500, 0x3A

_TDX = r"\b(?:virt/)?tdx: "
TME = re.compile(r"\bx86/tme: enabled by BIOS")
TME_OFF = re.compile(
    r"\bx86/tme: (?:(?:not enabled|disabled) by BIOS|configuration is inconsistent between CPUs)"
    r"|\bx86/mktme: (?P<keys>(?:not enabled|disabled) by BIOS)"
)
KEYS = re.compile(rf"{_TDX}(?:BIOS enabled:|TDX) private KeyID range:? \[(\d{{1,6}}), (\d{{1,6}})\)")
# With one key, or none: 6.8 and newer, and the host series of 2022; then its words for a range that the BIOS left off.
TOO_FEW = re.compile(
    rf"{_TDX}(?:initialization failed: too few private KeyIDs available|Number of TDX private KeyIDs too small)"
)
NO_RANGE = re.compile(r"\btdx: SEAMRR (?:is )?not enabled\b.*")
HIBERNATION = re.compile(rf"{_TDX}initialization failed: Hibernation support is enabled")
# Beside upstream's words those of Intel's kernels up to 5.19, which Anolis OS has still.
INITIALISED = re.compile(
    rf"{_TDX}(?:(?:TDX[ -])?module (?:successfully )?initialized|Successfully initialized TDX module)", re.IGNORECASE
)
INIT_FAILED = re.compile(
    rf"{_TDX}(?:(?:(?:TDX[ -])?module )?initialization failed \((?P<new>-\d{{1,3}})\)|Failed to initialize TDX module (?P<old>-\d{{1,3}}))",
    re.IGNORECASE,
)
NOT_LOADED = re.compile(rf"{_TDX}(?:(?:TDX[ -])?module (?:is )?not loaded|can't load/init TDX module)", re.IGNORECASE)
# Kernels before 6.8 (tdx.c of the host series, and its predecessors): the call into the module faulted.
NOT_ENABLED = re.compile(
    rf"{_TDX}(?:not enabled by BIOS|\[firmware bug\]: TDX is not enabled by BIOS|Cannot enable TDX on TDX disabled platform)"
)
# Of 7.1 and newer, which try at boot and say this on every machine without TDX, whoever made its CPU.
NO_PLATFORM = re.compile(rf"{_TDX}TDX not supported by the host platform")
# A call of the module's initialisation that it refused (tdx.h: TDH.SYS.KEY.CONFIG, INIT, LP.INIT, TDMR.INIT, CONFIG), by
# number or as older kernels print it. Leaf 34 may be refused for a field that an older module lacks.
CALL_FAILED = re.compile(
    rf"{_TDX}SEAMCALL (?:\(0x0{{1,15}}(?:1f|21|23|24|2d)\) failed: 0x\S{{1,20}}|failed: (?:CPU \d{{1,5}}: )?leaf (?:31|33|35|36|45),? .*)"
)
WHY = re.compile(rf"{_TDX}initialization failed: (?!too few ).*|\bvirt/tdx: \S{{1,20}} is required for TDX")
NO_RBP_MOD = re.compile(rf"{_TDX}NO_RBP_MOD feature is not supported")
# Four spellings, one of them with two misspellings of its own; the last is of Intel's kernels up to 5.19, hexadecimal.
VERSIONS = (
    re.compile(
        r"\bTDX module: (?:att?ributes|vendor_id) .{0,60}major_version (?P<major>\d{1,3}), minor_version (?P<minor>\d{1,3}),"
        r".{0,60}build_num (?P<build>\d{1,6})"
    ),
    re.compile(
        r"\bTDX module (?P<major>\d{1,3})\.(?P<minor>\d{1,3})\.(?P<build>\d{1,5})(?:\.\d{1,5})?, build number \d{1,6}",
        re.IGNORECASE,
    ),
    re.compile(
        rf"{_TDX}(?:TDX )?module vers?i?on: (?P<major>\d{{1,3}})\.(?P<minor>\d{{1,3}})\.(?P<build>\d{{1,5}})",
        re.IGNORECASE,
    ),
    re.compile(
        r"\bTDX SEAM module: .{0,90}build_num (?P<build>0x[0-9a-f]{1,4}) minor_version (?P<minor>0x[0-9a-f]{1,2})"
        r" major_version (?P<major>0x[0-9a-f]{1,2})"
    ),
)
_NUMBERS = ("major", "minor", "build")
# Intel's kernels up to 6.2 show the module there: its state, and numbers in hexadecimal.
MODULE = "/sys/firmware/tdx/tdx_module"
STATES = {"error": "", "not-found": "not-loaded", "none": "not-loaded"}
PAMT = re.compile(rf"{_TDX}(\d{{1,12}}) ?(KB|pages)s?\b.{{0,4}} ?allocated for PAMT")
SLEEP = re.compile(rf"{_TDX}(Disable ACPI S3|Disable Kexec)\b")
KVM_YES = re.compile(r"\bkvm_intel: TDX is supported\.")
KVM_NO = re.compile(
    r"^TDX requires TDP MMU\..*|\bkvm_intel: (?:.*TDX requires .*|.*is required for TDX.*|Failed to initialize TDX module.*"
    r"|.*TDX not supported by the host platform.*|.*no TDX private KeyIDs available.*"
    r"|.*requires kvm\.enable_virt_at_load=1.*|.*MAX_VCPU_PER_TD .*smaller than .*)"
)
# arch/x86/kernel/cpu/feat_ctl.c, arch/x86/kvm/vmx/vmx.c and, from 5.12 to 6.2, arch/x86/kvm/x86.c: no KVM, whatever TDX is.
NO_VMX = re.compile(
    r"\bVMX \((?:out|in)side TXT\) disabled by BIOS\b|\bVMX not enabled \(by BIOS\) in MSR_IA32_FEAT_CTL\b.*"
    r"|\bkvm: support for 'kvm_intel' disabled by bios\b"
)

# What such a line says is missing, and which remedy gives it: never tdx=1, for without that KVM asks for nothing.
KVM_REASONS = (
    ("TDP MMU", "mmu"), ("EPT", "mmu"), ("APICv", "apicv"), ("enable_virt_at_load", "load"), ("is required for", "cpu"),
    ("MAX_VCPU_PER_TD", "vcpus"), ("KeyIDs", "bios"), ("host platform", "bios"), ("initialize TDX module", "module"),
)  # fmt: skip


def model(report: HostReport) -> tuple[int, int] | None:
    """CPU family and model."""
    if report.processor.family is not None and report.processor.model is not None:
        return report.processor.family, report.processor.model
    return report.cpuid.family_model


@judges("TDX-CPU")
def cpu(report: HostReport, check: Check) -> Finding:
    """By family and model; not every part of a model has TDX, which the BIOS's registers then show. Families above 15 are
    newer than all that is listed (asm/intel-family.h): there the kernel's flag tells."""
    found = model(report)
    if found is None:
        return unknown(report.section("cpuinfo").why)
    seen = f"family {found[0]} model {found[1]}"
    if found[0] == 6 and (name := check.text("models", str(found[1]))):
        return passed(name)
    if found[0] <= 15:
        return failed(seen)
    flagged = "tdx_host_platform" in (report.processor.flags or ())
    return passed(f"{seen}, with TDX on") if flagged else unknown(f"{seen}, newer than what is listed")


@judges("TDX-TME")
def memory_encryption(report: HostReport, check: Check) -> Finding:
    """IA32_TME_ACTIVATE: locked, enabled, and with bits for key ids."""
    value = msr_value(report, TME_ACTIVATE)
    if isinstance(value, Finding):
        off = value.verdict is CheckVerdict.UNKNOWN and 0 in report.msr.seen(TME_ACTIVATE, 1, 1)
        return failed("bit 1 of IA32_TME_ACTIVATE is 0") if off else value
    seen = f"IA32_TME_ACTIVATE is 0x{value:x}"
    if not bit(value, 1) or not bit(value, 0):
        return failed(seen)
    return passed(seen) if bits(value, 35, 32) else failed(f"{seen}: no bits for key ids", "keys")


@judges("TDX-TMELOG")
def memory_encryption_log(report: HostReport, check: Check) -> Finding:
    """The kernel's word on the same."""
    if match := report.log.find(TME_OFF):
        return failed(match[0], "keys" if match["keys"] else "differ" if "inconsistent" in match[0] else None)
    match = report.log.find(TME)
    return passed(match[0]) if match else unknown(report.section("dmesg").why)


@judges("TDX-PART")
def key_partition(report: HostReport, check: Check) -> Finding:
    """Bits 63:32 are TDX's keys; the module takes one for itself."""
    value = msr_value(report, KEYID_PARTITIONING)
    if isinstance(value, Finding):
        fewest = min(report.msr.seen(KEYID_PARTITIONING, 63, 32), default=None)
        if value.verdict is CheckVerdict.UNKNOWN and fewest is not None and fewest < check.number("keys"):
            return failed(f"{fewest} keys for TDX")
        return value
    keys = bits(value, 63, 32)
    seen = f"{keys} keys for TDX, {bits(value, 31, 0)} for MKTME"
    return passed(seen) if keys >= check.number("keys") else failed(seen)


@judges("TDX-SEAMRR")
def seam_range(report: HostReport, check: Check) -> Finding:
    """Enabled and locked; enabled alone is a loader that never ran."""
    mask, base = msr_value(report, SEAMRR_MASK), msr_value(report, SEAMRR_BASE)
    register = report.msr.get(SEAMRR_MASK)
    if 0 in report.msr.seen(SEAMRR_MASK, 11, 11):
        return failed(f"{f'SEAMRR_MASK is {register}' if register else 'bit 11 of SEAMRR_MASK is 0'}: not enabled")
    if 0 in report.msr.seen(SEAMRR_MASK, 10, 10):
        return failed(
            f"{f'SEAMRR_MASK is {register}' if register else 'bit 10 of SEAMRR_MASK is 0'}: not locked", "loader"
        )
    if isinstance(mask, Finding):
        return mask
    seen = f"SEAMRR_MASK is 0x{mask:x}"
    if isinstance(base, Finding):
        return base
    return passed(seen) if base & ~0xFFF else failed(f"{seen}, and no base")


@judges("TDX-MCHECK")
def mcheck(report: HostReport, check: Check) -> Finding:
    """Zero on every CPU is well. 0x1861 is a registration that the BIOS lost."""
    register = report.msr.get(MCHECK)
    if bad := next((value for value, _ in register.values if value), 0) if register else 0:
        return failed(f"MCHECK is 0x{bad:x}", f"0x{bad:x}")
    value = msr_value(report, MCHECK)
    return value if isinstance(value, Finding) else passed("MCHECK is 0")


@judges("TDX-PROD")
def production(report: HostReport, check: Check) -> Finding:
    """Bit 27 of MSR CE marks a part that is not for production; debug mode is SGX-DEBUG's."""
    if 1 in report.msr.seen(PLATFORM_INFO, 27, 27):
        return failed("a pre-production part")
    register = report.msr.get(PLATFORM_INFO)
    if register is None or not register.whole:
        return unknown(f"MSR ce: {report.section('msr').why}")
    return passed("a production part")


@judges("TDX-SEAMSVN")
def seam_version(report: HostReport, check: Check) -> Finding:
    """The loader's security version against the site's floor."""
    value = msr_value(report, SEAM_EXTEND)
    if isinstance(value, Finding):
        return value
    seen = f"SEAM SVN {bits(value, 63, 56)}"
    return passed(seen) if bits(value, 63, 56) >= check.number("floor") else failed(seen)


@judges("TDX-BIOSLOG")
def bios_log(report: HostReport, check: Check) -> Finding:
    """How many private keys the kernel found."""
    said = report.log.last(KEYS, TOO_FEW, NO_RANGE, NO_PLATFORM)
    if said is not None and said[0] > 0:
        return failed(said[1][0])
    if said is not None:
        match = said[1]
        keys = int(match[2]) - int(match[1])
        return passed(match[0]) if keys >= check.number("keys") else failed(match[0])
    return failed("the kernel found no TDX in the BIOS") if report.log.whole else unknown(report.section("dmesg").why)


@judges("TDX-HIB")
def hibernation(report: HostReport, check: Check) -> Finding:
    """TDX and hibernation exclude each other; a module that is up answers the question."""
    said = report.log.last(HIBERNATION, INITIALISED)
    if said is not None:
        return failed(said[1][0]) if said[0] == 0 else passed("the module is up")
    if report.command_line.get("nohibernate") is not None:
        return passed("booted with nohibernate")
    return passed("no complaint") if report.log.whole else unknown(report.section("dmesg").why)


@judges("TDX-MODLOG")
def module_log(report: HostReport, check: Check) -> Finding:
    """The last line on the module's state counts. A failed SEAMCALL of leaf 254 is no such line: healthy hosts print it."""
    said = report.log.last(INITIALISED, INIT_FAILED, NOT_LOADED, NOT_ENABLED, WHY, CALL_FAILED)
    why = report.log.find(WHY)
    if said is None:
        return _module_state(report)
    index, match = said
    if index == 0:
        return passed(match[0])
    if index in (4, 5):
        return failed(match[0], "refused" if index == 5 else None)
    if index in (2, 3):
        return failed(match[0], ("not-loaded", "not-enabled")[index - 2])
    reason = why or report.log.find(NO_RBP_MOD) or report.log.find(NOT_ENABLED)
    return failed(f"{match[0]}{f'; {reason[0]}' if reason else ''}", match["new"] or match["old"])


def _module_state(report: HostReport) -> Finding:
    """What Intel's kernels say of the module in sysfs, where the log says nothing."""
    shown = (report.sysfs.get(f"{MODULE}/{name}") for name in ("status", "state"))
    state = next((one for one in shown if one is not None), None)
    if state == "initialized":
        return passed(f"{MODULE}: {state}")
    if state in STATES:
        return failed(f"{MODULE}: {state}", STATES[state] or None)
    return unknown(report.section("dmesg").why)


def module(report: HostReport) -> tuple[int, ...]:
    """The module's version where the kernel printed it or shows it in sysfs; else an empty tuple."""
    for path, value in report.sysfs.items():
        if path.endswith("tdx_host/version") and version(value):
            return version(value)
    shown = [
        hexadecimal(report.sysfs.get(f"{MODULE}/{name}")) for name in ("major_version", "minor_version", "build_num")
    ]
    if all(part is not None for part in shown):
        return tuple(part for part in shown if part is not None)
    for pattern in VERSIONS:
        if match := report.log.find(pattern):
            return tuple(int(match[name], 16 if match[name].startswith("0x") else 10) for name in _NUMBERS)
    return ()


@judges("TDX-MODVER")
def module_version(report: HostReport, check: Check) -> Finding:
    """Newer kernels show it in sysfs, some show it nowhere: then it is unknown."""
    found = module(report)
    if not found:
        return unknown(
            "the kernel did not print the module's version" if report.log.lines else report.section("dmesg").why
        )
    cpu_model = model(report)
    floor = check.table("floors").get(str(cpu_model[1]) if cpu_model else "", check.numbers("floor"))
    parts = tuple(part for part in floor if isinstance(part, int)) if isinstance(floor, tuple) else ()
    return passed(dotted(found)) if found >= parts else failed(f"{dotted(found)}, before {dotted(parts)}")


@judges("TDX-KVM")
def kvm(report: HostReport, check: Check) -> Finding:
    """KVM's parameter, with its reason where it gave one."""
    found = parameters_on(report, "kvm_intel", ("tdx",))
    if found.verdict is CheckVerdict.UNKNOWN and (off := report.log.find(NO_VMX)):
        return failed(off[0], "vmx")
    said = report.log.last(KVM_NO, KVM_YES)
    if said is None:
        return found
    line, no = said[1][0], said[0] == 0
    remedy = next((remedy for words, remedy in KVM_REASONS if words in line), None)
    if found.verdict is CheckVerdict.UNKNOWN:
        return failed(line, remedy) if no else passed(line)
    return failed(f"{found.seen}: {line}", remedy) if no and found.verdict is CheckVerdict.FAIL else found


@judges("TDX-FLAG")
def flag(report: HostReport, check: Check) -> Finding:
    """tdx_pw_mce beside it marks an erratum and is asked for by nobody."""
    flags, told = report.processor.flags, report.processor.tdx
    if flags is None and told is not None:
        return passed("TDX in the flags") if told else failed("no TDX in the flags")
    if flags is None:
        return unknown(report.section("cpuinfo").why)
    if "tdx_host_platform" in flags:
        return passed("tdx_host_platform")
    return failed("no flag tdx_host_platform") if report.processor.flags_whole else unknown("only a part of the flags")


@judges("TDX-PAMT")
def pamt(report: HostReport, check: Check) -> Finding:
    """For the record: memory that the module keeps for itself."""
    match = report.log.find(PAMT)
    return noted(f"{match[1]} {match[2]}") if match else unknown(report.section("dmesg").why)


@judges("TDX-TXT")
def txt(report: HostReport, check: Check) -> Finding:
    """For the record: some loaders want SMX."""
    register = report.msr.get(FEATURE_CONTROL)
    if register is None:
        return unknown(f"MSR 3a: {report.section('msr').why}")
    return noted("SMX on" if register.all_set(1) else "SMX off")


@judges("TDX-S3")
def suspend(report: HostReport, check: Check) -> Finding:
    """For the record: what the kernel switched off for TDX."""
    found = dict.fromkeys(match[1] for match in report.log.all(SLEEP))
    if found:
        return noted(", ".join(found))
    return noted("nothing switched off") if report.log.whole else unknown(report.section("dmesg").why)
