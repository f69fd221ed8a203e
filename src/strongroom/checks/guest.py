"""Inside a guest: which TEE it is in, and whether it can prove that."""

from __future__ import annotations

import re

from strongroom.checks import role
from strongroom.checks.evidence import msr_bits
from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, noted, passed, unknown, warned
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport
from strongroom.probe.text import number

SEV_STATUS = 0xC0010131
SNP_DRIVER = re.compile(r"\bInitialized SEV guest driver\b.*")
# Without a key the device is there and no request of it is answered. The kernel forgets one that it could use twice.
NO_KEY = re.compile(
    r"\bDisabling (?:vmpck_id |VMPCK)\d\b.*|\b(?:[Ee]mpty|[Ii]nvalid) (?:vmpck id |VMPCK)\d\b.*|\bvmpck id \d is null\b"
)
VMPL = re.compile(r"\bSEV: SNP running at VMPL(\d)\b")
SWIOTLB = re.compile(r"\bCan not allocate SWIOTLB buffer.*")
TSM = "/sys/kernel/config/tsm/report"
EVENT_LOG = "/sys/kernel/security/tpm0/binary_bios_measurements"
# drivers/char/tpm/tpm_tis_core.c, which firmware TPMs of hypervisors look like.
TPM_FAMILY = re.compile(r"\btpm_tis\w{0,8} \S{1,40}: (\d\.\d) TPM \(")
_TPM2_MAJOR, _TPM2_FAMILY = 2, "2.0"
CCEL = ("/sys/firmware/acpi/tables/CCEL", "/sys/firmware/acpi/tables/data/CCEL")


@judges("G-KIND")
def kind(report: HostReport, check: Check) -> Finding:
    """Kernel and systemd should agree; an ordinary virtual machine is no fault."""
    found, said = role.kinds(report), report.virt.get("cvm")
    if found and said == "none":
        return warned(f"systemd-detect-virt says none, the kernel {', '.join(sorted(found))}")
    if found:
        return passed(", ".join(sorted(found)))
    return noted("an ordinary virtual machine") if role.ordinary(report) else unknown(report.section("virt").why)


@judges("G-MEF")
def memory_encryption(report: HostReport, check: Check) -> Finding:
    """Three generations of one line. SEV alone may be an SNP guest below a paravisor, so it proves neither."""
    match = report.log.find(role.MEMORY_ENCRYPTION)
    if match is not None:
        features = set(match[1].split())
        if "SEV-SNP" in features:
            return passed(match[0])
        return failed(match[0]) if "SEV-ES" in features else unknown(f"{match[0]}: plain SEV, or SNP below a paravisor")
    if status := report.log.find(role.SEV_STATUS):
        return passed(status[0])
    if legacy := report.log.find(role.LEGACY_SEV):
        return failed(legacy[0])
    return unknown(report.section("dmesg").why)


@judges("G-SNPMSR")
def status_register(report: HostReport, check: Check) -> Finding:
    """SEV_STATUS on every CPU; snpguest reads it of one."""
    if off := [name for name, on in report.snphost.guest.items() if not on]:
        return failed(f"snpguest: without {', '.join(off)}")
    return msr_bits(report, SEV_STATUS, {0: "SEV", 1: "SEV-ES", 2: "SEV-SNP"})


@judges("G-SNPDEV")
def report_device(report: HostReport, check: Check) -> Finding:
    """/dev/sev-guest, which paravisors hide: Azure's evidence comes from its vTPM."""
    if (said := report.log.last(SNP_DRIVER, NO_KEY)) and said[0] == 1:
        return failed(said[1][0], "key")
    if "/dev/sev-guest" in report.nodes:
        return passed("/dev/sev-guest")
    if "sev-snp" not in role.kinds(report):
        return unknown("nothing says that this is a SEV-SNP guest")
    if report.lacks("/dev/sev-guest"):
        return failed("no /dev/sev-guest")
    match = report.log.find(SNP_DRIVER)
    return passed(match[0]) if match else unknown(report.section("devices").why)


@judges("G-VMPL")
def privilege_level(report: HostReport, check: Check) -> Finding:
    """0 without a service module, above it with one: both are right."""
    match = report.log.find(VMPL)
    value = number(report.sysfs.get("/sys/devices/system/cpu/sev/vmpl"))
    level = value if value is not None else int(match[1]) if match else None
    if level is None:
        return unknown(report.section("dmesg").why)
    return noted("VMPL0" if level == 0 else f"VMPL{level}, under a service module")


@judges("G-TDX")
def trust_domain(report: HostReport, check: Check) -> Finding:
    """Any of flag, CPUID and log: some kernels have TDX and no flag."""
    if role.trust_domain(report):
        return passed("the kernel runs in a trust domain")
    if role.tdx_leaf(report) is False:
        asked = "tdx" in role.kinds(report)
        return failed("CPUID leaf 21 does not name TDX") if asked else noted("not a trust domain")
    return unknown(report.section("cpuid").why)


@judges("G-TDXDEV")
def quote_device(report: HostReport, check: Check) -> Finding:
    """The driver that makes TD reports."""
    if "/dev/tdx_guest" in report.nodes:
        return passed("/dev/tdx_guest")
    if "tdx" not in role.kinds(report):
        return unknown("nothing says that this is a TDX guest")
    return failed("no /dev/tdx_guest") if report.lacks("/dev/tdx_guest") else unknown(report.section("devices").why)


@judges("G-TSM")
def report_interface(report: HostReport, check: Check) -> Finding:
    """What configfs shows of a report that somebody made. The probe makes none: that would be a change."""
    entries = {path.rpartition("/")[0] for path in report.sysfs if path.startswith(f"{TSM}/")}
    for entry in sorted(entries):
        provider, size = report.sysfs.get(f"{entry}/provider"), number(report.sysfs.get(f"{entry}/outblob_bytes"))
        if provider and provider not in check.words("providers"):
            return failed(f"provider {provider}")
        if provider and size == 0:
            return failed(f"{provider} gives an empty report", "empty")
        if provider and size:
            return passed(f"{provider}, {size} bytes")
    return unknown("no report was made" if TSM in report.nodes else report.section("sysfs").why)


@judges("G-CCEL")
def event_log(report: HostReport, check: Check) -> Finding:
    """The firmware's log of what it measured into the TD's registers."""
    if any(path in report.nodes or path in report.sysfs for path in CCEL):
        return passed("CCEL")
    section = report.section("devices")
    if "tdx" not in role.kinds(report):
        return unknown("nothing says that this is a TDX guest")
    return warned("no CCEL") if section.complete else unknown(section.why)


@judges("G-TPMDEV")
def tpm(report: HostReport, check: Check) -> Finding:
    """A TPM 2.0, by its resource manager's device: the kernel makes none for an older one (drivers/char/tpm/tpm-chip.c). Its
    version in sysfs and in the log are the same word."""
    major, said = number(report.sysfs.get("/sys/class/tpm/tpm0/tpm_version_major")), report.log.find(TPM_FAMILY)
    if major not in (None, _TPM2_MAJOR):
        return failed(f"TPM {major}")
    if said and said[1] != _TPM2_FAMILY:
        return failed(f"TPM {said[1]}")
    if "/dev/tpmrm0" in report.nodes:
        return passed("TPM 2")
    if report.lacks("/dev/tpmrm0"):
        return failed("/dev/tpm0 alone: TPM 1.2") if "/dev/tpm0" in report.nodes else noted("no TPM")
    return passed("TPM 2") if major or said else unknown(report.section("devices").why)


@judges("G-TPM")
def measurements(report: HostReport, check: Check) -> Finding:
    """What the firmware measured: a TPM without it is one that proves nothing yet."""
    contents = report.contents.get(EVENT_LOG)
    if contents == "empty":
        return failed("the firmware's event log is empty")
    if EVENT_LOG in report.nodes:
        return passed("the firmware's event log") if contents is None else unknown("needs root")
    return failed("no event log of the firmware") if report.lacks(EVENT_LOG) else unknown(report.section("devices").why)


@judges("G-SECRET")
def injected_secret(report: HostReport, check: Check) -> Finding:
    """For the record: whether the launcher handed a secret in."""
    path = "/sys/kernel/security/secrets/coco"
    section = report.section("devices")
    if path in report.nodes:
        return noted("injected secrets are here")
    return noted("none") if section.complete else unknown(section.why)


@judges("G-SWIOTLB")
def bounce_buffers(report: HostReport, check: Check) -> Finding:
    """Without bounce buffers no device works in an encrypted guest."""
    if match := report.log.find(SWIOTLB):
        return failed(match[0])
    return passed("no complaint") if report.log.whole else unknown(report.section("dmesg").why)
