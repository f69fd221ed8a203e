"""What fooled people and tools before: each trap of the reference catalogue by its name."""

from __future__ import annotations

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks import kernel
from strongroom.checks.judge import judge
from strongroom.checks.verdict import CheckResult, HostJudgement, State
from strongroom.model.platform import Platform
from strongroom.probe import cpuid, dmesg
from strongroom.probe.report import HostReport
from tests.reference import Sections, add, edit, make, without


def judged(sections: Sections) -> HostJudgement:
    return judge(HostReport.of(sections), catalogue())


def said(judgement: HostJudgement, name: str) -> CheckResult:
    result = judgement.check(name)
    assert result is not None
    return result


def of_log(*lines: str) -> HostJudgement:
    """A judgement by a few lines of a log, as people paste them."""
    return judged({"dmesg": lines})


def test_old_kernels_say_supported_while_the_firmware_is_rejected() -> None:
    found = of_log(
        "ccp 0000:45:00.1: sev enabled",
        "ccp 0000:45:00.1: SEV-SNP support requires firmware version >= 1:51",
        "ccp 0000:45:00.1: SEV: failed to INIT error 0x1, rc -5",
        "SEV-ES and SEV-SNP supported: 99 ASIDs",
    )
    assert said(found, "SNP-FW").verdict == "fail"
    assert (said(found, "SNP-STATE").verdict, said(found, "SNP-STATE").blocked_by) == ("skip", "SNP-FW")
    assert found.state(Platform.SNP) is State.UNKNOWN


def test_snp_support_auto_is_not_blamed_on_the_iommu() -> None:
    host = edit(
        make("snp"),
        "dmesg",
        "IOMMU SNP support enabled.",
        "SNP: IOMMU SNP feature not enabled, SNP cannot be supported.",
    )
    remedy = said(judged(host), "SNP-IOMMU").remedy
    assert "SEV-SNP Support" in remedy
    assert "the IOMMU is not the cause" in remedy
    assert "Redfish attribute Snp = Enabled" in remedy  # a Dell


def test_iommu_passthrough_is_the_kernels_command_line() -> None:
    host = edit(make("snp"), "cmdline", " ro ", " ro iommu=pt ")
    found = said(judged(host), "SNP-IOMMU")
    assert (found.verdict, "iommu=pt" in found.remedy, "BIOS" in found.remedy) == ("fail", True, False)


def test_a_segmented_rmp_table_has_no_end_and_is_right() -> None:
    found = judged(make("snp-segmented"))
    assert said(found, "SNP-RMPMSR").seen.startswith("segmented")
    assert found.state(Platform.SNP) is State.READY


def test_an_rmp_end_of_1fff_is_none() -> None:
    host = edit(edit(make("snp"), "msr", "601d200000", "0"), "msr", "607dafffff", "1fff")
    assert said(judged(host), "SNP-RMPMSR").verdict == "fail"


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (
            "TDX module: attributes 0x0, vendor_id 0x8086, major_version 1, minor_version 5, build_date 20240725, build_num 784",
            "1.5.784",
        ),
        (
            "TDX module: atributes 0x0, vendor_id 0x8086, major_version 1, minor_version 5, build_date 20230420, build_num 507",
            "1.5.507",
        ),
        ("TDX module 1.5.06.00, build number 744, build date 0134d817", "1.5.6"),
        ("module verson: 1.5.1.0", "1.5.1"),
        ("module version: 2.0.8.0", "2.0.8"),
    ],
)
def test_three_spellings_of_the_tdx_modules_version(line: str, version: str) -> None:
    assert said(of_log(f"[    1.0] virt/tdx: {line}"), "TDX-MODVER").seen == version


def test_no_spelling_at_all_is_unknown() -> None:
    assert said(of_log("[ 24.195098] virt/tdx: module initialized"), "TDX-MODVER").verdict == "unknown"


@pytest.mark.parametrize(
    ("option", "right"),
    [
        ("kvm_inte.tdx", "kvm_intel.tdx"),
        ("kvm-inte.tdx", "kvm_intel.tdx"),
        ("kvm.sev_es", "kvm_amd.sev_es"),
        ("kvm_amd.sev_spn", "kvm_amd.sev_snp"),
        ("kvm_amd.sev-es", None),
        ("kvm_intel.tdx", None),
        ("kvm_intel.nested", None),
        ("console", None),
        ("nvme_core.default_ps_max_latency_us", None),
    ],
)
def test_a_typo_in_a_parameter_is_named_with_the_right_one(option: str, right: str | None) -> None:
    options = catalogue().check("C-CMDLINE").table("options")
    assert (
        kernel.mistyped(
            option, {name: tuple(map(str, value)) for name, value in options.items() if isinstance(value, tuple)}
        )
        == right
    )


def test_the_typo_is_the_one_failure_and_kvm_is_skipped_behind_it() -> None:
    host = edit(edit(make("tdx"), "cmdline", "kvm_intel.tdx=1", "kvm_inte.tdx=1"), "sysfs", "tdx=Y", "tdx=N")
    found = judged(host)
    assert said(found, "C-CMDLINE").seen == "kvm_inte.tdx is no option; kvm_intel.tdx is"
    assert said(found, "TDX-KVM").blocked_by == "C-CMDLINE"
    assert [result.id for result in found.checks if result.refuses] == ["C-CMDLINE"]
    assert found.state(Platform.TDX) is State.CAPABLE


def test_a_failed_seamcall_of_leaf_254_is_healthy() -> None:
    host = add(
        without(make("tdx"), "dmesg", "[   26.540658]"),
        "dmesg",
        "[   38.271537] tdx: SEAMCALL failed: leaf 254, error 0xc000050500000000.",
        "[   39.228656] tdx: TDX module initialized.",
    )
    assert judged(host).state(Platform.TDX) is State.READY


def test_hygons_ccp_prints_amds_text_and_is_not_amd() -> None:
    lines = "ccp 0000:04:00.2: SEV: memory encryption not enabled by BIOS"
    assert said(of_log(lines), "SEV-SMEE").verdict == "fail"
    hygon = edit(edit(make("snp"), "cpuinfo", "AuthenticAMD", "HygonGenuine"), "cpuinfo", "AMD EPYC", "Hygon C86")
    found = judged(hygon)
    assert {found.state(Platform.SEV), found.state(Platform.SNP)} == {State.ABSENT}
    assert said(found, "C-ARCH").verdict == "pass"


def test_cpuid_says_yes_and_the_kernel_says_no() -> None:
    host = edit(make("snp"), "cpuinfo", " sev sev_es sev_snp", "")
    found = judged(host)
    assert (said(found, "SEV-CPUID").verdict, said(found, "SEV-FLAGS").verdict) == ("pass", "fail")
    assert found.state(Platform.SNP) is State.CAPABLE


def test_a_flag_sme_that_is_missing_is_no_fault() -> None:
    assert "sme" not in HostReport.of(make("snp")).processor.flags  # type: ignore[operator]
    assert judged(make("snp")).state(Platform.SNP) is State.READY


def test_protected_pcie_has_cc_off() -> None:
    found = judged(make("gpu-ppcie"))
    assert (said(found, "GPU-MODE").verdict, said(found, "GPU-PPCIE").verdict) == ("pass", "pass")
    guest = edit(
        make("guest-gpu"),
        "nvidia-smi-conf-compute",
        "CC State                   : ON",
        "CC State                   : OFF",
    )
    assert said(judged(guest), "GPU-SMI").verdict == "fail"
    assert (
        said(
            judged(edit(guest, "nvidia-smi-conf-compute", "Mode             : None", "Mode : Protected PCIe")),
            "GPU-SMI",
        ).verdict
        == "pass"
    )


@pytest.mark.parametrize(
    ("value", "mode"), [("0x0", "off"), ("0x1", "on"), ("0x2", "invalid"), ("0x3", "devtools"), ("0x41", "on")]
)
@pytest.mark.parametrize("register", ["0x1182cc", "0x590"])
def test_a_half_written_gpu_mode_is_told_from_the_register(register: str, value: str, mode: str) -> None:
    host = edit(
        make("gpu"), "nvidia-gpu-tools", "0x11042000000 CC mode is on", f"0x11042000000\nBAR0 read {register} = {value}"
    )
    (gpu,) = HostReport.of(host).gpus.values()
    assert gpu.cc == mode
    result = said(judged(host), "GPU-MODE")
    assert (result.verdict == "pass") == (mode == "on")
    assert mode != "invalid" or "half written" in result.remedy


def test_the_last_word_on_a_gpus_mode_counts_and_one_that_waits_is_not_it() -> None:
    prefix = "GPU 0000:c1:00.0 H100-SXM 0x2330 BAR0 0x11042000000"
    waiting = add(make("gpu"), "nvidia-gpu-tools", f"{prefix} CC mode set to off. It will be active after GPU reset.")
    assert "waits for a reset" in said(judged(waiting), "GPU-MODE").seen
    reset = add(waiting, "nvidia-gpu-tools", f"{prefix} was reset to apply the new CC mode.")
    assert said(judged(reset), "GPU-MODE").seen == "0000:c1:00.0: CC mode off"


def test_a_log_whose_start_was_lost_makes_unknown_of_what_it_lacks() -> None:
    host = edit(make("snp"), "dmesg", "\n".join(make("snp")["dmesg"][:4]), "[  812.000000] usb 1-1: new device")
    found = judged(host)
    assert said(found, "C-LOGCOV").seen == "the log's start was lost"
    assert {said(found, name).verdict for name in ("SNP-RMPLOG", "SNP-IOMMU")} == {"unknown"}
    assert [result.id for result in found.checks if result.refuses] == []
    assert found.state(Platform.SNP) is State.UNKNOWN


def test_a_read_that_lockdown_forbids_is_unknown_not_a_failure() -> None:
    host = {**make("snp"), "msr": ("#unreadable: lockdown=confidentiality", "#end")}
    found = judged(host)
    assert [result.id for result in found.checks if result.refuses] == []
    assert "lockdown=confidentiality" in said(found, "SNP-SYSCFG").seen
    assert found.state(Platform.SNP) is State.UNKNOWN


def test_one_cpu_that_differs_fails_where_all_others_are_right() -> None:
    host = edit(make("snp"), "msr", "c0010132 601d200000", "c0010132 601d200000 0-126,128-255\nc0010132 0 127")
    result = said(judged(host), "SNP-RMPMSR")
    assert (result.verdict, "on CPUs 127" in result.seen) == ("fail", True)


def test_sgx_disabled_by_bios_is_no_word_on_kvm() -> None:
    found = of_log("[    0.293496] x86/cpu: SGX disabled by BIOS.")
    assert said(found, "SGX-LOG").verdict == "fail"
    assert {said(found, name).verdict for name in ("TDX-KVM", "TDX-TMELOG")} == {"unknown"}
    assert said(found, "SGX-KVM").blocked_by == "SGX-LOG"
    assert said(of_log("SGX disabled by BIOS"), "SGX-LOG").verdict == "fail"


def test_a_facility_is_a_whole_word() -> None:
    assert said(judged(edit(make("se"), "cpuinfo", " 158 ", " 1158 1580 ")), "SE-FAC").verdict == "fail"


def test_misc_capacity_names_are_whole() -> None:
    host = without(make("snp"), "sysfs", "/sys/fs/cgroup/misc.capacity=sev 907")
    assert said(judged(host), "C-CAP").verdict == "fail"


def test_a_registration_that_is_complete_with_an_error_is_not() -> None:
    host = edit(make("tdx"), "efivars", "0700000001000300010000", "0700000001000300010080")
    assert said(judged(host), "TDX-MPA").verdict == "fail"


def test_a_quote_service_that_is_active_and_cannot_quote_fails() -> None:
    host = edit(make("tdx"), "units", "Id=pccs", "Log=[QPL] error: 0xb010\nId=pccs")
    found = said(judged(host), "TDX-QGS")
    assert (found.verdict, "PCCS" in found.remedy) == ("fail", True)


def test_a_firmware_of_a_newer_major_is_not_compared_by_its_minor() -> None:
    host = edit(make("snp"), "sev-status", "snp_platform_status=0137", "snp_platform_status=0201")
    assert said(judged(host), "SNP-FW").verdict == "pass"


def test_ciphertext_hiding_takes_es_asids_and_leaves_snp() -> None:
    host = edit(make("snp"), "dmesg", "SEV-ES enabled (ASIDs 1 - 99)", "SEV-ES unusable (ASIDs 100 - 99)")
    host = edit(host, "sysfs", "sev_es=Y", "sev_es=N")
    host = edit(host, "sysfs", "hiding_asids=0", "hiding_asids=99")
    found = judged(host)
    assert (found.state(Platform.SNP), found.state(Platform.SEV)) == (State.READY, State.CAPABLE)


def test_azures_paravisor_prints_plain_sev_and_is_not_taken_for_it() -> None:
    found = of_log("[    0.054053] Memory Encryption Features active: AMD SEV")
    assert said(found, "G-MEF").verdict == "unknown"
    assert State.READY not in {one.state for one in found.platforms.values()}


@pytest.mark.parametrize(
    ("line", "state"),
    [
        # AMDESE/sev-guest issue 18; AMDESE/AMDSEV issues 45, 190 and 151
        ("Memory Encryption Features active: AMD SEV", State.UNKNOWN),
        ("AMD Secure Encrypted Virtualization (SEV) active", State.UNKNOWN),
        ("Memory Encryption Features active: AMD SEV SEV-ES", State.UNKNOWN),
        ("Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP", State.ABSENT),
    ],
)
def test_a_guest_of_plain_sev_is_not_said_to_be_in_none(line: str, state: State) -> None:
    assert of_log(line).state(Platform.SEV) is state


def test_a_bare_metal_host_with_sme_on_is_no_guest() -> None:
    host = add(make("snp"), "dmesg", "[    1.000000] Memory Encryption Features active: AMD SME")
    assert judged(host).state(Platform.SNP) is State.READY


@pytest.mark.parametrize(
    "prefix",
    ["[    1.500000] ", "[\t0.768000] ", "[0.303913] ", "[ 10.16] ", "[    0.000000][    T0] ", "", "<6>[    1.5] ", "> > [ 1.5] ",
     "Nov 24 06:05:01 host7 kernel: [    1.5] ", "Nov 24 06:05:01 host7 kernel: ", "[    1.500000] host7 kernel: "],
)  # fmt: skip
def test_timestamps_of_all_forms_come_off(prefix: str) -> None:
    (line,) = dmesg.parse([f"{prefix}kvm_amd: SEV enabled (ASIDs 100 - 1006) \r"]).lines
    assert line.text == "kvm_amd: SEV enabled (ASIDs 100 - 1006)"


def test_three_forms_of_cpuid_are_one() -> None:
    raw = cpuid.parse(["   0x8000001f 0x00: eax=0x030ffffb ebx=0x000041b3 ecx=0x000003ee edx=0x00000001"])
    dump = cpuid.parse(["CPUID 8000001F: 030FFFFB-000041B3-000003EE-00000001"])
    assert raw.leaves == dump.leaves
    assert (
        cpuid.parse(["      SEV-SNP: SEV secure nested paging        = true"]).says("SEV-SNP: SEV secure nested paging")
        is True
    )
