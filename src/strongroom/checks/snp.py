"""AMD SEV-SNP on the host: from the CPU and the RMP table to KVM."""

from __future__ import annotations

import re

from strongroom.checks.evidence import dotted, msr_bits, msr_value, parameters_on
from strongroom.checks.registry import judges
from strongroom.checks.sev import API, ASIDS, LEAF, RMP_RANGE, SNP_API, SUPPORTED, SYSCFG, any_asids, kvm_said
from strongroom.checks.verdict import Finding, failed, noted, passed, unknown, warned
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport
from strongroom.probe.text import bit, bits, number, version

RMP_BASE, RMP_END, RMP_CFG = 0xC0010132, 0xC0010133, 0xC0010136
SEGMENT_LEAF = 0x80000025
_MASK = ((1 << 52) - 1) & ~((1 << 13) - 1)  # bits 51:13 are the address

SEGMENTED = re.compile(r"\bSegmented RMP base table physical range\b")
TOO_SMALL = re.compile(r"\b(?:RMP table|Segmented RMP) does not cover full system RAM.*")
NOT_RESERVED = re.compile(
    r"\bMemory for the RMP table has not been reserved by BIOS|\bRMP configuration not valid: .*|\bRMP segment size .* is not within .*"
)
# setup_rmptable comes after the range was printed: what stops it there undoes that line.
NOT_SET_UP = re.compile(
    r"\bInvalid RMP (?:size|segment base address) .*|\bRMP segment descriptor already exists .*|\bFailed to map RMP .*"
)
RMP_FAILED = re.compile(r"\bSNP: RMP initialization failed\b.*")  # what the IOMMU's driver makes of it, since 6.15
IOMMU_ON = re.compile(r"\bIOMMU SNP support (?:is )?enabled|\bAMD-Vi: SNP enabled\b")
IOMMU_OFF = re.compile(
    r"\bSNP: IOMMU (?:is )?(?:either )?disabled(?: or configured in passthrough mode)?|\bIOMMU is disabled, SNP\b"
)
IOMMU_V2 = re.compile(r"\bSNP: IOMMU is configured with V2 page table mode")
IOMMU_NO_SNP = re.compile(
    r"\bSNP: IOMMU SNP feature (?:is )?not enabled|\bIOMMU SNP feature not enabled|\bSNPSup is disabled \(devid"
)
# drivers/iommu/amd/amd_iommu_types.h: FEATURE_SNP of what the firmware says that all of them can do.
IOMMU_FEATURES = re.compile(r"\bAMD-Vi: (?:Using global IVHD EFR:|Extended features \()(0x[0-9a-f]{1,16})\b")
_FEATURE_SNP = 63
INIT_FAILED = re.compile(
    r"\bSEV-SNP: (?:failed to INIT|\w{0,10}INIT\w{0,4} failed|SNP_DF_FLUSH failed)(?:.{0,40}?\b(0x[0-9a-f]{1,8}))?",
    re.IGNORECASE,
)
TOO_OLD = re.compile(r"\bSEV-SNP support requires firmware version.*")


def segmented(report: HostReport) -> bool | None:
    """Whether the RMP table is a segmented one; None where nothing tells."""
    register = report.msr.get(RMP_CFG)
    if register is not None and register.uniform is not None:
        return bit(register.uniform, 0)
    if report.log.find(SEGMENTED):
        return True
    leaf = report.cpuid.leaf(SEGMENT_LEAF)
    if report.cpuid.beyond(SEGMENT_LEAF) or (leaf is not None and not any(leaf)):
        return False
    return None


def api(report: HostReport) -> tuple[int, ...] | None:
    """The firmware's version, from its status, the log or snphost."""
    if report.firmware.snp is not None:
        return report.firmware.snp.api
    if report.firmware.sev is not None:
        return report.firmware.sev.api
    if match := report.log.find(SNP_API) or report.log.find(API):
        return int(match[1]), int(match[2]), int(match[3])
    answer = report.snphost.get("SEV firmware version")
    return version(answer.value) or None if answer else None


@judges("SNP-CPUID")
def cpuid(report: HostReport, check: Check) -> Finding:
    """The feature, VMPLs, and how many of them."""
    leaf = report.cpuid.leaf(LEAF)
    if leaf is not None:
        vmpls = bits(leaf.ebx, 15, 12)
        seen = f"8000001F EAX = {leaf.eax:08x}, {vmpls} VMPLs"
        enough = bit(leaf.eax, 4) and bit(leaf.eax, 5) and vmpls >= check.number("vmpls")
        return passed(seen) if enough else failed(seen)
    if report.cpuid.beyond(LEAF):
        return failed("the CPU has no leaf 8000001F")
    said = report.cpuid.says("SEV-SNP: SEV secure nested paging")
    if said is False:
        return failed("no SEV-SNP")
    count = report.cpuid.values.get("number of vm permission levels")
    if said and count is not None:
        seen = f"SEV-SNP, {count} VMPLs"
        return passed(seen) if count >= check.number("vmpls") else failed(seen)
    vmpls_said = report.snphost.get("Number of VMPLs")
    tool = report.snphost.passed("Secure Nested Paging (SEV-SNP)")
    if tool is False:
        return failed("snphost: no SEV-SNP")
    if tool and vmpls_said and (told := version(vmpls_said.value)):
        count = told[0]
        seen = f"snphost: {count} VMPLs"
        return passed(seen) if count >= check.number("vmpls") else failed(seen)
    return unknown("SEV-SNP is there; VMPLs were not told" if said else report.section("cpuid").why)


@judges("SNP-RMPMSR")
def rmp_registers(report: HostReport, check: Check) -> Finding:
    """As the kernel reads them: zero below the mask is zero. A segmented table has no end, and that is right."""
    base, end = msr_value(report, RMP_BASE), msr_value(report, RMP_END)
    if isinstance(base, Finding):
        return base
    if isinstance(end, Finding):
        return end
    seen = f"0x{base:x} - 0x{end:x}"
    if not base & _MASK:
        return failed(f"no RMP table: {seen}")
    if not end & _MASK:
        in_segments = segmented(report)
        if in_segments is None:
            return unknown(f"{seen}; nothing says whether the table is segmented")
        return passed(f"segmented, base 0x{base:x}") if in_segments else failed(f"no end: {seen}")
    return passed(seen) if end > base else failed(f"the end lies before the base: {seen}")


@judges("SNP-RMPSEG")
def rmp_segments(report: HostReport, check: Check) -> Finding:
    """The segment size within the CPU's bounds (CPUID 80000025 EAX 5:0 and 11:6, RMP_CFG bits 13:8)."""
    in_segments = segmented(report)
    if in_segments is None:
        return unknown(report.section("msr").why)
    if not in_segments:
        return noted("one table, not segmented")
    config, leaf = msr_value(report, RMP_CFG), report.cpuid.leaf(SEGMENT_LEAF)
    if isinstance(config, Finding):
        return config
    if leaf is None:
        return unknown(report.section("cpuid").why)
    shift, least, most = bits(config, 13, 8), bits(leaf.eax, 5, 0), bits(leaf.eax, 11, 6)
    seen = f"segments of 2^{shift} bytes, the CPU does 2^{least} to 2^{most}"
    return passed(seen) if least <= shift <= most else failed(seen)


@judges("SNP-RMPSIZE")
def rmp_size(report: HostReport, check: Check) -> Finding:
    """The kernel's own sum over the end of RAM, or its complaint."""
    if match := report.log.find(TOO_SMALL):
        return failed(match[0])
    if segmented(report):
        taken = report.log.find(SEGMENTED)
        return passed("the kernel took the segmented table") if taken and report.log.complete else unknown("segmented")
    base, end = msr_value(report, RMP_BASE), msr_value(report, RMP_END)
    if isinstance(base, Finding) or isinstance(end, Finding):
        return base if isinstance(base, Finding) else end if isinstance(end, Finding) else unknown("")
    if report.ram.top is None or not report.section("iomem").complete:
        return unknown(f"RAM's end: {report.section('iomem').why}")
    pages = max(report.ram.top, end + 1) + 4095 >> 12
    needed = check.number("entry") * pages + check.number("bookkeeping")
    seen = f"0x{end - base + 1:x} bytes for 0x{needed:x}"
    return passed(seen) if needed <= end - base + 1 else failed(seen)


@judges("SNP-RMPLOG")
def rmp_log(report: HostReport, check: Check) -> Finding:
    """Four spellings since 5.19."""
    if match := report.log.find(NOT_RESERVED):
        return failed(match[0])
    if match := report.log.find(TOO_SMALL):  # also printed after the range
        return failed(match[0])
    if match := report.log.find(NOT_SET_UP) or report.log.find(RMP_FAILED):
        return failed(match[0], "set-up")
    if match := report.log.find(RMP_RANGE):
        return passed(match[0])
    return (
        failed("the kernel did not speak of an RMP table") if report.log.whole else unknown(report.section("dmesg").why)
    )


@judges("SNP-SYSCFG")
def syscfg(report: HostReport, check: Check) -> Finding:
    """SNPEn and VMPLEn; MtrrFixDramModEn (bit 19) is set by newer kernels and not asked for."""
    for name, value in report.command_line.options:
        if name == "sev" and "nosnp" in (value or "").split(","):
            return failed(f"booted with sev={value}", "nosnp")
    if report.snphost.passed("SNP in MSR") is False:
        return failed("snphost: SNP is not enabled in the MSR")
    return msr_bits(report, SYSCFG, {24: "SNPEn", 25: "VMPLEn"})


@judges("SNP-IOMMU")
def iommu(report: HostReport, check: Check) -> Finding:
    """What the kernel said last. "Feature not enabled" is mostly SEV-SNP Support = Auto in the BIOS, not an IOMMU off.

    A kernel that does not get as far as to say it still prints what the IOMMUs can do, and SEV-SNP is among that or not.
    """
    # Both iommu= and amd_iommu= take a list.
    options = {f"{name}={part}" for name, value in report.command_line.options for part in (value or "").split(",")}
    for cause in ("passthrough", "v2"):
        if bad := sorted(options & set(check.words(cause))):
            return failed(f"booted with {', '.join(bad)}", cause)
    said = report.log.last(IOMMU_ON, IOMMU_OFF, IOMMU_V2, IOMMU_NO_SNP)
    if said is not None and said[0] > 0:
        return failed(said[1][0], ("", "passthrough", "v2", None)[said[0]])
    if report.sysfs.get("/sys/kernel/iommu_groups") == "0":
        return failed("no IOMMU groups", "none")
    if said is not None:
        return passed(said[1][0])
    features = report.log.find(IOMMU_FEATURES)
    if features and not bit(int(features[1], 16), _FEATURE_SNP):
        return failed(f"IOMMU features {features[1]}, without SEV-SNP")
    return unknown(report.section("dmesg").why)


@judges("SNP-FW")
def firmware(report: HostReport, check: Check) -> Finding:
    """Major and minor together. Newer kernels refuse old firmware without a word, older ones with one."""
    if (said := report.log.last(TOO_OLD, SNP_API, API)) and said[0] == 0:
        return failed(said[1][0])
    found = api(report)
    if found is None:
        return unknown(report.section("sev-status").why)
    seen = f"API {dotted(found)}"
    if found < check.numbers("floor"):
        return failed(seen, None if found[0] else "generation")
    return passed(seen if found >= check.numbers("kexec") else f"{seen}; kexec needs {dotted(check.numbers('kexec'))}")


@judges("SNP-INIT")
def init(report: HostReport, check: Check) -> Finding:
    """The firmware's state, else the last of what ccp logged, else snphost."""
    status = report.firmware.snp
    if status is not None:
        return passed("state INIT") if status.state == 1 else failed(f"state {status.state}", "uninitialised")
    if said := report.log.last(SNP_API, INIT_FAILED):
        index, match = said
        return passed(match[0]) if index == 0 else failed(match[0], (match[1] or "").lower() or None)
    answer = report.snphost.passed("SNP initialized")
    if answer is not None:
        return passed("snphost: initialised") if answer else failed("snphost: not initialised")
    if report.log.whole and report.log.find(API):
        return failed("SEV is initialised, SEV-SNP is not")
    return unknown(report.section("sev-status").why)


@judges("SNP-ALIAS")
def alias(report: HostReport, check: Check) -> Finding:
    """Two bits of the status, never the whole byte."""
    status = report.firmware.snp
    if status is not None:
        seen = f"RMP initialised {status.rmp_initialised}, alias check {status.alias_checked}, API {dotted(status.api)}"
        return passed(seen) if status.rmp_initialised and status.alias_checked else failed(seen)
    said = [report.snphost.passed(name) for name in ("RMP table initialized", "Alias check")]
    if None not in said or False in said:
        return passed("snphost: completed") if all(said) else failed("snphost: not completed")
    return unknown(report.section("sev-status").why)


@judges("SNP-TCB")
def tcb(report: HostReport, check: Check) -> Finding:
    """Reported and platform TCB; what is committed is not in the status."""
    status = report.firmware.snp
    if status is not None:
        seen = f"platform {status.tcb.hex()}, reported {status.reported_tcb.hex()}"
        return passed(seen) if status.tcb == status.reported_tcb else warned(seen)
    said = report.snphost.passed("Comparing TCB values")
    if said is not None:
        return passed("snphost: they match") if said else warned("snphost: they differ")
    return unknown(report.section("sev-status").why)


@judges("SNP-CFG")
def config(report: HostReport, check: Check) -> Finding:
    """Masked ids and keys make reports that no certificate fits, unless a VLEK signs them."""
    status = report.firmware.snp
    if status is None:
        return unknown(report.section("sev-status").why)
    masked = [name for name, on in (("chip id", status.mask_chip_id), ("chip key", status.mask_chip_key)) if on]
    seen = f"{' and '.join(masked) or 'nothing'} masked, VLEK {'loaded' if status.vlek else 'not loaded'}"
    return failed(seen) if masked and not status.vlek else passed(seen)


@judges("SNP-STATE")
def state(report: HostReport, check: Check) -> Finding:
    """kvm_amd's line. The old "supported" line comes before the firmware is asked and proves nothing."""
    lines = [match for match in report.log.all(ASIDS) if match["kind"] == "-SNP"]
    if not lines:
        old = report.log.find(SUPPORTED)
        return unknown(f"{old[0]}: said whether SNP works or not" if old else report.section("dmesg").why)
    last = lines[-1]
    usable = any_asids(last)
    if last["state"] == "enabled" and usable:
        return passed(last[0])
    return failed(last[0], None if usable else "asids")


@judges("SNP-KVM")
def kvm(report: HostReport, check: Check) -> Finding:
    """By KVM's own parameter: it is cleared where the module found that SNP is not to be had."""
    found = parameters_on(report, "kvm_amd", ("sev_snp",))
    said = report.snphost.passed("SEV-SNP enabled in KVM")
    if "/sys/module/kvm_amd/parameters/sev_snp" not in report.sysfs and said is not None:
        return passed("snphost: enabled") if said else failed("snphost: not enabled")
    return kvm_said(report, ("-SNP",)) or found


@judges("SNP-HIDING")
def hiding(report: HostReport, check: Check) -> Finding:
    """How many of the ES ASIDs were given to SEV-SNP."""
    lines = [match for match in report.log.all(ASIDS) if match["kind"] == "-ES"]
    if lines and lines[-1]["state"] == "unusable":
        return warned(lines[-1][0])
    text = report.sysfs.get("/sys/module/kvm_amd/parameters/ciphertext_hiding_asids")
    value, leaf = number(text), report.cpuid.leaf(LEAF)
    if text == "max":
        return warned("all ASIDs below the minimum SEV ASID")
    if value is None:
        return (
            noted("no ciphertext hiding") if report.section("sysfs").complete else unknown(report.section("sysfs").why)
        )
    if leaf is None:
        return unknown(report.section("cpuid").why)
    seen = f"{value} of {max(0, leaf.edx - 1)} ASIDs"
    return warned(seen) if value and value >= leaf.edx - 1 else passed(seen)


@judges("SNP-TSC")
def secure_tsc(report: HostReport, check: Check) -> Finding:
    """For the record."""
    leaf = report.cpuid.leaf(LEAF)
    if leaf is None:
        return unknown(report.section("cpuid").why)
    return noted("the CPU has Secure TSC" if bit(leaf.eax, 8) else "the CPU has no Secure TSC")


@judges("SNP-SMT")
def smt(report: HostReport, check: Check) -> Finding:
    """For the record: a guest's policy may refuse a host with SMT."""
    value = report.sysfs.get("/sys/devices/system/cpu/smt/active")
    return unknown(report.section("sysfs").why) if value is None else noted("SMT on" if value == "1" else "SMT off")


@judges("SNP-KDUMP")
def kdump(report: HostReport, check: Check) -> Finding:
    """For the record: a crash kernel under SNP needs firmware that can be shut down."""
    if not report.command_line.present:
        return unknown(report.section("cmdline").why)
    reserved = report.command_line.get("crashkernel")
    if reserved is None:
        return noted("no crash kernel")
    found = api(report)
    old = found is not None and found < check.numbers("floor")
    return noted(f"crashkernel={reserved}" + (f", and firmware before {dotted(check.numbers('floor'))}" if old else ""))
