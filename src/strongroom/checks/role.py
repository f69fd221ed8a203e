"""Which side a machine is on, and as a guest, in which kind of TEE. Judged from evidence, never from what is missing."""

from __future__ import annotations

import re

from strongroom.model.checks import Role
from strongroom.probe import cpuid
from strongroom.probe.report import HostReport
from strongroom.probe.text import bit
from strongroom.probe.virt import MACHINES

# systemd-detect-virt's words for bare metal and for containers, which say nothing of the machine below.
_NO_VM = frozenset({"none"})
_TDX_LEAF = 0x21
_TDX_NAME = "IntelTDX    "
# Hyper-V's TLFS: the hypervisor's name, bit 22 of what it offers (isolation), and which, as in ISOLATION below (systemd's
# confidential-virt.c). Below its paravisor, leaf 0x21 is hidden.
_HYPERVISOR, _HYPERV = 0x40000000, "Microsoft Hv"
_FEATURES_LEAF, _ISOLATES = 0x40000003, 22
_ISOLATION_LEAF = 0x4000000C

MEMORY_ENCRYPTION = re.compile(
    r"(?:AMD )?Memory Encryption Features active: (?:AMD )?((?:SEV|SEV-ES|SEV-SNP|SME)(?: (?:SEV|SEV-ES|SEV-SNP|SME))*)[\s\"'`.,;)*|]*$"
)
LEGACY_SEV = re.compile(r"AMD Secure Encrypted Virtualization \(SEV\) active")
# arch/x86/mm/mem_encrypt_hygon.c of openEuler and deepin: a guest of Hygon's CSV, which is its SEV; HYGON SME is a host's.
HYGON_CSV = re.compile(r"^HYGON CSV[23]?$")
TDX_GUEST = re.compile(
    r"\btdx: Guest (?:detected|initialized)|\bMemory Encryption Features active: Intel TDX\b"
    r"|\bprocess: using TDX aware idle routine\b"
)
# Of a log that has systemd's lines too; the words are those of systemd-detect-virt --cvm.
SYSTEMD = re.compile(r"(?:^|: )Detected confidential virtualization (sev|sev-es|sev-snp|tdx|protvirt|cca)\b\.?$")
# arch/x86/kernel/cpu/hypervisor.c, systemd's manager, and arch/s390/kernel/setup.c: that there is something below, or nothing.
VIRTUAL = re.compile(
    r"\bHypervisor detected: \S|(?:^|: )Detected virtualization (?:" + "|".join(sorted(MACHINES)) + r")\b"
    r"|\bsetup\S{0,8}: Linux is running (?:under KVM|as a (?:z/VM )?guest)\b"
)
NATIVE = re.compile(r"\bsetup\S{0,8}: Linux is running natively\b")
REALM = re.compile(r"\bRME: (?:Using RSI version \d{1,3}\.\d{1,3}|RSI version \d{1,3}\.\d{1,3} advertised)")
# arch/x86/coco/sev/core.c, sev_show_status: what SEV_STATUS has.
SEV_STATUS = re.compile(r"\bSEV: Status: (?:[\w-]{1,20} ){0,12}SEV-SNP\b.*")
SNP_GUEST = re.compile(
    r"\bSEV: (?:SNP guest platform devices? initialized|SNP running at VMPL\d|Using SNP CPUID table"
    r"|APIC: wakeup_secondary_cpu\(\) replaced with wakeup_cpu_via_vmgexit)|\bInitialized SEV guest driver\b"
)
# arch/x86/kernel/cpu/mshyperv.c: the last digit of group B is enum hv_isolation_type; all that a guest of Azure's tells of
# the hardware below its paravisor.
ISOLATION = re.compile(r"\bHyper-V: Isolation Config: Group A 0x[0-9a-f]{1,8}, Group B 0x[0-9a-f]{0,7}([0-9a-f])\b")
_ISOLATED = {"2": "sev-snp", "3": "tdx"}
SECURE_GUEST = re.compile(r"\bprot_virt\S*: .*protected (?:virtualization )?guest", re.IGNORECASE)


def tdx_leaf(report: HostReport) -> bool | None:
    """Whether CPUID leaf 0x21 names TDX, which only a TD has (Intel TDX module specification, CPUID virtualisation)."""
    leaf = report.cpuid.leaf(_TDX_LEAF)
    if _hyperv(report):
        return None
    if leaf is None:
        return False if report.cpuid.beyond(_TDX_LEAF) else None
    return cpuid.text(leaf.ebx, leaf.edx, leaf.ecx) == _TDX_NAME


def trust_domain(report: HostReport) -> bool:
    """Whether the kernel itself shows that it runs in a TD: by its log, its flag or CPUID."""
    flags = report.processor.flags or frozenset()
    return bool(report.log.find(TDX_GUEST) or "tdx_guest" in flags or tdx_leaf(report) or isolation(report) == "tdx")


def _hyperv(report: HostReport) -> bool:
    """Whether the hypervisor below is Hyper-V, by CPUID."""
    leaf = report.cpuid.leaf(_HYPERVISOR)
    return leaf is not None and cpuid.text(leaf.ebx, leaf.ecx, leaf.edx) == _HYPERV


def isolation(report: HostReport) -> str | None:
    """What Hyper-V says that a guest is isolated by, in systemd's words: by CPUID, or in the log."""
    features, which = map(report.cpuid.leaf, (_FEATURES_LEAF, _ISOLATION_LEAF))
    if which is not None and _hyperv(report):
        isolates = features is None or bit(features.ebx, _ISOLATES)
        return _ISOLATED.get(f"{which.ebx & 0xF:x}") if isolates else None
    match = report.log.find(ISOLATION)
    return _ISOLATED.get(match[1]) if match else None


def kinds(report: HostReport) -> frozenset[str]:
    """Kinds of confidential guest that something positive speaks for, in systemd's words.

    A line ``AMD SEV`` alone is not taken for plain SEV: SNP guests below Azure's vTOM print it, TDX guests below the same
    paravisor have.
    """
    found: set[str] = set()
    said = report.virt.get("cvm", "")
    if said not in ("", "none"):
        found.add(said)
    if match := report.log.find(SYSTEMD):
        found.add(match[1])
    if match := report.log.find(MEMORY_ENCRYPTION):
        words = set(match[1].split())
        found |= {"sev-snp"} if "SEV-SNP" in words else {"sev-es"} if "SEV-ES" in words else set()
    if report.log.find(SNP_GUEST) or report.log.find(SEV_STATUS) or isolation(report) == "sev-snp":
        found.add("sev-snp")
    for caption, one in (("SNP", "sev-snp"), ("SEV-ES", "sev-es"), ("SEV", "sev")):
        if report.snphost.guest.get(caption):  # each of them has those behind it
            found.add(one)
            break
    if trust_domain(report):
        found.add("tdx")
    if report.log.find(REALM):
        found.add("cca")
    if report.sysfs.get("/sys/firmware/uv/prot_virt_guest") == "1" or report.log.find(SECURE_GUEST):
        found.add("protvirt")
    return frozenset(found)


def encrypted(report: HostReport) -> bool:
    """Whether the kernel says that its memory is encrypted by SEV, of whichever kind and maker."""
    match = report.log.find(MEMORY_ENCRYPTION)
    told = report.log.find(LEGACY_SEV) or report.log.find(HYGON_CSV)
    return bool(told or (match and "SEV" in match[1].split()))


def ordinary(report: HostReport) -> bool:
    """Whether this is a guest that is in no TEE: systemd says so, and nothing else says otherwise."""
    return report.virt.get("cvm") == "none" and not kinds(report)


def hypervisor_bit(report: HostReport) -> bool | None:
    """Whether the CPU says that it is virtual (CPUID 1 ECX bit 31, the flag ``hypervisor`` of cpuinfo), or lscpu does."""
    flags = report.processor.flags
    if (flags is not None and "hypervisor" in flags) or report.processor.hypervisor:
        return True
    leaf = report.cpuid.leaf(1)
    if leaf is not None:
        return bit(leaf.ecx, 31)
    # The list of features that other architectures have says nothing of this; every x86 CPU has an FPU.
    return False if flags is not None and "fpu" in flags and report.processor.flags_whole else None


def role(report: HostReport) -> Role | None:
    """Host or guest; None where nothing tells."""
    virt = report.virt.get("vm")
    below = report.processor.hypervisor is not None or report.log.find(VIRTUAL) is not None
    virtual = hypervisor_bit(report) or below or (virt is not None and virt not in _NO_VM)
    if kinds(report) or virtual or encrypted(report):
        return Role.GUEST
    x86 = report.machine in (None, "x86_64") and report.processor.facilities is None
    if x86 and hypervisor_bit(report) is False:
        return Role.HOST
    return Role.HOST if virt in _NO_VM or report.log.find(NATIVE) else None
