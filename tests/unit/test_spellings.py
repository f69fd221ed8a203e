"""Spellings that kernels and tools have used for one thing. The lines are made for the test in the wording of the source
that stands beside them; real ones are in the corpus."""

from __future__ import annotations

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.checks.verdict import CheckResult, HostJudgement, State
from strongroom.model.platform import Platform
from strongroom.probe import dmesg
from strongroom.probe.report import HostReport
from tests.reference import add, edit, make


def judged(section: str, *lines: str) -> HostJudgement:
    found = judge(HostReport.of({section: lines}), catalogue())
    assert State.READY not in {one.state for one in found.platforms.values()}
    return found


def said(judgement: HostJudgement, name: str) -> CheckResult:
    result = judgement.check(name)
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("line", "check", "verdict", "remedy"),
    [
        # arch/x86/kernel/cpu/feat_ctl.c: 5.11; 6.12 (commit 7678a53a1688); 5.13.
        ("x86/cpu: SGX disabled by BIOS.", "SGX-LOG", "fail", "in the BIOS"),
        ("x86/cpu: SGX disabled or unsupported by BIOS.", "SGX-LOG", "fail", "in the BIOS"),
        ("x86/cpu: SGX Launch Control is locked. Disable SGX.", "SGX-LOG", "fail", "launch control"),
        (
            "x86/cpu: SGX Launch Control is locked. Support SGX virtualization only.",
            "SGX-LOG",
            "fail",
            "launch control",
        ),
        # arch/x86/kernel/cpu/sgx/main.c, sgx_page_cache_init
        ("sgx: There are zero EPC sections.", "SGX-LOG", "fail", "PRMRR"),
        # arch/x86/kernel/cpu/sgx/driver.c, 5.11 and 6.15; the out-of-tree driver before it
        ("sgx: SGX disabled: SGX1 instruction support not available.", "SGX-LOG", "fail", "PRMRR"),
        (
            "sgx: SGX disabled: SGX launch control CPU feature is not available, /dev/sgx_enclave disabled.",
            "SGX-LOG",
            "fail",
            "launch control",
        ),
        ("sgx: sgx: The launch control MSRs are not writable", "SGX-LOG", "fail", "launch control"),
        # drivers/crypto/ccp/psp-dev.c
        (
            "ccp 0000:05:00.2: psp: unable to access the device: you might be running a broken BIOS.",
            "SEV-CCP",
            "fail",
            "BIOS",
        ),
        # drivers/crypto/ccp/sev-dev.c, 6.9
        ("ccp 0000:45:00.1: SEV firmware updated from 1.49.3 to 1.55.21", "SEV-FWUPD", "info", ""),
        ("ccp 0000:45:00.1: SEV firmware updated from 1.49.3 to 1.55.21", "SEV-CCP", "pass", ""),
        # drivers/iommu/amd/init.c of the SNP host series, 5.19 to 6.5
        ("AMD-Vi: SNP enabled", "SNP-IOMMU", "pass", ""),
        ("SEV-SNP: IOMMU is either disabled or configured in passthrough mode.", "SNP-IOMMU", "fail", "iommu=pt"),
        ("AMD-Vi: SNPSup is disabled (devid: 00:00.2)", "SNP-IOMMU", "fail", "north bridge"),
        # arch/x86/kvm/svm/sev.c, as people write it down
        ("kvm_amd: SEV-SNP disabled (ASIDs 0-0)", "SNP-STATE", "fail", "minimum ASID"),
        # arch/x86/kvm/svm/sev.c, where the least ASID is 0
        ("kvm_amd: SEV-ES enabled (ASIDs 0 - 4294967295)", "SEV-ASID", "fail", "minimum ASID"),
        ("kvm_amd: SEV-ES disabled (ASIDs 1 - 4294967295)", "SEV-ASID", "fail", "minimum ASID"),
        ("kvm_amd: SEV enabled (ASIDs 1 - 509)", "SEV-ASID", "fail", "minimum ASID"),
        ("kvm_amd: SEV enabled (ASIDs 100 - 509)", "SEV-ASID", "pass", ""),
        ("SEV supported: 509 ASIDs", "SEV-ASID", "fail", "minimum ASID"),
        ("SEV supported: 410 ASIDs", "SEV-ASID", "unknown", ""),
        # arch/x86/virt/vmx/tdx/tdx.c before 6.8 (a call that faulted); of 5.19; Documentation/arch/x86/tdx.rst; 7.1
        # arch/x86/virt/vmx/tdx/tdx.c of the host series of 2023
        ("tdx: [firmware bug]: TDX is not enabled by BIOS.", "TDX-MODLOG", "fail", "in the BIOS"),
        ("tdx: initialization failed (-19)", "TDX-MODLOG", "fail", "SEAM loader"),
        ("tdx: not enabled by BIOS.", "TDX-MODLOG", "fail", "SEAM loader"),
        ("tdx: Cannot enable TDX on TDX disabled platform", "TDX-MODLOG", "fail", "SEAM loader"),
        ("virt/tdx: BIOS enabled: private KeyID range: [16, 64)", "TDX-BIOSLOG", "pass", ""),
        ("virt/tdx: TDX not supported by the host platform", "TDX-BIOSLOG", "fail", "key split"),
        ("virt/tdx: XSAVE is required for TDX", "TDX-MODLOG", "fail", "kernel said"),
        ("virt/tdx: TDX-Module initialized", "TDX-MODLOG", "pass", ""),
        # arch/x86/include/asm/tdx.h's seamcall_prerr, 6.8; tdx.c of the host series before it; a refused metadata field is none
        ("virt/tdx: SEAMCALL (0x0000000000000021) failed: 0xc000090000000000", "TDX-MODLOG", "fail", "refused a call"),
        ("tdx: SEAMCALL failed: CPU 3: leaf 33, error 0xc000092100000122.", "TDX-MODLOG", "fail", "refused a call"),
        ("virt/tdx: SEAMCALL (0x0000000000000022) failed: 0xc000010000000000", "TDX-MODLOG", "unknown", ""),
        # arch/x86/kvm/vmx/tdx.c of the host series: without the module's name
        ("TDX requires TDP MMU.  Please enable TDP MMU for TDX.", "TDX-KVM", "fail", "kvm.tdp_mmu=0"),
        # arch/x86/virt/vmx/tdx/tdx_global_metadata.c, 7.0; the form in its changelog
        ("virt/tdx: Module version: 1.5.24", "TDX-MODVER", "pass", ""),
        ("virt/tdx: TDX module version: 1.5.24", "TDX-MODVER", "pass", ""),
        # arch/x86/virt/vmx/tdx/tdx.c of the host series, 5.19
        (
            "tdx: TDX module: vendor_id 0x8086, major_version 1, minor_version 5, build_date 20230323, build_num 481",
            "TDX-MODVER",
            "pass",
            "",
        ),
        # arch/x86/kernel/cpu/intel.c, detect_tme, 5.18 to 6.10
        ("x86/mktme: disabled by BIOS", "TDX-TMELOG", "fail", "TME-MT"),
        ("x86/tme: configuration is inconsistent between CPUs", "TDX-TMELOG", "fail", "differently"),
        # arch/x86/virt/svm/sev.c, setup_rmptable, 6.14
        (
            "SEV-SNP: Invalid RMP size 0x80000000 for configured segment size 0x40000000",
            "SNP-RMPLOG",
            "fail",
            "update the BIOS",
        ),
        ("SEV-SNP: Failed to map RMP segment addr 0x8800000 size 0x8800000", "SNP-RMPLOG", "fail", "update the BIOS"),
        # arch/s390/kernel/uv.c
        ("prot_virt: Failed to reserve 102760448 bytes for ultravisor base storage", "SE-UV", "fail", "below 2 GiB"),
        ("prot_virt.5e2f1c: Ultravisor init failed with rc: 0x101 rrc: 00", "SE-UV", "fail", "prot_virt"),
        ("prot_virt: Protected virtualization not supported by the hardware.", "SE-UV", "fail", "prot_virt"),
        # arch/x86/kvm/vmx/tdx.c, 6.16
        ("kvm_intel: tdx: MOVDIR64B is required for TDX", "TDX-KVM", "fail", "clearcpuid"),
        ("kvm_intel: Self-snoop is required for TDX", "TDX-KVM", "fail", "clearcpuid"),
        # arch/arm64/kernel/rmi.c and arch/arm64/kvm/rme.c of the KVM CCA series; arch/arm64/kernel/rsi.c, 6.13
        ("RMI: RMI ABI version 1.0", "CCA-RMI", "pass", ""),
        ("kvm [1]: RMI ABI version 1.0", "CCA-RMI", "pass", ""),
        ("RMM activate failed", "CCA-RMI", "fail", "update the firmware"),
        # Trusted Firmware-A services/std_svc/rmmd/rmmd_main.c
        ("ERROR:   RMM init failed: -2", "CCA-RMI", "fail", "update the firmware"),
        ("kvm [1]: Unsupported RMI ABI (v1.0 - v1.1) we want v2.0", "CCA-RMI", "fail", "same age"),
        ("RME: RMM doesn't support RSI version 1.0. Supported range: 2.0-2.1", "G-CCA", "fail", "RMM"),
        # arch/x86/kernel/process.c; drivers/virt/coco/sev-guest, which only SEV-SNP has; arch/x86/coco/sev/core.c
        ("process: using TDX aware idle routine", "G-TDX", "pass", ""),
        ("sev-guest sev-guest: Initialized SEV guest driver (using VMPCK0 communication key)", "G-SNPDEV", "pass", ""),
        ("SEV: APIC: wakeup_secondary_cpu() replaced with wakeup_cpu_via_vmgexit()", "G-KIND", "pass", ""),
        # arch/x86/kernel/cpu/mshyperv.c; enum hv_isolation_type: 1 VBS, 2 SEV-SNP, 3 TDX
        ("Hyper-V: Isolation Config: Group A 0x1, Group B 0xba2", "G-KIND", "pass", ""),
        ("Hyper-V: Isolation Config: Group A 0x1, Group B 0xbe3", "G-TDX", "pass", ""),
        ("Hyper-V: Isolation Config: Group A 0x0, Group B 0x1", "G-KIND", "unknown", ""),
        # arch/x86/coco/core.c and systemd's manager, as a TDX guest prints them
        ("Memory Encryption Features active: Intel TDX", "G-TDX", "pass", ""),
        ("systemd[1]: Detected confidential virtualization sev-snp.", "G-KIND", "pass", ""),
        # arch/x86/coco/sev/core.c, sev_show_status; drivers/virt/coco/sev-guest without its bracket; arm64's rsi.c of the RFC
        ("SEV: Status: SEV SEV-ES SEV-SNP DebugSwap", "G-MEF", "pass", ""),
        ("SEV: Status: SEV SEV-ES", "G-MEF", "unknown", ""),
        ("SEV: Status: vTom", "G-MEF", "unknown", ""),
        # a line that was quoted in a sentence
        ('"Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP".', "G-MEF", "pass", ""),
        ("RME: RSI version 1.0 advertised", "G-CCA", "pass", ""),
        ("RME: RSI version 0.5 not supported", "G-CCA", "fail", "RMM"),
    ],
)
def test_a_line_of_the_kernels_log_is_understood(line: str, check: str, verdict: str, remedy: str) -> None:
    found = said(judged("dmesg", f"[    1.500000] {line}"), check)
    assert (found.verdict, remedy in found.remedy) == (verdict, True), found


def test_enclave_memory_for_guests_alone_is_not_taken_for_sgx_on_the_host() -> None:
    found = judged(
        "dmesg",
        "[    0.166514] x86/cpu: SGX Launch Control is locked. Support SGX virtualization only.",
        "[    0.235418] sgx: EPC section 0x40200000-0x45f7ffff",
    )
    assert said(found, "SGX-LOG").verdict == "fail"


def test_what_tdx_says_on_every_other_machine_is_no_fault_of_a_guest() -> None:
    found = judged(
        "dmesg",
        "[    0.012345] Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP",
        "[    0.512345] virt/tdx: TDX not supported by the host platform",
    )
    assert said(found, "TDX-BIOSLOG").verdict == "skip"


def test_a_reason_that_is_the_last_word_is_no_success_of_before() -> None:
    ready = make("tdx")
    why = "[   99.000000] virt/tdx: initialization failed: TDMR [0x40000000, 0x80000000): reserved areas exhausted."
    found = judge(HostReport.of(add(ready, "dmesg", why)), catalogue())
    assert said(found, "TDX-MODLOG").verdict == "fail"
    none = judge(
        HostReport.of(add(ready, "dmesg", "[   99.000000] virt/tdx: TDX not supported by the host platform")),
        catalogue(),
    )
    assert said(none, "TDX-BIOSLOG").verdict == "fail"


def test_an_rmp_table_that_was_found_and_not_set_up_is_none() -> None:
    host = add(
        make("snp-segmented"),
        "dmesg",
        "[    9.000000] SEV-SNP: Invalid RMP segment base address 0x900000000000 for configured segment size 0x2000000000",
    )
    found = judge(HostReport.of(host), catalogue())
    assert (said(found, "SNP-RMPLOG").verdict, found.state(Platform.SNP)) == ("fail", State.CAPABLE)


def test_what_kvm_asks_for_is_not_the_modules_failure() -> None:
    found = judged("dmesg", "kvm_intel: tdx: MOVDIR64B is required for TDX")
    assert said(found, "TDX-MODLOG").verdict == "unknown"


def test_enclave_memory_beside_a_driver_that_gave_up_is_not_sgx_on_the_host() -> None:
    found = judged(
        "dmesg",
        "[    0.265349] sgx: EPC section 0x70200000-0x75f7ffff",
        "[    0.266041] sgx: SGX disabled: SGX launch control CPU feature is not available, /dev/sgx_enclave disabled.",
    )
    assert said(found, "SGX-LOG").verdict == "fail"


# drivers/crypto/ccp/sev-dev.c of the SNP host series: the version is printed after an INIT that failed, too.
OLD_FIRMWARE = (
    "[    4.364000] ccp 0000:47:00.1: sev enabled",
    "[    4.364896] ccp 0000:47:00.1: SEV: failed to INIT error 0x1, rc -5",
    "[    4.364901] ccp 0000:47:00.1: SEV API:1.52 build:4",
)
RELOADED = (
    "[  822.101000] ccp 0000:47:00.1: sev enabled",
    "[  822.140000] ccp 0000:47:00.1: SEV firmware update successful",
    "[  823.900000] ccp 0000:47:00.1: SEV API:1.55 build:21",
)


def test_a_version_after_a_failed_init_is_no_success_and_ccp_loaded_again_is() -> None:
    assert said(judged("dmesg", *OLD_FIRMWARE), "SEV-FW").verdict == "fail"
    mended = said(judged("dmesg", *OLD_FIRMWARE, *RELOADED), "SEV-FW")
    assert (mended.verdict, "1.55" in mended.seen) == ("pass", True)
    again = OLD_FIRMWARE[1].replace("    4.364896", "  823.900000")
    assert said(judged("dmesg", *OLD_FIRMWARE, *RELOADED[:2], again), "SEV-FW").verdict == "fail"
    assert said(judged("dmesg", *OLD_FIRMWARE, RELOADED[0]), "SEV-FW").verdict == "fail"


def test_a_secure_processor_that_gives_no_status_offers_nothing() -> None:
    # AMDESE/AMDSEV issues 246, 105 and 184: there is no /dev/sev, whatever ccp said before and kvm_amd says after it.
    lines = (
        "ccp 0000:02:00.5: sev enabled",
        "ccp 0000:02:00.5: SEV: failed to get status. Error: 0x8003",
        "kvm_amd: SEV-SNP enabled (ASIDs 1 - 255)",
    )
    found = judged("dmesg", *lines)
    assert said(found, "SEV-CCP").verdict == "fail"
    assert (said(found, "SNP-STATE").verdict, said(found, "SNP-STATE").blocked_by) == ("skip", "SEV-CCP")
    slow = "[12353.200983] ccp 0000:01:00.5: sev command 0x4 timed out, disabling PSP"
    assert said(judged("dmesg", lines[0], slow), "SEV-CCP").verdict == "fail"
    assert said(judged("dmesg", *lines, *RELOADED), "SEV-CCP").verdict == "pass"
    # One that answers and then hangs in SNP_INIT_EX is there; what it hung in is the failure.
    hung = judged("dmesg", lines[0], slow.replace("0x4", "0x85"), "ccp 0000:01:00.5: SEV-SNP: failed to INIT error 0x0")
    assert [said(hung, name).verdict for name in ("SEV-CCP", "SNP-INIT")] == ["pass", "fail"]


def test_firmware_that_was_too_old_and_was_loaded_anew_is_new_enough() -> None:
    lines = (
        "[    4.300000] ccp 0000:47:00.1: SEV-SNP support requires firmware version >= 1:51",
        "[    4.364901] ccp 0000:47:00.1: SEV API:1.49 build:3",
    )
    assert said(judged("dmesg", *lines), "SNP-FW").verdict == "fail"
    assert said(judged("dmesg", *lines, *RELOADED), "SNP-FW").verdict == "pass"


def test_an_init_of_sev_that_fails_beside_snps_is_no_word_on_memory_encryption() -> None:
    lines = (
        "[   14.150879] ccp 0000:49:00.1: SEV: failed to INIT error 0x13",
        "[   14.150923] ccp 0000:49:00.1: SEV-SNP API:1.51 build:3",
    )
    assert said(judged("dmesg", lines[0]), "SEV-SMEE").verdict == "fail"
    found = judged("dmesg", *lines)
    assert [said(found, name).verdict for name in ("SEV-SMEE", "SEV-FW", "SNP-INIT")] == ["unknown", "fail", "pass"]


@pytest.mark.parametrize(
    "prefix",
    [
        "[Tue Oct  4 10:11:12 2022] ",
        "Nov  4 10:11:12.123456 host7 kernel: ",
        "10.0.0.7: kern:    info: [2024-10-04T10:11:12.345678901Z]: ",
        "[三 9月 13 12:04:49 2023] ",
        "2024-10-04T10:11:12,345678+00:00 ",
        "kern  :info  : [    0.000000] ",
        "kern  :warn  : [Tue Oct  4 10:11:12 2022] ",
    ],
)  # fmt: skip
def test_forms_of_dmesg(prefix: str) -> None:
    (line,) = dmesg.parse([f"{prefix}Command line: ro iommu=pt"]).lines
    assert line.text.endswith("Command line: ro iommu=pt")
    found = said(judged("dmesg", f"{prefix}Command line: ro iommu=pt"), "SNP-IOMMU")
    assert (found.verdict, "iommu=pt" in found.seen) == ("fail", True)


def test_blanks_that_a_paste_doubled_do_not_hide_a_line() -> None:
    found = judged(
        "dmesg",
        "[    8.895333] ccp 0000:23:00.1:  SEV-SNP:  failed to INIT error  0x3",
        "ccp 0000:23:00.1:  sev enabled",
    )
    assert (said(found, "SNP-INIT").verdict, said(found, "SEV-CCP").verdict) == ("fail", "pass")


def test_a_reference_host_stays_ready_beside_the_new_words() -> None:
    host = edit(make("snp"), "dmesg", "IOMMU SNP support enabled.", "SNP enabled")
    assert judge(HostReport.of(host), catalogue()).state(Platform.SNP) is State.READY
