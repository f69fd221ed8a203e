"""Spellings that tools and services have used for one thing, beside those of kernels. The lines are made for the test in the
wording of the source that stands beside them."""

from __future__ import annotations

import pytest

from strongroom.checks.verdict import HostJudgement
from tests.unit.test_spellings import judged, said

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
    found = judged("snphost", gone, gone.replace("read", "writ"))
    # Nothing is wrong with the permissions of a device that is not there.
    assert [said(found, name).verdict for name in ("SEV-CCP", "SEV-DEV")] == ["fail", "skip"]


def test_sevctl_that_asks_for_sev_alone_says_that_kvm_has_it_off() -> None:
    # virtee/sevctl issue 130 (0.3.0) and enarx-archive/sevctl issue 93
    off = "[ FAIL ]     - SEV enabled in KVM: Error - contents read from /sys/module/kvm_amd/parameters/sev: N"
    assert said(judged("snphost", off), "SEV-KVM").verdict == "fail"
    assert said(judged("snphost", "[ PASS ]     - SEV enabled in KVM: enabled"), "SEV-KVM").verdict == "unknown"


# virtee/snphost src/ok/mod.rs, render_verbose and render_json, 2026.
VERBOSE = (
    "=== BIOS Configured ===",
    "  [ PASS ] SEV firmware version: 1.55",
    "           Queries /dev/sev PLATFORM_STATUS for firmware version (requires >= 1.51 for SNP)",
    "  [ FAIL ] SNP: Disabled in MSR",
    "           Reads MSR 0xC0010010 (SYSCFG) bit 24 to verify SNP enabled at system level",
    "           Recommended: BIOS: CBS > CPU Common > SNP Memory Coverage. Run: sudo modprobe msr",
    "=== Platform Initialized ===",
    "  [ PASS ] SEV initialized: Initialized, no guests running",
    "  [ FAIL ] SNP initialized",
    "=== DETECTED ISSUES ===",
    "  1. SNP [FAIL]",
)
JSON = (
    '{"failures": [{"hint": "", "name": "SNP initialized"}], "skipped": ["Alias check"], "tests": [',
    '{"category": "bios_configured", "message": "1.55", "name": "SEV firmware version", "status": "pass"},',
    '{"category": "compliance", "message": {"match": true}, "name": "Comparing TCB values", "status": "pass"},',
    '{"message": "Disabled in MSR", "name": "SNP", "status": "fail"},',
    '{"message": "Initialized, no guests running", "name": "SEV initialized", "status": "pass"},',
    '{"name": "SNP initialized", "status": "fail"}]}',
)


@pytest.mark.parametrize("lines", [VERBOSE, JSON])
def test_snphosts_other_forms_are_the_same_answers(lines: tuple[str, ...]) -> None:
    found = judged("snphost", *lines)
    verdicts = {"SEV-FW": "pass", "SNP-FW": "pass", "SNP-SYSCFG": "fail", "SNP-INIT": "skip"}
    assert {name: said(found, name).verdict for name in verdicts} == verdicts
    assert said(judged("snphost", *(line for line in lines if "Disabled" not in line)), "SNP-INIT").verdict == "fail"


@pytest.mark.parametrize("lines", [JSON[:-1], ('{"tests": [1, {"name": 2}]}',), ('{"tests": {"status": null}}',)])
def test_json_that_is_not_whole_or_another_says_nothing(lines: tuple[str, ...]) -> None:
    assert said(judged("snphost", *lines), "SNP-FW").verdict == "unknown"


def test_sev_that_snphost_found_uninitialised_fails() -> None:
    found = said(judged("snphost", "[ FAIL ]     - SEV initialized: Uninitialized"), "SEV-FW")
    assert (found.verdict, "kvm_amd" in found.remedy) == ("fail", True)


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
    ("lines", "check", "verdict"),
    [
        # rdmsr of msr-tools: of CPU 0, of another, of all
        (("$ sudo rdmsr 0xc0010010", "f40000"), "SEV-SMEE", "unknown"),
        (("$ sudo rdmsr -p 3 0xc0010010", "740000"), "SEV-SMEE", "fail"),
        (("# rdmsr -a c0010010", "f40000", "f40000"), "SEV-SMEE", "pass"),
        (("# rdmsr -a c0010010", "f40000", "740000"), "SEV-SMEE", "fail"),
        (("$ sudo rdmsr -u 0xc0010010", "7602176"), "SEV-SMEE", "unknown"),
        # A field that -f cut out is no register: enabled may still be unlocked, but off is off.
        (("$ sudo rdmsr -f 11:11 0x1401", "1"), "TDX-SEAMRR", "unknown"),
        (("$ sudo rdmsr -a -f 11:11 0x1401", "1", "1"), "TDX-SEAMRR", "unknown"),
        (("$ sudo rdmsr 0x1401 -f 11:11", "0"), "TDX-SEAMRR", "fail"),
        (("$ sudo rdmsr -a -f 11:11 0x1401", "1", "0"), "TDX-SEAMRR", "fail"),
        (("$ sudo rdmsr 0x982 -f 1:1", "0"), "TDX-TME", "fail"),
        (("$ sudo rdmsr -p 3 0x87 -f 63:32", "1"), "TDX-PART", "fail"),
        (("$ sudo rdmsr 0x87 -f 63:32", "20"), "TDX-PART", "unknown"),
        (("$ sudo rdmsr 0xce -f 27:27", "1"), "TDX-PROD", "fail"),
        # AMDESE/AMDSEV issue 292
        (("# rdmsr -f 23:23 0xC0010010", "0"), "SEV-SMEE", "fail"),
        (("$ sudo rdmsr 0x1401", "0"), "TDX-SEAMRR", "fail"),
        (("$ sudo rdmsr 0xa0", "1861"), "TDX-MCHECK", "fail"),
        (("$ sudo rdmsr 0xa0", "0"), "TDX-MCHECK", "unknown"),
        # system-report.sh of canonical/tdx, which asks CPU 0
        (("SGX_AND_MCHECK_STATUS: 1861 (expected value: 0)",), "TDX-MCHECK", "fail"),
        (("SGX_AND_MCHECK_STATUS: 0 (expected value: 0)",), "TDX-MCHECK", "unknown"),
        # issue 144: nothing in the log, for the BIOS had no keys for TDX; issue 360
        (("SEAM_RR bit: 0 (expected value: 1)",), "TDX-SEAMRR", "fail"),
        (("SEAM_RR bit: 1 (expected value: 1)",), "TDX-SEAMRR", "unknown"),
        (("NUM_TDX_PRIV_KEYS: 0",), "TDX-PART", "fail"),
        (("NUM_TDX_PRIV_KEYS: 20",), "TDX-PART", "unknown"),
        (("MK_TME_ENABLED bit: 0 (expected value: 1)",), "TDX-TME", "fail"),
        (("MK_TME_ENABLED bit:  (expected value: 1)",), "TDX-TME", "unknown"),
        (("Production platform: Pre-production (expected value: Production)",), "TDX-PROD", "fail"),
        (("Production platform: Production (expected value: Production)",), "TDX-PROD", "unknown"),
    ],
)
def test_what_rdmsr_printed_is_a_register_of_the_cpus_that_were_asked(
    lines: tuple[str, ...], check: str, verdict: str
) -> None:
    assert said(judged("msr", *lines), check).verdict == verdict


def test_an_amd_cpu_is_no_epyc_for_snphost() -> None:
    amd, name = "[ PASS ] - AMD CPU", "[ {} ]   - Microcode support"
    verdicts = [
        said(judged("snphost", *lines), "SEV-CPU").verdict
        for lines in ((amd, name.format("PASS")), (amd, name.format("FAIL")), (amd,))
    ]
    assert verdicts == ["pass", "fail", "unknown"]


def test_what_cpuid_decodes_is_read_from_a_comment_too() -> None:
    # cpuid.c of etallen's cpuid, 80000001F
    lines = (
        "   SEV-SNP: SEV secure nested paging        = true",
        "   number of VM permission levels           = 0x4 (4)",
        "   minimum SEV guest ASID                   = 0x1 (1)",
    )
    for prefix in ("", "//", "> ", "# "):
        found = judged("cpuid", *(prefix + line for line in lines))
        assert (said(found, "SNP-CPUID").verdict, said(found, "SEV-ASID").verdict) == ("pass", "fail"), prefix
    fewer = judged("cpuid", lines[0], lines[1].replace("4", "1"))
    assert said(fewer, "SNP-CPUID").verdict == "fail"


# fortanix/rust-sgx sgxs-tools, sgx_detect/tests_abstraction.rs
def detected(cache: str, launch: str, size: str) -> HostJudgement:
    return judged(
        "sgx-status",
        "✔  SGX instruction set",
        "  ✔  CPU support",
        f"  {cache}  Enclave Page Cache",
        f"    Total EPC size: {size}",
        "✔  Flexible launch control",
        f"  {launch} CPU support",
    )


def test_sgx_detect_marks_what_it_found() -> None:
    found = detected("✔", "✔ ", "94.0MiB")
    assert said(found, "SGX-CPUID").verdict == "pass"
    assert said(found, "SGX-LEAF12").seen == "SGX1, 94 MiB of enclave memory"
    assert said(detected("✔", "✔ ", "127.2GiB (no integrity protection)"), "SGX-LEAF12").verdict == "pass"
    assert said(detected("✔", "no ", "94.0MiB"), "SGX-CPUID").verdict == "fail"
    assert said(detected("?", "✔ ", "0.0MiB"), "SGX-LEAF12").verdict == "unknown"


def test_a_quoted_answer_is_an_answer() -> None:
    lines = ("> ✔  SGX instruction set", ">   ✘  CPU support", ">")
    assert said(judged("sgx-status", *lines), "SGX-CPUID").verdict == "fail"


# cpuid.c of etallen's cpuid. SGXDataCenterAttestationPrimitives issue 160: this bit is the CPU's, MSR 3A's is the BIOS's.
def test_launch_control_that_the_cpu_lacks_is_no_lock_of_the_bios() -> None:
    lines = ("SGX: Software Guard Extensions supported = true", "SGX_LC: SGX launch config supported      = false")
    found = said(judged("cpuid", *lines), "SGX-CPUID")
    assert (found.verdict, "unlock" in found.remedy, "a CPU with" in found.remedy) == ("fail", False, True)
