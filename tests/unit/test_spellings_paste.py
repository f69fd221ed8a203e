"""What people paste with a capture: prompts, fences, folded lines, sentences about the log, dumps of a file. The lines are made for
the test in the form of the thread or tool that stands beside them."""

from __future__ import annotations

import pytest

from strongroom.checks.verdict import State
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport
from tests.unit.test_spellings import judged, said


@pytest.mark.parametrize(
    "line",
    [
        # canonical/tdx issues 382 and 260: what was looked for, and not found
        'No "virt/tdx: module initialized" is printed after I grep tdx in dmesg log.',
        "After host bootup, I can not see `virt/tdx: module initialized` in logs",
        'user@host:~$ sudo dmesg | grep "virt/tdx: module initialized"',
        "[root@host ~]# dmesg | grep 'virt/tdx: module initialized'",
        "journalctl -k | grep 'virt/tdx: module initialized'",
    ],
)
def test_what_somebody_looked_for_was_not_printed(line: str) -> None:
    found = judged("dmesg", line, "[   13.100393] virt/tdx: BIOS enabled: private KeyID range [64, 128)")
    assert (said(found, "TDX-MODLOG").verdict, said(found, "TDX-BIOSLOG").verdict) == ("unknown", "pass")


@pytest.mark.parametrize(
    "line",
    [
        '"virt/tdx: module initialized"',
        "- virt/tdx: module initialized",
        "`[   24.100000] virt/tdx: module initialized`",
        "/var/log/kern.log:Jul  2 18:07:39 host7 kernel: [   24.1] virt/tdx: module initialized",
        "Thu 2025-07-02 18:07:39 UTC host7 kernel: virt/tdx: module initialized",
        "1234:[   24.100000] virt/tdx: module initialized",
    ],
)
def test_a_line_of_the_log_is_one_in_any_dress(line: str) -> None:
    assert said(judged("dmesg", line), "TDX-MODLOG").verdict == "pass"


def test_a_line_that_a_mail_folded_goes_on_below() -> None:
    found = judged(
        "dmesg",
        "[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz-6.8.0-1028-intel root=UUID=78f2183d",
        "ro nohibernate kvm_inte.tdx=1",
        "[   31.199907] virt/tdx: TDX module: attributes 0x0, vendor_id 0x8086, major_version 1,",
        "minor_version 5, build_date 20240725, build_num 784",
        "[   36.379132] virt/tdx: module initialized",
        "kvm_intel: Failed to initialize TDX module.",
    )
    assert [said(found, name).verdict for name in ("C-CMDLINE", "TDX-MODVER", "TDX-MODLOG")] == ["fail", "pass", "pass"]
    assert said(found, "TDX-KVM").verdict == "skip"  # a short line before it is not one that was folded


def test_greps_colours_are_taken_off_where_their_escape_was_lost() -> None:
    for before, after in (("\x1b[01;31m\x1b[K", "\x1b[m\x1b[K"), ("[01;31m[K", "[m[K"), ("^[[01;31m^[[K", "^[[m^[[K")):
        assert (
            said(judged("dmesg", f"[   36.379132] virt/{before}tdx{after}: module initialized"), "TDX-MODLOG").verdict
            == "pass"
        )


def test_of_several_boots_in_one_file_the_last_counts() -> None:
    boot = (
        "[    0.000000] Linux version 6.17.0",
        "[    0.310752] virt/tdx: BIOS enabled: private KeyID range [32, 64)",
    )
    up = "[   26.540658] virt/tdx: module initialized"
    assert said(judged("dmesg", *boot, up), "TDX-MODLOG").verdict == "pass"
    assert said(judged("dmesg", *boot, up, *boot), "TDX-MODLOG").verdict == "unknown"


def test_flags_that_were_counted_are_flags() -> None:
    # grep -o -w -E 'sgx|sgx_lc' /proc/cpuinfo | sort | uniq -c
    assert said(judged("cpuinfo", "     64 sgx", "     64 sgx_lc"), "SGX-CPUID").verdict == "pass"


OPTIONS = "BOOT_IMAGE=/boot/vmlinuz-6.16.9 root=UUID=x ro{}kvm_inte.tdx=1 nohibernate"


@pytest.mark.parametrize(
    "lines",
    [
        ("$ cat /proc/cmdline", OPTIONS.format(" ")),
        ("[root@host ~]# cat /proc/cmdline", *OPTIONS.format("\n").split("\n"), "[root@host ~]# uname -r"),
        ("```", OPTIONS.format(" "), "```"),
        (f"[    0.000000] Command line: {OPTIONS.format(' ')}",),
    ],
)
def test_the_command_line_is_found_below_what_asked_for_it(lines: tuple[str, ...]) -> None:
    found = judged("cmdline", *lines)
    assert (said(found, "C-CMDLINE").verdict, said(found, "TDX-HIB").verdict) == ("fail", "pass")


@pytest.mark.parametrize(
    "prompt", ["", "$ ", "root@host7:~# ", "host7% ", "➜  ~ ", "> ", "sudo "]
)  # a shell's, zsh's, csh's, or none (canonical/tdx issue 155)
def test_a_file_of_sysfs_is_read_at_any_prompt(prompt: str) -> None:
    lines = (f"{prompt}cat /sys/module/kvm_intel/parameters/tdx", "N")
    assert said(judged("sysfs", *lines), "TDX-KVM").verdict == "fail"


def test_a_kernels_configuration_is_read_as_grep_shows_it() -> None:
    lines = (
        '$ grep -E "TDX|SGX" /boot/config-6.8.0-1028-intel',
        "/boot/config-6.8.0-1028-intel:CONFIG_INTEL_TDX_HOST=y",
        "/boot/config-6.8.0-1028-intel:# CONFIG_X86_SGX is not set",
        "3917:CONFIG_KVM_INTEL=m",
        '    CONFIG_LOCALVERSION="-intel"',
    )
    assert HostReport.of({"kconfig": lines}).kconfig == {
        "CONFIG_INTEL_TDX_HOST": "y",
        "CONFIG_X86_SGX": "n",
        "CONFIG_KVM_INTEL": "m",
        "CONFIG_LOCALVERSION": "-intel",
    }


@pytest.mark.parametrize(
    ("lines", "facts"),
    [
        (("$ systemd-detect-virt --cvm", "tdx"), {"cvm": "tdx"}),
        (("# systemd-detect-virt", "kvm", "# systemd-detect-virt --cvm", "none"), {"vm": "kvm", "cvm": "none"}),
        (("systemd-detect-virt", "none"), {"vm": "none"}),
        (("sev-snp",), {"cvm": "sev-snp"}),
        (("vm=none", "cvm=none"), {"vm": "none", "cvm": "none"}),
        # of a container it says nothing of the machine below, and alone "none" is no answer to either question
        (("$ systemd-detect-virt", "docker"), {}),
        (("none",), {}),
        (("yes",), {}),
    ],
)
def test_what_systemd_detects_is_read_below_its_command(lines: tuple[str, ...], facts: dict[str, str]) -> None:
    assert HostReport.of({"virt": lines}).virt == facts


@pytest.mark.parametrize(
    "flags", ["fpu vme de pse ... avx512f sgx_lc", "avx512f rdseed adx smap sgx_lc", "fpu vme … sgx_lc"]
)
def test_flags_that_were_cut_prove_nothing_by_what_they_lack(flags: str) -> None:
    found = judged("cpuinfo", "vendor_id\t: GenuineIntel", "cpu family\t: 6", "model\t\t: 207", f"flags\t\t: {flags}")
    assert [said(found, name).verdict for name in ("C-BARE", "TDX-FLAG")] == ["unknown", "unknown"]


def test_names_below_dev_are_devices() -> None:
    # ls /dev | grep -i sgx
    lines = ("$ ls /dev | grep -i sgx", "sgx", "sgx_enclave", "sgx_provision", "sgx_vepc")
    assert set(HostReport.of({"devices": lines}).nodes) >= {"/dev/sgx_enclave", "/dev/sgx_provision", "/dev/sgx_vepc"}


def test_the_device_that_ls_did_not_name_beside_the_others_is_not_there() -> None:
    # linux-sgx issue 837: a CPU without launch control, whose kernel has the devices for guests alone
    found = said(judged("devices", "sgx_provision", "sgx_vepc"), "SGX-DEV")
    assert (found.verdict, "launch control" in found.remedy) == ("fail", True)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("cpuinfo", "Hypervisor vendor:     KVM"),  # lscpu
        ("virt", "    Virtualization: kvm"),  # hostnamectl
    ],
)
def test_a_virtual_machine_is_told_without_flags(section: str, line: str) -> None:
    assert said(judged(section, line), "C-BARE").verdict == "info"


FILE = "/sys/firmware/efi/efivars/SgxRegistrationStatus-f236c5dc-a491-4bbe-bcdd-88885770df45"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # hexdump -C and its own words of two bytes, xxd, od; behind a pipe
        ((f"# hexdump -C {FILE}", "00000000  07 00 00 00 01 00 07 00  03 00 00                 |...........|", "0000000b"), "pass"),
        ((f"# hexdump {FILE}", "0000000 0007 0000 0001 0007 0003 0000          ", "000000b"), "pass"),
        ((f"$ sudo xxd {FILE}", "00000000: 0700 0000 0100 0700 0200 82              ..........."), "fail"),
        ((f"$ od -An -t x1 {FILE}", " 07 00 00 00 01 00 07 00 00 00 00"), "fail"),
        ((f"$ cat {FILE} | xxd", "00000000: 0700 0000 0100 0700 0100 00              ..........."), "pass"),
        ((f"$ xxd {FILE}", "xxd: No such file or directory"), "unknown"),
    ],
)  # fmt: skip
def test_a_variable_of_the_bios_is_read_from_a_dump(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("efivars", *lines), "TDX-MPA").verdict == verdict


REPORT = "/sys/kernel/config/tsm/report/123"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # guest-components issue 823: nothing comes, and the next prompt
        ((f"root@guest:~# cat {REPORT}/outblob", f"root@guest:~# cat {REPORT}/provider", "tdx_guest"), "fail"),
        ((f"$ cat {REPORT}/provider", "tdx_guest", f"$ sudo cat {REPORT}/outblob | wc -c", "5006"), "pass"),
        ((f"$ cat {REPORT}/provider", "tdx_guest", f"0 {REPORT}/outblob"), "fail"),
        ((f"$ cat {REPORT}/provider", "tdx_guest", f"$ cat {REPORT}/outblob"), "unknown"),
    ],
)
def test_a_report_is_judged_by_its_size(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("sysfs", *lines), "G-TSM").verdict == verdict


def test_a_guest_is_known_by_what_systemd_says_of_it() -> None:
    found = judged("virt", "$ systemd-detect-virt --cvm", "tdx")
    assert (said(found, "G-KIND").verdict, found.state(Platform.SGX)) == ("pass", State.ABSENT)
