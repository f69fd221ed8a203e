"""Forms in which people show that a machine is a virtual one, of which kind, and what it has of a TPM; and machines of s390 and Arm.
The lines are made for the test in the wording of the source that stands beside them."""

from __future__ import annotations

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.probe.report import HostReport
from tests.unit.test_spellings import judged, said


@pytest.mark.parametrize(
    ("section", "lines", "check", "verdict"),
    [
        # systemd-detect-virt, below its command and alone; systemd pull requests 28242 and 33913
        ("virt", ("# systemd-detect-virt --cvm", "sev-snp"), "G-KIND", "pass"),
        ("virt", ("protvirt",), "G-KIND", "pass"),
        ("virt", ("microsoft",), "C-BARE", "info"),
        ("virt", ("$ systemd-detect-virt", "none"), "C-BARE", "pass"),
        ("virt", ("# systemd-detect-virt --vm", "amazon", "# systemd-detect-virt --cvm", "none"), "G-KIND", "info"),
        ("virt", ("none",), "C-BARE", "unknown"),
        # a container says nothing of the machine below it
        ("virt", ("$ systemd-detect-virt", "docker"), "C-BARE", "unknown"),
        ("virt", ("       Icon name: computer-vm", "  Virtualization: kvm"), "C-BARE", "info"),
        # util-linux' lscpu; util-linux issue 685; a partition of an s390 machine
        ("cpuinfo", ("Hypervisor vendor:     Microsoft", "Virtualization type:   full"), "C-BARE", "info"),
        ("cpuinfo", ("Hypervisor:          z/VM 6.3.0", "Hypervisor vendor:   IBM"), "C-BARE", "info"),
        ("cpuinfo", ("Hypervisor:          PR/SM", "Hypervisor vendor:   IBM"), "C-BARE", "unknown"),
        # arch/x86/kernel/cpu/hypervisor.c; systemd's manager; arch/s390/kernel/setup.c
        ("dmesg", ("[    0.000000] Hypervisor detected: Microsoft Hyper-V",), "C-BARE", "info"),
        ("dmesg", ("[    2.345678] systemd[1]: Detected virtualization amazon.",), "C-BARE", "info"),
        ("dmesg", ("[    2.345678] systemd[1]: Detected virtualization lxc.",), "C-BARE", "unknown"),
        ("dmesg", ("Feb 14 17:38:21 host7 kernel[1439]:  setup.289988: Linux is running under KVM in 64-bit mode",), "C-BARE", "info"),
        ("dmesg", ("[    0.074017] setup: Linux is running natively in 64-bit mode",), "C-BARE", "pass"),
        ("dmesg", ("[    0.053000] Booting paravirtualized kernel on bare hardware",), "C-BARE", "unknown"),
    ],
)  # fmt: skip
def test_a_machine_says_in_many_places_that_it_is_virtual(
    section: str, lines: tuple[str, ...], check: str, verdict: str
) -> None:
    assert said(judged(section, *lines), check).verdict == verdict


NAME = "   0x40000000 0x00: eax=0x4000000c ebx=0x7263694d ecx=0x666f736f edx=0x76482074"


# Hyper-V's TLFS, feature discovery; klauspost/cpuid issue 137; a leaf of that number of another hypervisor
@pytest.mark.parametrize(
    ("name", "features", "which", "kind"),
    [
        (NAME, "00400000", "00000ba2", "sev-snp"),
        (NAME, None, "00000be3", "tdx"),
        (NAME, "00000000", "00000be3", None),
        (NAME, "00400000", "00000001", None),
        (NAME.replace("7263694d", "4b4d564b"), None, "00000be3", None),
    ],
)
def test_what_hyper_v_isolates_a_guest_by_is_in_cpuid(
    name: str, features: str | None, which: str, kind: str | None
) -> None:
    leaf = "   0x{} 0x00: eax=0x00000001 ebx=0x{} ecx=0x00000000 edx=0x00000000"
    lines = [name, *([leaf.format("40000003", features)] if features else []), leaf.format("4000000c", which)]
    found = said(judged("cpuid", *lines), "G-KIND")
    assert (found.verdict, found.seen) == (("pass", kind) if kind else ("unknown", "not probed"))


@pytest.mark.parametrize(
    ("section", "lines", "verdict"),
    [
        # drivers/char/tpm/tpm-chip.c: there is a resource manager's device for TPM 2.0 alone
        ("devices", ("$ ls /dev/tpm*", "/dev/tpm0  /dev/tpmrm0"), "pass"),
        ("devices", ("/dev/tpm0", "ls: cannot access '/dev/tpmrm0': No such file or directory"), "fail"),
        ("devices", ("/dev/tpm0",), "unknown"),
        ("devices", ("ls: cannot access '/dev/tpm*': No such file or directory",), "info"),
        ("sysfs", ("$ cat /sys/class/tpm/tpm0/tpm_version_major", "2"), "pass"),
        ("sysfs", ("$ cat /sys/class/tpm/tpm0/tpm_version_major", "1"), "fail"),
        # drivers/char/tpm/tpm_tis_core.c, as swtpm's and clouds' look
        ("dmesg", ("[    1.300000] tpm_tis MSFT0101:00: 2.0 TPM (device-id 0x1, rev-id 1)",), "pass"),
        ("dmesg", ("[    1.300000] tpm_tis 00:05: 1.2 TPM (device-id 0x1, rev-id 1)",), "fail"),
        ("dmesg", ("[    1.139024] ima: No TPM chip found, activating TPM-bypass!",), "unknown"),
    ],
)
def test_a_tpms_version_is_told_in_several_places(section: str, lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged(section, *lines), "G-TPMDEV").verdict == verdict


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # lxc/lxcfs issue 105, without facilities; lscpu; the first machines that may have it
        (("vendor_id       : IBM/S390", "processor 0: version = 00,  identification = 478F67,  machine = 2964"), "fail"),
        (("Vendor ID:           IBM/S390", "Machine type:        3906"), "fail"),
        (("Vendor ID:           IBM/S390", "Machine type:        8561"), "unknown"),
        (("facilities      : 0 1 2 158", "processor 0: version = FF,  identification = 0133E8,  machine = 8561"), "pass"),
    ],
)  # fmt: skip
def test_an_s390_machine_of_before_secure_execution_is_known_by_its_type(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("cpuinfo", *lines), "SE-FAC").verdict == verdict


# Trusted Firmware-A services/std_svc/rmmd/rmmd_main.c; TF-RMM's banner, which says nothing of the host's kernel
@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("WARNING: No RMM image provided by BL2 boot loader, Booting device without RMM initialization.", "fail"),
        ("RMI ABI revision v1.1", "unknown"),
    ],
)
def test_a_console_tells_of_the_rmm(line: str, verdict: str) -> None:
    assert said(judged("dmesg", line), "CCA-RMI").verdict == verdict


def test_files_of_proc_and_counts_are_read_below_their_command() -> None:
    driver = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@host)"
    for lines in (("$ cat /proc/driver/nvidia/version", driver), (driver, "GCC version:  gcc version 11.4.0")):
        assert said(judged("sysfs", *lines), "GPU-DRV").verdict == "pass"
    groups = ("# ls /sys/kernel/iommu_groups | wc -l", "0")
    gpu = "c1:00.0 3D controller [0302]: NVIDIA Corporation GH100 [H100 PCIe] [10de:2331] (rev a1)"
    found = said(judge(HostReport.of({"sysfs": groups, "lspci": (gpu,)}), catalogue()), "GPU-VFIO")
    assert (found.verdict, "IOMMU" in found.remedy) == ("fail", True)


def test_lines_that_uniq_counted_are_lines() -> None:
    lines = ("$ grep microcode /proc/cpuinfo | sort | uniq -c", "     96 microcode\t: 0x2b000161")
    assert said(judged("cpuinfo", *lines), "C-UCODE").verdict == "unknown"
    assert said(judged("cpuinfo", *lines, "     96 microcode\t: 0x2b000571"), "C-UCODE").verdict == "fail"
    flags = ("$ grep -o -w -E 'tme|tdx_host_platform' /proc/cpuinfo | sort | uniq -c", "    256 tdx_host_platform")
    assert said(judged("cpuinfo", *flags), "TDX-FLAG").verdict == "pass"
