"""AMD SEV and SEV-ES on the host."""

from __future__ import annotations

import re

from strongroom.checks.evidence import dotted, msr_bits, parameters, parameters_on
from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, noted, passed, unknown, warned
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport
from strongroom.probe.text import bit, number, version

LEAF = 0x8000001F
SYSCFG, HWCR = 0xC0010010, 0xC0010015
SMEE, SMMLOCK = 23, 0

NO_ENCRYPTION = re.compile(r"\bSEV: memory encryption not enabled by BIOS")
HARDWARE_ERROR = re.compile(r"\bSEV(?:-SNP)?: .*\bINIT\b.*(?:error )?0x13\b")
# An INIT that failed was asked of a processor that offers SEV; before 5.6, ccp says nothing else of it.
CCP = re.compile(
    r"\bccp(?: \S{1,20})?: (?:sev enabled|SEV API[: ]|SEV-SNP API:|SEV firmware update|SEV(?:-SNP)?: failed to INIT)"
)
# People who write it down leave the colon out, or put a blank behind it.
API = re.compile(r"\bSEV API[: ](\d{1,3})\.(\d{1,3}) build: ?(\d{1,5})")
# sp-pci.c, psp-dev.c and sev-dev.c. "ccp initialization failed" is only that it does no cryptography for others.
PSP_SHUT = re.compile(
    r"\bpsp: unable to access the device\b.*|\bccp [\da-f:.]{7,12}: (?:(?:psp|sev) )?initialization failed\b"
)
# Its first command, PLATFORM_STATUS: without an answer ccp takes /dev/sev away again, which kvm_amd says nothing of.
NO_STATUS = re.compile(
    r"\bSEV: failed to get status\b.*|\bsev command 0x4 timed out\b.*|\bSNP (?:PLATFORM_STATUS|FEATURE_INFO) command failed\b.*"
)
INIT_FAILED = re.compile(r"\bSEV: (?:failed to INIT\b|(?:INIT(?:_EX)?|DF_FLUSH) failed)(.*)")
SNP_API = re.compile(r"\bSEV-SNP API:(\d{1,3})\.(\d{1,3}) build: ?(\d{1,5})")
RMP_RANGE = re.compile(
    r"\b(?:Segmented RMP base|RMP) table physical (?:address|range) \[?(0x[0-9a-f]{1,16}) - (0x[0-9a-f]{1,16})"
)
# What ccp says first of a processor that offers SEV, at boot and whenever it is loaded again.
LOADED = re.compile(r"\bccp(?: \S{1,20})?: sev enabled")
UPDATED = re.compile(r"\bSEV firmware update(?: successful|d from \d)")
# kvm_amd: "SEV-ES enabled (ASIDs 1 - 99)", with three kinds and three states.
ASIDS = re.compile(
    r"\bSEV(?P<kind>-ES|-SNP|) (?P<state>enabled|disabled|unusable) \(ASIDs (?P<a>\d{1,10}) ?- ?(?P<b>\d{1,10})\)"
)
# Before that wording: "SEV-ES and SEV-SNP supported: 99 ASIDs". It is said before the firmware is asked.
SUPPORTED = re.compile(r"\bSEV-ES(?: and SEV-SNP)? supported: (\d{1,6}) ASIDs")
# What it says of SEV alone is how many ASIDs are not for SEV-ES.
SEV_SUPPORTED = re.compile(r"\bSEV supported: (\d{1,6}) ASIDs")
# arch/x86/kernel/cpu/amd.c, arch/x86/kvm/svm/svm.c and, from 5.12 to 6.2, arch/x86/kvm/x86.c: no KVM, whatever SEV is.
NO_SVM = re.compile(r"\bSVM disabled \(by BIOS\) in MSR_VM_CR\b.*|\bkvm: support for 'kvm_amd' disabled by bios\b")


@judges("SEV-CPU")
def cpu(report: HostReport, check: Check) -> Finding:
    """By the processor's name."""
    name = report.cpu
    if name is None:
        # What snphost calls microcode support is the same question: whether the name has EPYC in it.
        said = [report.snphost.passed(caption) for caption in ("AMD CPU", "Microcode support")]
        if None in said and False not in said:
            return unknown(report.section("cpuinfo").why)
        return passed("snphost: EPYC") if all(said) else failed("snphost: no EPYC")
    return passed(name) if str(check.data["brand"]) in name else failed(name)


@judges("SEV-CPUID")
def cpuid(report: HostReport, check: Check) -> Finding:
    """A capability only: the bits stay set where the BIOS switched the feature off."""
    leaf = report.cpuid.leaf(LEAF)
    if leaf is not None:
        seen = f"8000001F EAX = {leaf.eax:08x}"
        return passed(seen) if bit(leaf.eax, 1) and bit(leaf.eax, 3) else failed(seen)
    if report.cpuid.beyond(LEAF):
        return failed("the CPU has no leaf 8000001F")
    said = [report.cpuid.says("SEV: secure encrypted virt"), report.cpuid.says("SEV-ES: SEV encrypted state")]
    said = said if None not in said else [report.snphost.passed(name) for name in _SNPHOST]
    if None not in said:
        return passed("SEV and SEV-ES") if all(said) else failed("no SEV or no SEV-ES")
    if {"sev", "sev_es"} <= (report.processor.flags or frozenset()):
        return passed("flags sev and sev_es")  # the kernel shows no flag that CPUID has not
    return unknown(report.section("cpuid").why)


_SNPHOST = ("Secure Encrypted Virtualization (SEV)", "Encrypted State (SEV-ES)")


@judges("SEV-SMEE")
def memory_encryption(report: HostReport, check: Check) -> Finding:
    """SYSCFG on every CPU; the kernel's log can say no, and snphost's word counts for CPU 0 alone.

    Without SMEE the firmware refuses both INITs with 0x13; where SEV-SNP's went well, SEV's has failed for something else.
    Nor is it SMEE where the kernel looked for an RMP table: without SMEE it takes SEV-SNP away before that.
    """
    if match := report.log.find(NO_ENCRYPTION):
        return failed(match[0])
    has_snp = report.log.find(SNP_API) or report.log.find(RMP_RANGE)
    if (match := report.log.find(HARDWARE_ERROR)) and not has_snp:
        return failed(match[0])
    if report.snphost.passed("SME in MSR") is False:
        return failed("snphost: SME is not enabled in the MSR")
    return msr_bits(report, SYSCFG, {SMEE: "SMEE"})


@judges("SEV-SMMLOCK")
def smm_lock(report: HostReport, check: Check) -> Finding:
    """HWCR.SMMLOCK; no other tool looks at it."""
    return msr_bits(report, HWCR, {SMMLOCK: "SMMLOCK"})


@judges("SEV-FLAGS")
def flags(report: HostReport, check: Check) -> Finding:
    """Missing flags count only where the list is whole; sev_snp only where the CPU has SNP."""
    found = report.processor.flags
    if found is None:
        return unknown(report.section("cpuinfo").why)
    wanted = ["sev", "sev_es"]
    leaf = report.cpuid.leaf(LEAF)
    if bit(leaf.eax, 4) if leaf else found & set(check.words("generation")):
        wanted.append("sev_snp")
    missing = [flag for flag in wanted if flag not in found]
    if not missing:
        return passed(" ".join([*wanted, *(["debug_swap"] if "debug_swap" in found else [])]))
    if not report.processor.flags_whole:
        return unknown("only a part of the flags")
    return failed(f"without {', '.join(missing)}")


def any_asids(match: re.Match[str]) -> bool:
    """Whether the range has any; a least ASID of 0, which hypervisors give their guests, leaves 4294967295 for -1."""
    return 1 <= int(match["a"]) <= int(match["b"]) < 1 << 31


def kvm_said(report: HostReport, kinds: tuple[str, ...]) -> Finding | None:
    """What kvm_amd said when it was loaded, which it sets its parameters to (sev_hardware_setup); None where that does not
    tell, and where what is loaded now was read."""
    read = any(report.section(name).complete for name in ("sysfs", "modules"))
    if read or "/sys/module/kvm_amd/parameters/sev" in report.sysfs:
        return None
    last = {match["kind"]: match for match in report.log.all(ASIDS)}
    told = [last[kind] for kind in kinds if kind in last]
    if off := [match[0] for match in told if match["state"] == "disabled"]:
        return failed(off[0])
    usable = len(told) == len(kinds) and all(map(any_asids, told))
    return passed(", ".join(match[0] for match in told)) if usable else None


@judges("SEV-ASID")
def asids(report: HostReport, check: Check) -> Finding:
    """KVM's last word first, then CPUID: a minimum SEV-only ASID of 1 leaves none for SEV-ES and SEV-SNP."""
    ranges = {match["kind"]: match for match in report.log.all(ASIDS)}
    sev, es, snp = ranges.get(""), ranges.get("-ES"), ranges.get("-SNP")
    if es is not None:
        if es["state"] == "unusable":
            return warned(es[0], "hiding")
        return passed(es[0]) if any_asids(es) else failed(es[0])
    if snp is not None and any_asids(snp):
        return passed(snp[0])
    if match := report.log.find(SUPPORTED):
        return passed(match[0]) if int(match[1]) > 0 else failed(match[0])
    if sev is not None:  # the range of SEV begins with the minimum
        return passed(sev[0]) if int(sev["a"]) > 1 else failed(sev[0])
    if (match := report.log.find(SEV_SUPPORTED)) and int(match[1]) in check.numbers("all"):
        return failed(match[0])
    leaf = report.cpuid.leaf(LEAF)
    least = leaf.edx if leaf else report.cpuid.values.get("minimum sev guest asid")
    if least is None and (answer := report.snphost.get("Minimum ASID value for SEV-enabled")):
        least = number(answer.value)
    if least is None:
        return unknown(report.section("cpuid").why)
    seen = f"minimum SEV-only ASID {least}"
    return passed(seen) if least > 1 else failed(seen)


@judges("SEV-CCP")
def secure_processor(report: HostReport, check: Check) -> Finding:
    """One that offers SEV is enough: the second socket's does not."""
    said, answer = report.log.find(CCP), report.snphost.get("/dev/sev readable")
    if silent := report.log.since(LOADED).find(NO_STATUS):
        return failed(silent[0])
    if "/dev/sev" in report.nodes or report.snphost.passed("/dev/sev readable"):
        return passed(said[0] if said else "/dev/sev")
    if report.lacks("/dev/sev") or (answer and "No such file" in answer.value):
        unloaded = report.section("modules").complete and "ccp" not in report.modules
        return failed("no /dev/sev" + (", ccp is not loaded" if unloaded else ""))
    if said is None and (broken := report.log.find(PSP_SHUT)):
        return failed(broken[0])
    return passed(said[0]) if said else unknown(report.section("dmesg").why)


@judges("SEV-DEV")
def device(report: HostReport, check: Check) -> Finding:
    """Permissions of the device, or what snphost could do with it."""
    said = [report.snphost.passed(f"/dev/sev {what}") for what in ("readable", "writable")]
    if None not in said:
        return passed("readable and writable") if all(said) else failed("snphost: not readable or not writable")
    node = report.nodes.get("/dev/sev")
    if node is None or node.mode is None:
        return unknown(report.section("devices").why)
    usable = "rw" in (node.mode[1:3], node.mode[4:6])
    seen = f"{node.mode} {node.owner} {node.group}"
    return passed(seen) if usable and node.mode[0] == "c" else failed(seen)


@judges("SEV-FW")
def firmware(report: HostReport, check: Check) -> Finding:
    """The firmware's own status, what ccp logged when it was loaded last, or snphost."""
    floor = check.numbers("floor")
    status = report.firmware.sev
    if status is not None:
        seen = f"API {dotted(status.api)}, state {status.state}"
        if status.api[: len(floor)] < floor:
            return failed(seen)
        return passed(seen) if status.state in (1, 2) else failed(seen, "uninitialised")
    # The version is printed after an INIT that failed, too: only a later loading of ccp undoes a failure.
    lately = report.log.since(LOADED)
    log = lately if lately.last(INIT_FAILED, API) else report.log
    if match := log.find(INIT_FAILED):
        return failed(match[0])
    if match := log.find(API):
        api = (int(match[1]), int(match[2]))
        return passed(match[0]) if api >= floor else failed(match[0])
    answer, up = report.snphost.get("SEV firmware version"), report.snphost.passed("SEV initialized")
    if up is False:
        return failed("snphost: SEV is not initialised", "uninitialised")
    if up and answer and (told := version(answer.value)):
        seen = f"snphost: {dotted(told)}, initialised"
        return passed(seen) if told >= floor else failed(seen)
    return unknown(report.section("sev-status").why)


@judges("SEV-FWUPD")
def firmware_update(report: HostReport, check: Check) -> Finding:
    """For the record: no such line means that there was no newer file."""
    if report.log.find(UPDATED):
        return noted("updated by Linux at boot")
    return noted("the BIOS's firmware") if report.log.whole else unknown(report.section("dmesg").why)


@judges("SEV-KVM")
def kvm(report: HostReport, check: Check) -> Finding:
    """Both parameters; sev_es may be off where ciphertext hiding gave every such ASID to SEV-SNP."""
    values = parameters(report, "kvm_amd", ("sev", "sev_es", "sev_snp"))
    if values["sev"] and values["sev_es"] is False and values["sev_snp"]:
        es = [match for match in report.log.all(ASIDS) if match["kind"] == "-ES"]
        if es and es[-1]["state"] == "unusable":
            return passed("kvm_amd.sev=Y, sev_es=N: every ASID went to SEV-SNP")
    said = [report.snphost.passed(f"{name} enabled in KVM") for name in ("SEV", "SEV-ES")]
    if values["sev"] is None and (None not in said or False in said):  # older ones of sevctl ask for SEV alone
        return passed("snphost: enabled") if all(said) else failed("snphost: not enabled")
    if values["sev"] is None and (off := report.log.find(NO_SVM)):
        return failed(off[0], "svm")
    return kvm_said(report, ("", "-ES")) or parameters_on(report, "kvm_amd", ("sev", "sev_es"))


@judges("SEV-CHIP")
def chip(report: HostReport, check: Check) -> Finding:
    """The id by which AMD's service knows the chip; recorded by its beginning."""
    found = report.firmware.chip_id
    if found is None:
        return unknown(report.section("sev-status").why)
    return passed(f"{found[:16]}...") if found.strip("0") else failed("all zeros")
