"""Spellings that tools and services have used for one thing, beside those of kernels. The lines are made for the test in the
wording of the source that stands beside them."""

from __future__ import annotations

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.checks.verdict import HostJudgement, State
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport
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


def test_flags_that_lscpu_folded_are_all_there() -> None:
    # util-linux's lscpu folds at the terminal's width, in the middle of a word or between two.
    lines = ("Vendor ID:  AuthenticAMD", "  Model name:  AMD EPYC 7443P 24-Core Processor")
    flags = ("  Flags:  fpu svm vaes vpclmulqdq sev", "          sev_", "          es sev_s", "          np debug_swap")
    assert said(judged("cpuinfo", *lines, *flags), "SEV-FLAGS").verdict == "pass"
    missing = said(judged("cpuinfo", *lines, *flags[:2], "          es debug_swap"), "SEV-FLAGS")
    assert (missing.verdict, missing.seen) == ("fail", "without sev_snp")


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


@pytest.mark.parametrize(
    ("lines", "check", "verdict"),
    [
        # coreutils' ls, where it was asked for what is not there, and where one of two devices tells enough
        (("ls: cannot access '/dev/sgx_enclave': No such file or directory",), "SGX-DEV", "fail"),
        (("ls: cannot access /dev/sev: No such file or directory",), "SEV-CCP", "fail"),
        # AMDESE/AMDSEV issue 191: ls /dev/sev*
        (("ls: cannot access '/dev/sev*': No such file or directory",), "SEV-CCP", "fail"),
        (("ls: cannot access '/dev/sev*': No such file or directory", "/dev/sev"), "SEV-CCP", "pass"),
        (("crw------- 1 root root 10, 126 Nov 14 22:21 /dev/sgx_enclave",), "SGX-DEV", "fail"),
        (("crw-rw---- 1 root sgx 10, 126 Nov 14 22:21 /dev/sgx_enclave",), "SGX-DEV", "unknown"),
        # ls -l /dev | grep sgx (linux-sgx issue 996), and of an older driver's folder
        (("crw-rw----   1 root sgx     10, 125 Nov 30 09:06 sgx_enclave",), "SGX-DEV", "unknown"),
        (("crw-------   1 root root    10, 126 Nov 30 09:06 sgx_provision",), "SGX-DEV", "fail"),
        (("total 0", "crw-------. 1 root root 10, 62 Mar  1 15:40 enclave"), "SGX-DEV", "unknown"),
        (("ls: cannot access '/dev/sgx_vepc': No such file or directory",), "SGX-DEV", "unknown"),
    ],
)
def test_a_device_that_ls_did_not_find_is_not_there(lines: tuple[str, ...], check: str, verdict: str) -> None:
    assert said(judged("devices", *lines), check).verdict == verdict


@pytest.mark.parametrize(
    "lines",
    [
        # AMDESE/AMDSEV issues 159 and 137; grep -r . of the same files
        (
            "# cat /sys/module/kvm_amd/parameters/sev",
            "Y",
            "root@ubuntu:/home/xss/AMDSEV# cat /sys/module/kvm_amd/parameters/sev_es",
            "N",
        ),
        ("/sys/module/kvm_amd/parameters/sev:Y", "/sys/module/kvm_amd/parameters/sev_es:N"),
        ("/sys/module/kvm_amd/parameters/sev=Y", "/sys/module/kvm_amd/parameters/sev_es=N"),
    ],
)
def test_a_parameter_is_read_as_people_show_it(lines: tuple[str, ...]) -> None:
    found = said(judged("sysfs", *lines), "SEV-KVM")
    assert (found.verdict, found.seen) == ("fail", "kvm_amd.sev_es=N")


def test_a_path_with_colons_and_a_file_that_was_not_there_have_no_value() -> None:
    report = HostReport.of(
        {
            "sysfs": (
                "/sys/bus/pci/devices/0000:45:00.1/vendor=0x1022",
                "$ cat /sys/firmware/uv/prot_virt_host",
                "cat: /sys/firmware/uv/prot_virt_host: No such file or directory",
                "$ cat /sys/firmware/uv/prot_virt_guest",
                "$ sudo cat /sys/class/tpm/tpm0/tpm_version_major",
                "2",
            )
        }
    )
    assert report.sysfs == {
        "/sys/bus/pci/devices/0000:45:00.1/vendor": "0x1022",
        "/sys/class/tpm/tpm0/tpm_version_major": "2",
    }


def test_an_event_log_that_ls_did_not_find_is_not_there() -> None:
    # coconut-svsm/svsm issue 435, stefanberger/swtpm issue 831: a TPM in a guest, and a firmware that handed no log on
    log = "/sys/kernel/security/tpm0/binary_bios_measurements"
    guest = {"sysfs": ("/sys/class/tpm/tpm0/tpm_version_major=2",), "virt": ("vm=kvm",)}
    for devices, verdict, state in (
        (("/dev/tpmrm0", f"ls: cannot access '{log}': No such file or directory"), "fail", State.CAPABLE),
        (("/dev/tpmrm0",), "unknown", State.UNKNOWN),
        # agentrust-io/cmcp issue 433, and a probe that was not root
        ((f"empty: {log}", "/dev/tpmrm0", f"-r--r----- 1 root root 0 Jan  1 00:00 {log}"), "fail", State.CAPABLE),
        ((f"unread: {log}", "/dev/tpmrm0", f"-r--r----- 1 root root 0 Jan  1 00:00 {log}"), "unknown", State.UNKNOWN),
        (("ls: cannot access '/dev/tpm*': No such file or directory",), "skip", State.ABSENT),
    ):
        found = judge(HostReport.of({**guest, "devices": devices}), catalogue())
        assert (said(found, "G-TPM").verdict, found.state(Platform.VTPM)) == (verdict, state), devices


def test_a_module_is_said_to_be_missing_only_where_the_modules_were_read() -> None:
    gone = "ls: cannot access '/dev/sev': No such file or directory"
    assert said(judged("devices", gone), "SEV-CCP").seen == "no /dev/sev"
    found = judge(HostReport.of({"devices": (gone,), "modules": ("kvm 1 0", "#end")}), catalogue())
    assert said(found, "SEV-CCP").seen == "no /dev/sev, ccp is not loaded"


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


@pytest.mark.parametrize(
    ("lines", "kernel", "machine"),
    [
        (("Linux 6.12.0-amd64 x86_64",), "6.12.0-amd64", "x86_64"),
        # uname -a below its command (canonical/tdx issue 83), -rvpio of its system-report.sh (issue 424), and of Debian
        (
            (
                "me@host7:~$ uname -a",
                "Linux host7 6.8.0-1001-intel #7-Ubuntu SMP Thu Apr 11 09:56:59 UTC 2024 x86_64 x86_64 x86_64 GNU/Linux",
            ),
            "6.8.0-1001-intel",
            "x86_64",
        ),
        (
            ("6.8.0-101-generic #101-Ubuntu SMP Mon Feb 9 10:15:05 UTC 2026 x86_64 x86_64 GNU/Linux",),
            "6.8.0-101-generic",
            "x86_64",
        ),
        (("6.1.0-9-amd64 #1 SMP Debian 6.1.27-1 (2023-05-08) unknown unknown GNU/Linux",), "6.1.0-9-amd64", None),
        (("6.8.0-101-generic",), "6.8.0-101-generic", None),
        (("Linux host7",), None, None),
    ],
)
def test_uname_is_read_with_any_of_its_options(lines: tuple[str, ...], kernel: str | None, machine: str | None) -> None:
    found = HostReport.of({"uname": lines})
    assert (found.kernel, found.machine) == (kernel, machine)
    # A name or a date that was taken for the machine would make a CPU that no TEE has.
    assert said(judged("uname", *lines), "C-ARCH").verdict == "unknown"


def test_lscpu_names_the_architecture_where_uname_is_not_there() -> None:
    lines = ("Architecture:          aarch64", "Vendor ID:             ARM")
    found = judged("cpuinfo", *lines)
    assert (said(found, "C-ARCH").verdict, found.platforms[Platform.CCA].state) == ("pass", State.UNKNOWN)


# cpuid.c of etallen's cpuid. SGXDataCenterAttestationPrimitives issue 160: this bit is the CPU's, MSR 3A's is the BIOS's.
def test_launch_control_that_the_cpu_lacks_is_no_lock_of_the_bios() -> None:
    lines = ("SGX: Software Guard Extensions supported = true", "SGX_LC: SGX launch config supported      = false")
    found = said(judged("cpuid", *lines), "SGX-CPUID")
    assert (found.verdict, "unlock" in found.remedy, "a CPU with" in found.remedy) == ("fail", False, True)


def test_a_device_that_a_paravisor_hides_is_not_only_a_module_away() -> None:
    # arch/x86/kernel/cpu/mshyperv.c; edgelesssys/constellation issue 1666
    report = {
        "dmesg": ("[    0.000000] Hyper-V: Isolation Config: Group A 0x1, Group B 0xbe3",),
        "devices": ("ls: cannot access '/dev/tdx_guest': No such file or directory",),
    }
    found = said(judge(HostReport.of(report), catalogue()), "G-TDXDEV")
    assert (found.verdict, "vTPM" in found.remedy) == ("fail", True)


def test_devices_that_ls_lists_side_by_side_are_read() -> None:
    # openenclave/openenclave issue 5028: ls /dev/sgx* at a terminal
    lines = ("# ls /dev/sgx*", "/dev/sgx_enclave  /dev/sgx_provision", "", "/dev/sgx:", "enclave  provision")
    assert {"/dev/sgx_enclave", "/dev/sgx_provision"} <= set(HostReport.of({"devices": lines}).nodes)
    assert said(judged("devices", *lines), "SGX-DEV").verdict == "unknown"


@pytest.mark.parametrize(
    ("line", "kernel", "machine"),
    [
        # AMDESE/AMDSEV issue 101 and AMDESE/sev-tool issue 66, which left the host's name out; busybox's end
        ("Linux node-1 5.19.0-rc6-snp-host-1 #1 SMP Wed Jul 27 12:21:35 2022 x86_64 x86_64 x86_64 GNU/Linux", "5.19.0-rc6-snp-host-1", "x86_64"),
        ("Linux 5.10.0-15-amd64 #1 SMP Debian 5.10.120-1 (2022-06-09) x86_64 GNU/Linux", "5.10.0-15-amd64", "x86_64"),
        ("Linux 4node 6.12.1 #2 SMP PREEMPT Tue Jul 18 06:18:50 2023 aarch64 Linux", "6.12.1", "aarch64"),
        ("Linux 6.11.0-1 s390x", "6.11.0-1", "s390x"),
        # cut before the machine
        ("Linux node-1 5.19.0-rc6 #1 SMP Wed Jul 27 12:21:35 PDT 2022", "5.19.0-rc6", None),
        ("$ uname -a", None, None),
    ],
)  # fmt: skip
def test_uname_is_read_as_people_ask_for_it(line: str, kernel: str | None, machine: str | None) -> None:
    report = HostReport.of({"uname": (line,)})
    assert (report.kernel, report.machine) == (kernel, machine)
    assert said(judged("uname", line), "C-ARCH").verdict != "fail"


@pytest.mark.parametrize(
    ("lines", "mine", "other"),
    [
        # archspec/archspec-json issue 145: lscpu | grep Model; /proc/cpuinfo of s390; util-linux' lscpu on Arm
        (("Model name:                         AMD EPYC 9655 96-Core Processor",), Platform.SNP, Platform.TDX),
        (("model name\t: Intel(R) Xeon(R) Platinum 8480+",), Platform.TDX, Platform.SNP),
        (("vendor_id       : IBM/S390", "facilities      : 0 1 2 158"), Platform.SE, Platform.SNP),
        (("Architecture:        aarch64", "Vendor ID:           ARM"), Platform.CCA, Platform.SE),
    ],
)
def test_a_cpu_is_known_by_what_people_show_of_it(lines: tuple[str, ...], mine: Platform, other: Platform) -> None:
    found = judged("cpuinfo", *lines)
    assert said(found, "C-ARCH").verdict == "pass"
    assert (found.state(mine), found.state(other)) == (State.UNKNOWN, State.ABSENT)
    assert said(found, "GPU-HOST").verdict == "unknown"  # nobody said that it has a GPU
