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
        # drivers/iommu/amd/init.c of the SNP host series, 5.19 to 6.5
        ("AMD-Vi: SNP enabled", "SNP-IOMMU", "pass", ""),
        # arch/x86/virt/vmx/tdx/tdx.c before 6.8 (a call that faulted); of 5.19; Documentation/arch/x86/tdx.rst; 7.1
        ("tdx: not enabled by BIOS.", "TDX-MODLOG", "fail", "SEAM loader"),
        ("tdx: Cannot enable TDX on TDX disabled platform", "TDX-MODLOG", "fail", "SEAM loader"),
        ("virt/tdx: BIOS enabled: private KeyID range: [16, 64)", "TDX-BIOSLOG", "pass", ""),
        ("virt/tdx: TDX not supported by the host platform", "TDX-BIOSLOG", "fail", "key split"),
        ("virt/tdx: XSAVE is required for TDX", "TDX-MODLOG", "fail", "kernel said"),
        ("virt/tdx: TDX-Module initialized", "TDX-MODLOG", "pass", ""),
        # arch/x86/virt/vmx/tdx/tdx_global_metadata.c, 7.0; the form in its changelog
        ("virt/tdx: Module version: 1.5.24", "TDX-MODVER", "pass", ""),
        ("virt/tdx: TDX module version: 1.5.24", "TDX-MODVER", "pass", ""),
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
        # arch/x86/kvm/vmx/tdx.c, 6.16
        ("kvm_intel: tdx: MOVDIR64B is required for TDX", "TDX-KVM", "fail", "kvm_intel"),
        ("kvm_intel: Self-snoop is required for TDX", "TDX-KVM", "fail", "kvm_intel"),
        # arch/arm64/kernel/rmi.c and arch/arm64/kvm/rme.c of the KVM CCA series; arch/arm64/kernel/rsi.c, 6.13
        ("RMI: RMI ABI version 1.0", "CCA-RMI", "pass", ""),
        ("kvm [1]: RMI ABI version 1.0", "CCA-RMI", "pass", ""),
        ("kvm [1]: Unsupported RMI ABI (v1.0 - v1.1) we want v2.0", "CCA-RMI", "fail", "same age"),
        ("RME: RMM doesn't support RSI version 1.0. Supported range: 2.0-2.1", "G-CCA", "fail", "RMM"),
        # arch/x86/coco/core.c and systemd's manager, as a TDX guest prints them
        ("Memory Encryption Features active: Intel TDX", "G-TDX", "pass", ""),
        ("systemd[1]: Detected confidential virtualization sev-snp.", "G-KIND", "pass", ""),
        # arch/x86/coco/sev/core.c, sev_show_status; drivers/virt/coco/sev-guest without its bracket; arm64's rsi.c of the RFC
        ("SEV: Status: SEV SEV-ES SEV-SNP DebugSwap", "G-MEF", "pass", ""),
        ("SEV: Status: SEV SEV-ES", "G-MEF", "unknown", ""),
        ("SEV: Status: vTom", "G-MEF", "unknown", ""),
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


# virtee/snphost src/ok: captions before 2025, which sevctl ok has still, and how a version that is too old is told.
OLD = (
    "[ PASS ]     - SME: Enabled in MSR",
    "[ PASS ]     - Encrypted State (SEV-ES)",
    "[ PASS ]     - Secure Nested Paging (SEV-SNP)",
    "[ PASS ]         - Number of VMPLs: 4",
    "[ PASS ]       - SNP: Enabled in MSR",
    "[ PASS ]       - SEV Firmware Version: Sev firmware version: 1.55",
    "[ PASS ]       - SNP INIT: SNP is INIT",
    "[ PASS ]     - Reading /dev/sev: /dev/sev readable",
    "[ PASS ]     - Writing /dev/sev: /dev/sev writable",
    "[ FAIL ]   - SEV-SNP enabled in KVM: disabled",
)


def test_older_captions_of_snphost_are_the_same_questions() -> None:
    found = judged("snphost", *OLD)
    for name in ("SNP-INIT", "SNP-FW", "SEV-DEV", "SEV-CCP", "SNP-CPUID"):
        assert said(found, name).verdict == "pass", name
    assert said(found, "SNP-KVM").verdict == "fail"


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("SNP: Enabled", "SNP: Disabled", "SNP-SYSCFG"),
        ("SME: Enabled", "SME: Disabled", "SEV-SMEE"),
    ],
)
def test_a_bit_that_snphost_found_off_fails(old: str, new: str, check: str) -> None:
    lines = [line.replace("PASS", "FAIL").replace(old, new) if old in line else line for line in OLD]
    assert said(judged("snphost", *lines), check).verdict == "fail"


def test_a_version_that_is_told_over_two_lines_is_read() -> None:
    found = said(
        judged(
            "snphost",
            "[ FAIL ]       - SEV Firmware Version: SEV firmware version needs to be at least 1.51,",
            "                            current firmware version: 1.42",
        ),
        "SNP-FW",
    )
    assert (found.verdict, "1.42" in found.seen) == ("fail", True)


def test_what_snphost_could_not_read_is_no_failure_of_the_host() -> None:
    found = judged(
        "snphost",
        "[ FAIL ]     - SME: MSR read failed: Error Reading MSR",
        "[ FAIL ]     - SEV firmware version: Failed to get SEV Platform Status unable to open /dev/sev",
        "[ FAIL ]       - SNP: MSR read failed: Error Reading MSR",
        "[ FAIL ]       - SNP initialized: Failed to get SNP Platform status unable to open /dev/sev",
        "[ FAIL ]     - /dev/sev readable: Not readable: Permission denied (os error 13)",
        "[ FAIL ]     - /dev/sev writable: Not writable: Permission denied (os error 13)",
    )
    for name in ("SEV-SMEE", "SEV-DEV", "SEV-CCP", "SNP-FW", "SNP-SYSCFG", "SNP-INIT"):
        assert said(found, name).verdict == "unknown", name
    gone = "[ FAIL ]     - /dev/sev readable: Not readable: No such file or directory (os error 2)"
    assert said(judged("snphost", gone, gone.replace("read", "writ")), "SEV-DEV").verdict == "fail"


def test_sevctl_on_a_bios_that_hides_snp() -> None:
    assert said(judged("snphost", "[ FAIL ]     - Secure Nested Paging (SEV-SNP)"), "SNP-CPUID").verdict == "fail"


def test_launch_control_is_read_from_leaf_7_and_not_from_the_leaf_before_it() -> None:
    # ayeks/SGX-hardware test-sgx.c prints leaf 1 first; its ECX bit 30 is RDRAND, which every such CPU has.
    lines = [
        "eax: 506e3 ebx: 100800 ecx: 7ffafbbf edx: bfebfbff",
        "Extended feature bits (EAX=07H, ECX=0H)",
        "eax: 0 ebx: 29c6fbf ecx: 0 edx: 0",
        "sgx available: 1",
    ]
    found = said(judged("sgx-status", *lines), "SGX-CPUID")
    assert (found.verdict, "launch control" in found.seen) == ("fail", True)
    assert said(judged("sgx-status", *lines, "sgx launch control: 1"), "SGX-CPUID").verdict == "pass"


def test_test_sgx_tells_enclave_memory_by_section() -> None:
    size = "size of EPC section in Processor Reserved Memory, {} M"
    found = judged(
        "sgx-status",
        "sgx available: 1",
        "sgx launch control: 1",
        "sgx 1 supported: 1",
        size.format(2028),
        size.format(2036),
    )
    assert said(found, "SGX-LEAF12").seen == "SGX1, 4064 MiB of enclave memory"
    none = judged("sgx-status", "sgx available: 1", "sgx launch control: 1", "sgx 1 supported: 1", size.format(0))
    assert said(none, "SGX-LEAF12").verdict == "fail"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # nvidia-smi conf-compute -f, -e and -grs of NVIDIA's deployment guide; go-tpm-tools pull request 542
        (("CC status: ON", "CC Environment: PRODUCTION", "Confidential Compute GPUs Ready state: ready"), "pass"),
        (("CC status: ON", "CC Environment: PRODUCTION", "Confidential Compute GPUs Ready state: not-ready"), "fail"),
        (("CC status: ON", "Confidential Compute GPUs Ready state: ready"), "unknown"),
        (("CC Mode : Off",), "fail"),
        (("No CC capable devices found",), "fail"),
    ],
)
def test_nvidia_smi_says_it_in_two_ways(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("nvidia-smi-conf-compute", *lines), "GPU-SMI").verdict == verdict


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # NVIDIA/gpu-admin-tools before v2024.12.06, and how newer versions call a device
        (("INFO Selected GPU 0000:a3:00.0 H100-SXM 0x2330 BAR0 0x98042000000", "gpu.error.GpuError: Unexpected CC state 0x2"), "fail"),
        (("INFO Nvidia 0000:17:00.0 BAR0 0xa0000000 devid 0x2bb5 CC mode is on",), "pass"),
        (("INFO Nvidia 0000:17:00.0 BAR0 0xa0000000 devid 0x2bb5 CC mode is off",), "fail"),
    ],
)  # fmt: skip
def test_nvidias_tools_of_several_ages(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("nvidia-gpu-tools", *lines), "GPU-MODE").verdict == verdict


@pytest.mark.parametrize(
    ("device", "known"),
    [("2322", True), ("233d", True), ("233b", True), ("2901", True), ("2bb5", True), ("3182", True), ("20b5", False)],
)
def test_gpus_of_nvidias_own_list_and_newer_ones_are_known(device: str, known: bool) -> None:
    line = f"c1:00.0 3D controller [0302]: NVIDIA Corporation Device [10de:{device}] (rev a1)"
    assert said(judged("lspci", line), "GPU-ID").verdict == ("pass" if known else "fail")


@pytest.mark.parametrize(
    ("code", "remedy"), [("0xe011", "register the platform"), ("0xb010", "reach its PCCS"), ("0x11001", "journal")]
)
def test_the_cause_of_a_missing_quote_is_named_and_not_its_consequence(code: str, remedy: str) -> None:
    lines = (
        "● qgsd.service - Intel(R) TD Quoting Generation Service",
        "     Loaded: loaded (/usr/lib/systemd/system/qgsd.service; enabled; preset: enabled)",
        "     Active: active (running) since Thu 2025-01-16 08:53:55 UTC; 1h 8min ago",
        "Jan 16 08:55:49 host7 qgsd[73164]: tee_att_init_quote return 0x11001",
        f"Jan 16 08:55:49 host7 qgsd[73164]: Error returned from the p_sgx_get_quote_config API. {code}",
    )
    found = said(judged("units", *lines), "TDX-QGS")
    assert (found.verdict, remedy in found.remedy) == ("fail", True), found


def test_flags_that_lscpu_folded_are_all_there() -> None:
    # util-linux's lscpu folds at the terminal's width, in the middle of a word or between two.
    lines = ("Vendor ID:  AuthenticAMD", "  Model name:  AMD EPYC 7443P 24-Core Processor")
    flags = ("  Flags:  fpu svm vaes vpclmulqdq sev", "          sev_", "          es sev_s", "          np debug_swap")
    assert said(judged("cpuinfo", *lines, *flags), "SEV-FLAGS").verdict == "pass"
    missing = said(judged("cpuinfo", *lines, *flags[:2], "          es debug_swap"), "SEV-FLAGS")
    assert (missing.verdict, missing.seen) == ("fail", "without sev_snp")


@pytest.mark.parametrize(
    "prefix",
    [
        "[Tue Oct  4 10:11:12 2022] ",
        "2024-10-04T10:11:12,345678+00:00 ",
        "kern  :info  : [    0.000000] ",
        "kern  :warn  : [Tue Oct  4 10:11:12 2022] ",
    ],
)  # fmt: skip
def test_forms_of_dmesg(prefix: str) -> None:
    (line,) = dmesg.parse([f"{prefix}Command line: ro iommu=pt"]).lines
    assert line.text == "Command line: ro iommu=pt"
    found = said(judged("dmesg", f"{prefix}Command line: ro iommu=pt"), "SNP-IOMMU")
    assert (found.verdict, "iommu=pt" in found.seen) == ("fail", True)


def test_blanks_that_a_paste_doubled_do_not_hide_a_line() -> None:
    found = judged(
        "dmesg",
        "[    8.895333] ccp 0000:23:00.1:  SEV-SNP:  failed to INIT error  0x3",
        "ccp 0000:23:00.1:  sev enabled",
    )
    assert (said(found, "SNP-INIT").verdict, said(found, "SEV-CCP").verdict) == ("fail", "pass")


def test_the_tables_of_gpus_on_both_sides_are_the_same() -> None:
    assert catalogue().check("GPU-ID").table("ids") == catalogue().check("G-GPU").table("ids")


def test_a_reference_host_stays_ready_beside_the_new_words() -> None:
    host = edit(make("snp"), "dmesg", "IOMMU SNP support enabled.", "SNP enabled")
    assert judge(HostReport.of(host), catalogue()).state(Platform.SNP) is State.READY
