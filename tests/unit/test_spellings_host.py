"""Forms in which people show what the kernel says of a host: uname, lscpu, files of sysfs, devices as ls lists them. The lines are
made for the test in the wording of the source that stands beside them."""

from __future__ import annotations

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.checks.verdict import State
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport
from tests.unit.test_spellings import judged, said


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
        # AMDESE/AMDSEV issue 101 and AMDESE/sev-tool issue 66, which left the host's name out; busybox's end; cut short
        (
            ("Linux node-1 5.19.0-rc6-snp #1 SMP Wed Jul 27 12:21:35 2022 x86_64 x86_64 x86_64 GNU/Linux",),
            "5.19.0-rc6-snp",
            "x86_64",
        ),
        (
            ("Linux 5.10.0-15-amd64 #1 SMP Debian 5.10.120-1 (2022-06-09) x86_64 GNU/Linux",),
            "5.10.0-15-amd64",
            "x86_64",
        ),
        (("Linux 4node 6.12.1 #2 SMP PREEMPT Tue Jul 18 06:18:50 2023 aarch64 Linux",), "6.12.1", "aarch64"),
        (("Linux 6.11.0-1 s390x",), "6.11.0-1", "s390x"),
        (("Linux node-1 5.19.0-rc6 #1 SMP Wed Jul 27 12:21:35 PDT 2022",), "5.19.0-rc6", None),
        (("$ uname -a",), None, None),
        (("Linux host7",), None, None),
    ],
)
def test_uname_is_read_with_any_of_its_options(lines: tuple[str, ...], kernel: str | None, machine: str | None) -> None:
    found = HostReport.of({"uname": lines})
    assert (found.kernel, found.machine) == (kernel, machine)
    # A name or a date that was taken for the machine would make a CPU that no TEE has.
    expected = "pass" if machine in ("aarch64", "s390x") else "unknown"
    assert said(judged("uname", *lines), "C-ARCH").verdict == expected


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


AMD = ("vendor_id\t: AuthenticAMD",)
FILE = "/boot/config-6.8.0-45-generic:"


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # grep of several files names the file; kconfig writes what is not set as a comment
        ((f"{FILE}CONFIG_KVM_AMD_SEV=y", f"{FILE}CONFIG_CRYPTO_DEV_SP_PSP=y", f"{FILE}CONFIG_AMD_MEM_ENCRYPT=y"), "pass"),
        (("$ zgrep SEV /proc/config.gz", "# CONFIG_KVM_AMD_SEV is not set"), "fail"),
        ((f"{FILE}# CONFIG_AMD_MEM_ENCRYPT is not set",), "fail"),
        (("CONFIG_KVM_AMD_SEV=y",), "unknown"),
    ],
)  # fmt: skip
def test_an_option_that_is_not_set_is_told_by_one_line(lines: tuple[str, ...], verdict: str) -> None:
    found = judge(HostReport.of({"cpuinfo": AMD, "kconfig": lines}), catalogue())
    assert said(found, "C-KCONF").verdict == verdict


@pytest.mark.parametrize(
    "lines",
    [
        ("[root@host7 ~]# cat /proc/cmdline", "BOOT_IMAGE=/vmlinuz-6.11 ro kvm.sev_es=1"),
        ("BOOT_IMAGE=/vmlinuz-6.11 root=UUID=0a1b ro", "nohibernate kvm.sev_es=1", "me@host7:~$ uname -r", "6.11.0"),
    ],
)
def test_a_command_line_is_read_below_its_command_and_where_it_was_folded(lines: tuple[str, ...]) -> None:
    found = said(judged("cmdline", *lines), "C-CMDLINE")
    assert (found.verdict, "kvm_amd.sev_es" in found.seen) == ("fail", True)
    assert "uname" not in [name for name, _ in HostReport.of({"cmdline": lines}).command_line.options]


def test_names_below_the_command_that_lists_a_folder_are_that_folders() -> None:
    log = "/sys/kernel/security/tpm0/binary_bios_measurements"
    lines = (
        "$ sudo ls -l /sys/kernel/security/tpm0/",
        "total 0",
        "-r--r----- 1 root root 0 Nov 14 22:21 ascii_bios_measurements",
        "-r--r----- 1 root root 0 Nov 14 22:21 binary_bios_measurements",
        "root@host7:~# ls /dev | grep tpm",
        "tpm0  tpmrm0",
        "root@host7:~# tpm2_getcap handles-persistent",
        "none",
    )
    assert set(HostReport.of({"devices": lines}).nodes) == {
        "/sys/kernel/security/tpm0/ascii_bios_measurements", log, "/dev/tpm0", "/dev/tpmrm0",
    }  # fmt: skip
    assert said(judged("devices", *lines), "G-TPM").verdict == "pass"


@pytest.mark.parametrize(
    ("line", "check", "remedy"),
    [
        # arch/x86/kernel/cpu/amd.c, arch/x86/kvm/svm/svm.c, arch/x86/kvm/x86.c of 5.12 to 6.2
        ("SVM disabled (by BIOS) in MSR_VM_CR", "SEV-KVM", "SVM"),
        ("kvm_amd: SVM disabled (by BIOS) in MSR_VM_CR on CPU 17", "SEV-KVM", "SVM"),
        ("kvm: support for 'kvm_amd' disabled by bios", "SEV-KVM", "SVM"),
        # arch/x86/kernel/cpu/feat_ctl.c, arch/x86/kvm/vmx/vmx.c
        ("x86/cpu: VMX (outside TXT) disabled by BIOS", "TDX-KVM", "VT-x"),
        ("kvm_intel: VMX not enabled (by BIOS) in MSR_IA32_FEAT_CTL on CPU 0", "TDX-KVM", "VT-x"),
    ],
)
def test_a_bios_that_takes_virtualisation_away_leaves_no_kvm(line: str, check: str, remedy: str) -> None:
    found = judged("dmesg", f"[    0.135737] {line}")
    other = {"SEV-KVM": "TDX-KVM", "TDX-KVM": "SEV-KVM"}[check]
    assert (said(found, check).verdict, remedy in said(found, check).remedy) == ("fail", True)
    assert [said(found, name).verdict for name in (other, "SGX-LOG")] == ["unknown", "unknown"]
