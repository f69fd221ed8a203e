"""Spellings of Intel's kernels, registers and SGX tools that are not upstream's of today. The lines are made for the test in the
wording of the source that stands beside them."""

from __future__ import annotations

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.checks.verdict import State
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport
from tests.unit.test_spellings import judged, said


@pytest.mark.parametrize(
    ("line", "check", "verdict", "remedy"),
    [
        # arch/x86/kernel/cpu/seam.c and virt/vmx/tdx of Intel's kernels up to 5.19, which Anolis OS and others ship
        ("tdx: Successfully initialized TDX module", "TDX-MODLOG", "pass", ""),
        ("tdx: tdx module successfully initialized.", "TDX-MODLOG", "pass", ""),
        ("tdx: can't load/init TDX module. disabling TDX feature.", "TDX-MODLOG", "fail", "SEAM loader"),
        ("tdx: Failed to initialize TDX module -5", "TDX-MODLOG", "fail", "too old"),
        (
            "tdx: TDX SEAM module: attributes 0x0 vendor_id 0x8086 build_date 20220420 build_num 0x156"
            " minor_version 0x0 major_version 0x1.",
            "TDX-MODVER",
            "fail",
            "update the TDX module",
        ),
        ("tdx: TDX private KeyID range: [16, 64).", "TDX-BIOSLOG", "pass", ""),
        ("tdx: SEAMRR is not enabled by BIOS", "TDX-BIOSLOG", "fail", "in the BIOS"),
        ("tdx: Number of TDX private KeyIDs too small: 1.", "TDX-BIOSLOG", "fail", "key split"),
        # arch/x86/virt/vmx/tdx/tdx.c, 6.8 and newer: a split of keys is the BIOS's, not the module's
        ("virt/tdx: initialization failed: too few private KeyIDs available.", "TDX-BIOSLOG", "fail", "key split"),
        # arch/x86/kvm/vmx/tdx.c, tdx_bringup, 6.16: what it asks for, tdx=1 does not give
        ("kvm_intel: tdx: tdx requires kvm.enable_virt_at_load=1", "TDX-KVM", "fail", "enable_virt_at_load=0"),
        ("kvm_intel: tdx: no TDX private KeyIDs available", "TDX-KVM", "fail", "in the BIOS"),
        ("kvm_intel: TDX not supported by the host platform", "TDX-KVM", "fail", "in the BIOS"),
        ("kvm_intel: APICv is required for TDX", "TDX-KVM", "fail", "enable_apicv=0"),
        ("kvm_intel: EPT is required for TDX", "TDX-KVM", "fail", "kvm_intel.ept=0"),
        (
            "kvm_intel: Disable TDX: MAX_VCPU_PER_TD (128) smaller than number of logical CPUs (256).",
            "TDX-KVM",
            "fail",
            "hyper-threading",
        ),
        # the DCAP driver of SGXDataCenterAttestationPrimitives; intel/linux-sgx-driver sgx_main.c
        ("intel_sgx: EPC section 0x90200000-0x95ffffff", "SGX-LOG", "pass", ""),
        ("intel_sgx: SGX is not enabled", "SGX-LOG", "fail", "in the BIOS"),
        ("intel_sgx: CPU does not support the SGX1 instructions", "SGX-LOG", "fail", "PRMRR"),
        ("intel_sgx INT0E0C:00: EPC bank 0x30200000-0x35f80000", "SGX-LOG", "unknown", ""),
    ],
)
def test_a_line_of_an_intel_hosts_log_is_understood(line: str, check: str, verdict: str, remedy: str) -> None:
    found = said(judged("dmesg", f"[    6.379342] {line}"), check)
    assert (found.verdict, remedy in found.remedy, "tdx=1" in found.remedy) == (verdict, True, False), found


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("status", "initialized", "pass"),
        ("state", "error", "fail"),
        ("status", "not-found", "fail"),
        ("status", "found", "unknown"),
    ],
)
def test_the_module_tells_its_state_in_sysfs_of_intels_kernels(name: str, value: str, verdict: str) -> None:
    # intel/tdx-tools utils/check-tdx-host.sh reads it
    found = judged("sysfs", f"/sys/firmware/tdx/tdx_module/{name}:{value}")
    assert said(found, "TDX-MODLOG").verdict == verdict


def test_the_module_tells_its_version_there_in_hexadecimal() -> None:
    folder = "/sys/firmware/tdx/tdx_module"
    numbers = ("build_num:0x156", "major_version:0x00000001", "minor_version:0x00000000")
    found = said(judged("sysfs", *(f"{folder}/{one}" for one in numbers)), "TDX-MODVER")
    assert (found.verdict, "1.0.342" in found.seen) == ("fail", True)


@pytest.mark.parametrize(
    ("family", "model", "verdict", "state"),
    [
        # arch/x86/include/asm/intel-family.h; intel/confidential-computing.tdx.tdx-module, release 2.0.18
        (6, 174, "pass", State.UNKNOWN),
        (6, 221, "pass", State.UNKNOWN),
        (6, 106, "fail", State.ABSENT),
        # newer than what is listed is not without TDX
        (19, 1, "unknown", State.UNKNOWN),
    ],
)
def test_a_generation_after_those_that_everybody_knows_is_not_absent(
    family: int, model: int, verdict: str, state: State
) -> None:
    lines = ("vendor_id\t: GenuineIntel", f"cpu family\t: {family}", f"model\t\t: {model}")
    found = judged("cpuinfo", *lines)
    assert (said(found, "TDX-CPU").verdict, found.state(Platform.TDX)) == (verdict, state)


@pytest.mark.parametrize(
    "lines",
    [
        # canonical/tdx issue 425, which lists what the author read by hand; rdmsr -f of the same bit
        ("- SEAMRR lock bit: 0", "- NUM_TDX_PRIV_KEYS: 0x3f"),
        ("$ sudo rdmsr -f 10:10 0x1401", "0"),
    ],
)
def test_a_range_that_no_loader_locked_is_the_loaders(lines: tuple[str, ...]) -> None:
    found = said(judged("msr", *lines), "TDX-SEAMRR")
    assert (found.verdict, "SEAM loader" in found.remedy) == ("fail", True)


def test_hyper_v_tells_by_its_own_leaf_what_isolates_a_guest() -> None:
    # systemd src/basic/confidential-virt.c; its pull request 33872: below the paravisor leaf 0x21 is hidden
    lines = (
        "   0x00000000 0x00: eax=0x00000020 ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69",
        "   0x00000001 0x00: eax=0x000806f8 ebx=0x00040800 ecx=0xfeda3203 edx=0x1f8bfbff",
        "   0x40000000 0x00: eax=0x4000000c ebx=0x7263694d ecx=0x666f736f edx=0x76482074",
    )
    isolated = "   0x4000000c 0x00: eax=0x00000001 ebx=0x00000be{} ecx=0x00000000 edx=0x00000000"
    assert said(judged("cpuid", *lines, isolated.format(3)), "G-TDX").verdict == "pass"
    assert said(judged("cpuid", *lines, isolated.format(2)), "G-KIND").seen == "sev-snp"
    assert said(judged("cpuid", *lines), "G-TDX").verdict == "unknown"


# openenclave tools/oesgx/oesgx.c; of a CPU without launch control it does not print the first line
OESGX = (
    "CPU supports SGX_FLC:Flexible Launch Control",
    "CPU supports Software Guard Extensions:SGX2",
    "SGX1",
    "MaxEnclaveSize_64: 2^(36)",
    "EPC size on the platform: 98566144",
)


def test_oesgx_names_what_the_cpu_supports() -> None:
    found = judged("sgx-status", *OESGX)
    assert said(found, "SGX-CPUID").verdict == "pass"
    assert said(found, "SGX-LEAF12").seen == "SGX1, 94 MiB of enclave memory"
    assert said(judged("sgx-status", *OESGX[1:]), "SGX-CPUID").seen == "SGX without launch control"
    assert said(judged("sgx-status", "CPU does not support SGX"), "SGX-CPUID").seen == "no SGX"


def test_bits_of_the_control_register_are_told_one_by_one() -> None:
    # ayeks/SGX-hardware test-sgx 2.0; linux-sgx issue 1030
    lines = (
        "IA32_FEATURE_CONTROL.LOCK_BIT[bit 0]: 1",
        "    IA32_FEATURE_CONTROL.SGX_LAUNCH_CONTROL[bit 17] (Is the SGX LE PubKey writable?): {}",
        "    IA32_FEATURE_CONTROL.SGX_GLOBAL_ENABLE[bit 18]: 1",
    )
    for bit, verdict in ((0, "fail"), (1, "pass")):
        assert said(judged("sgx-status", *(line.format(bit) for line in lines)), "SGX-FC").verdict == verdict
    assert said(judged("sgx-status", lines[0]), "SGX-FC").verdict == "unknown"


def test_a_tool_that_could_open_no_device_says_why() -> None:
    # fortanix/rust-sgx issue 220: sgx-detect 0.8.5; a heading whose mark is no answer is still one
    lines = (
        "✔  SGX instruction set",
        "  ✔  CPU support",
        "? Flexible launch control",
        "  ✔  CPU support",
        "✘  SGX system software",
        "  ✘  SGX kernel device",
    )
    noexec = 'The SGX device (/dev/sgx/enclave, /dev/sgx or /dev/isgx) could not be opened: "/dev" mounted with `noexec` option.'
    found = judged("sgx-status", *lines, noexec)
    assert (said(found, "SGX-CPUID").verdict, said(found, "SGX-DEV").verdict) == ("pass", "fail")
    assert "noexec" in said(found, "SGX-DEV").remedy
    assert "CONFIG_X86_SGX" in said(judged("sgx-status", *lines), "SGX-DEV").remedy
    # Gramine's is-sgx-available
    assert said(judged("sgx-status", "SGX driver loaded: false"), "SGX-DEV").verdict == "fail"
    assert said(judged("sgx-status", "SGX driver loaded: true"), "SGX-DEV").verdict == "unknown"


def test_an_option_that_is_known_to_be_off_fails_whatever_else_was_not_shown() -> None:
    report = {"kconfig": ("# CONFIG_INTEL_TDX_HOST is not set",), "cpuinfo": ("vendor_id\t: GenuineIntel",)}
    found = said(judge(HostReport.of(report), catalogue()), "C-KCONF")
    assert (found.verdict, found.seen) == ("fail", "without CONFIG_INTEL_TDX_HOST")


def test_canonicals_report_says_whether_the_flags_have_tdx() -> None:
    # canonical/tdx issues 424 (a kernel without TDX) and 360
    for line, verdict in (
        ("No TDX support in CPU according to /proc/cpuinfo", "fail"),
        ("CPU supports TDX according to /proc/cpuinfo", "pass"),
    ):
        found = judged("cpuinfo", line)
        assert (said(found, "TDX-FLAG").verdict, said(found, "C-BARE").verdict) == (verdict, "unknown")
