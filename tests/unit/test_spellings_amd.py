"""What people have shown of AMD's machines and guests: kernels' words since 4.16, sevctl, snphost and sev-tool, and the forms
in which text gets pasted. The lines are made for the test in the wording of the source that stands beside them."""

from __future__ import annotations

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.probe import virt
from strongroom.probe.report import HostReport
from tests.unit.test_spellings import judged, said


@pytest.mark.parametrize(
    "line",
    [
        # AMDESE/AMDSEV issues 68 and 291; GNU ls before 8.25; busybox; GNU ls in Chinese, German and French
        "ls: cannot access '/dev/sev': No such file or directory",
        "ls: could not open '/dev/sev':  No such file or directory",
        "ls: cannot access \u2018/dev/sev\u2019: No such file or directory",
        "ls: /dev/sev: No such file or directory",
        "ls: 无法访问 '/dev/sev': 没有那个文件或目录",
        "ls: Zugriff auf '/dev/sev' nicht möglich: Datei oder Verzeichnis nicht gefunden",
        "ls: impossible d'accéder à '/dev/sev': Aucun fichier ou dossier de ce type",
        "stat: cannot statx '/dev/sev': No such file or directory",
    ],
)
def test_a_device_that_is_not_there_is_said_in_many_words(line: str) -> None:
    found = said(judged("devices", line), "SEV-CCP")
    assert (found.verdict, found.seen) == ("fail", "no /dev/sev"), found


def test_a_device_that_may_not_be_looked_at_is_not_missing() -> None:
    assert said(judged("devices", "ls: cannot access '/dev/sev': Permission denied"), "SEV-CCP").verdict == "unknown"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        (("$ systemd-detect-virt --cvm", "sev-snp"), "pass"),
        (("sev-snp",), "pass"),
        # virt-what-cvm.c prints a line for each
        (("amd-sev-snp", "azure-hcl"), "pass"),
        (("$ systemd-detect-virt --cvm", "none", "$ systemd-detect-virt", "kvm"), "info"),
        (("kvm",), "unknown"),
    ],
)
def test_what_tools_print_of_virtualization_is_read(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("virt", *lines), "G-KIND").verdict == verdict


def test_bare_metal_is_what_the_command_was_asked_for() -> None:
    assert virt.parse(("root@host7:~# systemd-detect-virt", "none")) == {"vm": "none"}
    assert said(judged("virt", "# systemd-detect-virt", "none"), "C-BARE").verdict == "pass"
    assert said(judged("virt", "none"), "C-BARE").verdict == "unknown"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # zgrep of several files; what make oldconfig writes
        (("/boot/config-6.1.0-9-amd64:CONFIG_KVM_AMD_SEV=y",), "unknown"),
        (("# CONFIG_KVM_AMD_SEV is not set",), "fail"),
        (("/boot/config-6.1.0-9-amd64:# CONFIG_AMD_MEM_ENCRYPT is not set", "CONFIG_KVM_AMD_SEV=y"), "fail"),
        (("CONFIG_KVM_AMD_SEV=y", "CONFIG_CRYPTO_DEV_SP_PSP=y", "CONFIG_AMD_MEM_ENCRYPT=y"), "pass"),
    ],
)
def test_an_option_that_is_not_set_is_seen_in_a_part_of_the_configuration(lines: tuple[str, ...], verdict: str) -> None:
    report = {"cpuinfo": ("model name : AMD EPYC 7763 64-Core Processor",), "kconfig": lines}
    assert said(judge(HostReport.of(report), catalogue()), "C-KCONF").verdict == verdict


def test_a_guides_comments_are_what_a_file_has() -> None:
    lines = (
        "cat /sys/module/kvm_amd/parameters/sev",
        "# Y",
        "\u276f cat /sys/module/kvm_amd/parameters/sev_es",
        "N",
    )
    found = said(judged("sysfs", *lines), "SEV-KVM")
    assert (found.verdict, found.seen) == ("fail", "kvm_amd.sev_es=N")


@pytest.mark.parametrize(
    ("lines", "verdicts"),
    [
        # AMDESE/sev-tool issue 65, where INIT had failed, and its build for SEV-SNP, which counts no guests
        (
            (
                "# ./src/sevtool  --platform_status",
                "api_major:\t1",
                "api_minor:\t28",
                "platform_state:\t0",
                "owner:\t\t0",
                "config:\t\t0",
                "build:\t\t28",
                "guest_count:\t0",
            ),
            ["skip", "fail"],
        ),
        (
            (
                "api_major:      1",
                "api_minor:      54",
                "platform_state: 1",
                "build:          1",
                "vlek_en:        0x1",
            ),
            ["pass", "pass"],
        ),
        (("api_major:      1", "api_minor:      54"), ["unknown", "unknown"]),
    ],
)
def test_what_sevtool_prints_of_the_platform_is_its_status(lines: tuple[str, ...], verdicts: list[str]) -> None:
    # Firmware that is too old for SEV-SNP is told once.
    found = judged("sev-status", *lines)
    assert [said(found, name).verdict for name in ("SEV-FW", "SNP-FW")] == verdicts


def test_a_key_that_the_guest_has_given_up_makes_no_reports() -> None:
    # drivers/virt/coco/sev-guest/sev-guest.c, 5.19 and 6.14; the device stays, and every request of it fails
    started = (
        "[    0.550548] Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP",
        "[    4.917243] sev-guest sev-guest: Initialized SEV guest driver (using vmpck_id 0)",
    )
    for line in (
        "sev-guest sev-guest: Disabling vmpck_id 0 to prevent IV reuse.",
        "SEV: Disabling VMPCK0 communication key to prevent IV reuse.",
        "sev-guest sev-guest: Empty VMPCK0 communication key",
        "sev-guest sev-guest: vmpck id 0 is null",
    ):
        report = {"dmesg": (*started, line), "devices": ("/dev/sev-guest",)}
        found = said(judge(HostReport.of(report), catalogue()), "G-SNPDEV")
        assert (found.verdict, "vmpck_id" in found.remedy) == ("fail", True), line
        again = started[1].replace("vmpck_id 0", "vmpck_id 1")
        assert said(judged("dmesg", *started, line, again), "G-SNPDEV").verdict == "pass"


@pytest.mark.parametrize("end", ["**", " |", ",", ");", "`"])
def test_a_line_that_somebody_marked_or_put_in_a_table_is_whole(end: str) -> None:
    line = f"[    0.550548] Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP{end}"
    assert said(judged("dmesg", line), "G-MEF").verdict == "pass"
    cut = line.removesuffix(end).removesuffix("P")
    assert said(judged("dmesg", cut), "G-MEF").verdict == "unknown"


def test_what_snphost_says_of_aliases_alone_is_enough_for_a_failure() -> None:
    # virtee/snphost issue 127
    found = said(judged("snphost", "[ FAIL ]         - Alias check"), "SNP-ALIAS")
    assert (found.verdict, "AMD-SB-3015" in found.remedy) == ("fail", True)
    assert said(judged("snphost", "[ PASS ] - RMP INIT: RMP is INIT"), "SNP-ALIAS").verdict == "unknown"


@pytest.mark.parametrize(
    ("line", "check", "verdict", "remedy"),
    [
        # drivers/crypto/ccp/sev-dev.c, 5.6 and 6.18; sp-pci.c and psp-dev.c. What ccp does for others is no matter.
        ("ccp 0000:a9:00.5: sev initialization failed", "SEV-CCP", "fail", "BIOS"),
        ("ccp 0000:a9:00.5: SNP PLATFORM_STATUS command failed, ret = -5, error = 0x8003", "SEV-CCP", "fail", "BIOS"),
        ("ccp 0000:06:00.5: initialization failed", "SEV-CCP", "fail", "BIOS"),
        ("ccp 0000:48:00.1: ccp initialization failed", "SEV-CCP", "unknown", ""),
        ("ccp 0000:48:00.1: psp enabled", "SEV-CCP", "unknown", ""),
        # Before 5.6 this is all that tells (AMDESE/AMDSEV issue 36)
        ("ccp 0000:05:00.2: SEV: failed to INIT error 0x8003", "SEV-CCP", "pass", ""),
        ("ccp 0000:a9:00.5: SEV-SNP: SNP_DF_FLUSH failed rc -5, error 0xe", "SNP-INIT", "fail", "log of ccp"),
        ("ccp 0000:a9:00.5: SEV: DF_FLUSH failed 0xe, rc -5", "SEV-FW", "fail", "update the BIOS"),
        # AMDESE/AMDSEV issues 82 and 41, as they were written down
        ("ccp 0000:23:00.1: SEV API:1.51 build: 3", "SEV-FW", "pass", ""),
        ("ccp 0000:01:00.2: SEV API 0.17 build:22", "SEV-FW", "pass", ""),
        # linux-firmware's amd_sev_fam17h_model*.sbin are 0.17 and 0.24
        ("ccp 0000:05:00.2: SEV API:0.24 build:15", "SNP-FW", "fail", "Milan"),
        ("ccp 0000:22:00.1: SEV API:1.49 build:3", "SNP-FW", "fail", "update the BIOS"),
        # BIOSes of Milan give 253 or 509 ASIDs; 254 are what 255 for SEV-ES leave (AMDESE/AMDSEV issues 258 and 159)
        ("SEV supported: 253 ASIDs", "SEV-ASID", "fail", "minimum ASID"),
        ("kvm_amd: SEV supported: 254 ASIDs", "SEV-ASID", "unknown", ""),
        # drivers/iommu/amd/init.c: a server with FEATURE_SNP (bit 63) clear and set, a client CPU, and an older wording
        ("AMD-Vi: Using global IVHD EFR:0x25bf732fa2295afe, EFR2:0x1d", "SNP-IOMMU", "fail", "north bridge"),
        ("AMD-Vi: Using global IVHD EFR:0xa5bf732fa2295afe, EFR2:0x1d", "SNP-IOMMU", "unknown", ""),
        ("AMD-Vi: Extended features (0x246577efa2254afa, 0x0): PPR NX GT", "SNP-IOMMU", "fail", "north bridge"),
        ("AMD-Vi: Extended features (0x58f77ef22294ade):", "SNP-IOMMU", "fail", "north bridge"),
        # arch/x86/virt/svm/cmdline.c, 6.11
        ("Command line: ro sev=debug,nosnp quiet", "SNP-SYSCFG", "fail", "nosnp"),
        ("Command line: ro sev=debug quiet", "SNP-SYSCFG", "unknown", ""),
        # arch/x86/kernel/pci-dma.c and drivers/iommu/amd/init.c take lists
        ("Command line: ro iommu=nopanic,pt", "SNP-IOMMU", "fail", "iommu=pt"),
        ("Command line: ro amd_iommu=fullflush,pgtbl_v2", "SNP-IOMMU", "fail", "v1 page table"),
    ],
)
def test_a_line_of_amds_drivers_is_understood(line: str, check: str, verdict: str, remedy: str) -> None:
    found = said(judged("dmesg", f"[    4.500000] {line}"), check)
    assert (found.verdict, remedy in found.remedy) == (verdict, True), found


def test_what_the_kernel_says_of_the_iommu_counts_before_what_it_could_do() -> None:
    features = "AMD-Vi: Using global IVHD EFR:0x25bf732fa2295afe, EFR2:0x1d"
    assert said(judged("dmesg", features, "AMD-Vi: SNP enabled"), "SNP-IOMMU").verdict == "pass"
    off = "AMD-Vi: SNP: IOMMU disabled or configured in passthrough mode, SNP cannot be supported."
    assert "iommu=pt" in said(judged("dmesg", off, features), "SNP-IOMMU").remedy


def test_a_hardware_error_beside_an_rmp_table_is_not_memory_encryption() -> None:
    # AMDESE/AMDSEV issues 82 and 85: SEV-SNP Support was off. Without SMEE the kernel looks for no RMP table.
    table = "[    1.956093] SEV-SNP: RMP table physical address 0x0000000035600000 - 0x0000000075bfffff"
    failed = (
        "[    8.895333] ccp 0000:23:00.1: SEV-SNP: failed to INIT error 0x13",
        "[    8.930101] ccp 0000:23:00.1: SEV: failed to INIT error 0x13",
    )
    assert said(judged("dmesg", *failed), "SEV-SMEE").verdict == "fail"
    found = judged("dmesg", table, *failed)
    assert [said(found, name).verdict for name in ("SEV-SMEE", "SNP-INIT", "SEV-FW")] == ["unknown", "fail", "skip"]
    assert "SEV-SNP Support" in said(found, "SNP-INIT").remedy
    off = judge(HostReport.of({"dmesg": (table, *failed), "msr": ("c0010010 340000",)}), catalogue())
    assert said(off, "SEV-SMEE").verdict == "fail"


def test_an_rmp_table_that_is_too_small_was_not_taken() -> None:
    # arch/x86/virt/svm/sev.c, snp_rmptable_init: said after the range was printed (AMDESE/AMDSEV issue 226)
    found = judged(
        "dmesg",
        "[    0.000000] SEV-SNP: RMP table physical range [0x0000000088900000 - 0x00000000a8efffff]",
        "[    3.100000] SEV-SNP: Memory reserved for the RMP table does not cover full system RAM"
        " (expected 0x40810000 got 0x20600000)",
    )
    size, log = said(found, "SNP-RMPSIZE"), said(found, "SNP-RMPLOG")
    assert (size.verdict, log.verdict, log.blocked_by) == ("fail", "skip", "SNP-RMPSIZE")


KINDS = (("SEV", 100, 1006), ("SEV-ES", 1, 99), ("SEV-SNP", 1, 99))


def test_what_kvm_says_when_it_is_loaded_is_what_its_parameters_are() -> None:
    # arch/x86/kvm/svm/sev.c, sev_hardware_setup
    lines = tuple(f"kvm_amd: {kind} enabled (ASIDs {least} - {most})" for kind, least, most in KINDS)
    found = judged("dmesg", *lines)
    assert [said(found, name).verdict for name in ("SEV-KVM", "SNP-KVM", "SNP-STATE")] == ["pass", "pass", "pass"]
    assert said(judged("dmesg", *lines[:1]), "SEV-KVM").verdict == "unknown"
    off = judged("dmesg", lines[0].replace("enabled", "disabled"))
    assert said(off, "SEV-KVM").verdict == "fail"
    # The last word of SEV-ES is that there are no ASIDs for it, which is the cause; a parameter that was read counts more.
    none = judged("dmesg", lines[0], "kvm_amd: SEV-ES disabled (ASIDs 0 - 0)")
    assert (said(none, "SEV-KVM").verdict, said(none, "SEV-KVM").blocked_by) == ("skip", "SEV-ASID")
    read = {"dmesg": lines, "sysfs": ("/sys/module/kvm_amd/parameters/sev=N",)}
    assert said(judge(HostReport.of(read), catalogue()), "SEV-KVM").verdict == "fail"
    unloaded = {"dmesg": lines, "modules": ("kvm 1 0", "#end")}
    assert said(judge(HostReport.of(unloaded), catalogue()), "SEV-KVM").verdict == "fail"


def test_the_iommus_driver_says_that_there_is_no_rmp_table() -> None:
    # drivers/iommu/amd/init.c, 6.15
    line = "AMD-Vi: SNP: RMP initialization failed, SNP cannot be supported."
    found = said(judged("dmesg", "SEV-SNP: RMP table physical range [0x88900000 - 0xa8efffff]", line), "SNP-RMPLOG")
    assert (found.verdict, "update the BIOS" in found.remedy) == ("fail", True)


def test_what_snpguest_says_is_the_guests_and_not_the_hosts() -> None:
    # virtee/snpguest src/ok.rs, which reads CPU 0 alone
    off = tuple(f"[ FAIL ] - {name}: DISABLED" for name in ("SEV", "SEV-ES", "SNP"))
    found = judged("snphost", *off, "[ PASS ] - Optional Features statuses:", "[ PASS ]   - VTOM: DISABLED")
    assert [said(found, name).verdict for name in ("G-SNPMSR", "SNP-SYSCFG", "SEV-SMEE")] == ["fail", *["unknown"] * 2]
    on = tuple(line.replace("FAIL", "PASS").replace("DIS", "EN") for line in off)
    found = judged("snphost", *on)
    assert [said(found, name).verdict for name in ("G-KIND", "G-SNPMSR", "SNP-SYSCFG")] == ["pass", "unknown", "skip"]
    found = judged("snphost", *on[:2], off[2])
    assert (said(found, "G-KIND").verdict, said(found, "G-KIND").seen) == ("pass", "sev-es")
    # An answer of snphost's on the same bit, which is SYSCFG's
    assert said(judged("snphost", "[ FAIL ]       - SNP: Disabled in MSR"), "SNP-SYSCFG").verdict == "fail"


def test_what_systemd_detected_is_read_without_its_name() -> None:
    # As Azure's guides show it, grepped out of dmesg
    lines = ("Memory Encryption Features active: AMD SEV", "Detected confidential virtualization sev-snp")
    assert said(judged("dmesg", *lines), "G-KIND").seen == "sev-snp"


@pytest.mark.parametrize(
    "form", ["- {}", "| {} |", "`{}`", "12:{}", "Jul 02 18:07:39 host7 snphost[1515]: {}", "\u00a0{}"]
)
def test_what_snphost_says_is_read_in_a_list_a_table_or_a_journal(form: str) -> None:
    lines = ("[ FAIL ]       - SNP: Disabled in MSR", "[ PASS ]     - Reading /dev/sev: /dev/sev readable")
    found = judged("snphost", *(form.format(line) for line in lines))
    assert [said(found, name).verdict for name in ("SNP-SYSCFG", "SEV-CCP")] == ["fail", "pass"]


def test_blanks_of_a_web_page_are_blanks() -> None:
    line = "[\u00a0\u00a0\u00a022.563667]\u00a0kvm_amd:\u00a0SEV-SNP\u200b enabled (ASIDs 1\u202f-\u202f99)"
    assert said(judged("dmesg", line), "SNP-STATE").verdict == "pass"


def test_a_number_that_cannot_be_read_is_no_failure() -> None:
    lines = ("[ PASS ]     - Secure Nested Paging (SEV-SNP)", "[ PASS ]         - Number of VMPLs")
    assert said(judged("snphost", *lines), "SNP-CPUID").verdict == "unknown"
    for value, verdict in (("4</code>", "pass"), ("1", "fail"), ("?", "unknown")):
        assert said(judged("snphost", lines[0], f"{lines[1]}: {value}"), "SNP-CPUID").verdict == verdict


def test_a_guest_of_hygons_is_a_guest() -> None:
    # arch/x86/mm/mem_encrypt_hygon.c, print_hygon_cc_feature_info
    for line, verdict in (("HYGON CSV2", "info"), ("HYGON SME", "unknown")):
        assert said(judged("dmesg", f"[    1.863927]  {line}"), "C-BARE").verdict == verdict
