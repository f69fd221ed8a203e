"""Guests of every kind."""

from __future__ import annotations

from strongroom.model.platform import Platform
from tests.reference import COMMON, Sections, add, edit, machine, whole

_X86 = {
    **COMMON,
    **whole(
        virt="vm=kvm\ncvm=none",
        uname="Linux 6.12.0-amd64 x86_64",
        os_release='PRETTY_NAME="Debian GNU/Linux 13 (trixie)"',
        cpuinfo="""
            processor	: 0
            vendor_id	: AuthenticAMD
            cpu family	: 25
            model		: 1
            model name	: AMD EPYC-Milan Processor
            microcode	: 0x1000065
            flags		: fpu vme hypervisor
            processors : 4
        """,
        cpuid="""
            CPU:
               0x00000000 0x00: eax=0x00000010 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65
               0x00000001 0x00: eax=0x00a00f11 ebx=0x00040800 ecx=0xfeda320b edx=0x178bfbff
               0x80000000 0x00: eax=0x80000028 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65
        """,
        msr="",
        cmdline="BOOT_IMAGE=/boot/vmlinuz root=/dev/vda1 ro",
        dmesg="[    0.000000] Linux version 6.12.0-amd64 (build@example) (gcc 14.2.0)",
        sysfs="/sys/fs/cgroup/cgroup.controllers=cpuset cpu io memory pids\n/sys/class/tpm/tpm0/tpm_version_major=2",
        modules="virtio_net",
        devices="""
            crw-rw---- 1 root tss 10, 224 Jan  1 00:00 /dev/tpm0
            crw-rw---- 1 root tss 253, 65536 Jan  1 00:00 /dev/tpmrm0
            -r--r----- 1 root root 0 Jan  1 00:00 /sys/kernel/security/tpm0/binary_bios_measurements
        """,
        units="",
    ),
}


@machine("guest-vtpm", Platform.VTPM)
def vtpm() -> Sections:
    """An ordinary VM with a software TPM, as a lab's."""
    return _X86


@machine("guest-snp", Platform.SNP)
def snp() -> Sections:
    """A SEV-SNP guest on KVM."""
    guest = edit(_X86, "virt", "cvm=none", "cvm=sev-snp")
    guest = add(guest, "msr", "c0010131 7")
    guest = add(guest, "devices", "crw------- 1 root root 10, 124 Jan  1 00:00 /dev/sev-guest")
    guest = add(
        guest,
        "sysfs",
        "/sys/devices/system/cpu/sev/vmpl=0",
        "/sys/kernel/config/tsm/report/one/provider=sev_guest",
        "/sys/kernel/config/tsm/report/one/outblob_bytes=1184",
    )
    return add(
        guest,
        "dmesg",
        "[    0.658618] Memory Encryption Features active: AMD SEV SEV-ES SEV-SNP",
        "[    0.658784] SEV: Status: SEV SEV-ES SEV-SNP ",
        "[    1.303793] SEV: SNP running at VMPL0.",
        "[    2.061364] SEV: SNP guest platform devices initialized.",
        "[    2.406820] sev-guest sev-guest: Initialized SEV guest driver (using VMPCK0 communication key)",
    )


@machine("guest-tdx", Platform.TDX)
def tdx() -> Sections:
    """A TD on KVM."""
    guest = edit(_X86, "virt", "cvm=none", "cvm=tdx")
    guest = edit(guest, "cpuinfo", "AuthenticAMD", "GenuineIntel")
    guest = edit(guest, "cpuinfo", "hypervisor", "hypervisor tdx_guest")
    guest = edit(
        guest, "cpuid", "ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65", "ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69"
    )
    guest = edit(guest, "cpuid", "eax=0x00000010", "eax=0x00000024")
    guest = add(guest, "cpuid", "   0x00000021 0x00: eax=0x00000000 ebx=0x65746e49 ecx=0x20202020 edx=0x5844546c")
    guest = add(
        guest,
        "devices",
        "crw------- 1 root root 10, 124 Jan  1 00:00 /dev/tdx_guest",
        "-r-------- 1 root root 56 Jan  1 00:00 /sys/firmware/acpi/tables/CCEL",
    )
    guest = add(
        guest,
        "sysfs",
        "/sys/kernel/config/tsm/report/one/provider=tdx_guest",
        "/sys/kernel/config/tsm/report/one/outblob_bytes=4999",
    )
    return add(guest, "dmesg", "[    0.000000] tdx: Guest detected")


@machine("guest-cca", Platform.CCA)
def cca() -> Sections:
    """A realm."""
    guest = edit(_X86, "virt", "cvm=none", "cvm=cca")
    guest = edit(guest, "uname", "x86_64", "aarch64")
    return {
        **guest,
        **whole(
            cpuinfo="processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nprocessors : 2",
            cpuid="",
            dmesg="[    0.000000] Booting Linux on physical CPU 0x0000000000\n[    0.000000] RME: Using RSI version 1.0",
        ),
    }


@machine("guest-se", Platform.SE)
def secure_execution() -> Sections:
    """A protected guest on s390x."""
    guest = edit(_X86, "virt", "cvm=none", "cvm=protvirt")
    guest = edit(guest, "uname", "x86_64", "s390x")
    guest = add(guest, "sysfs", "/sys/firmware/uv/prot_virt_guest=1", "/sys/firmware/uv/prot_virt_host=0")
    return {**guest, **whole(cpuinfo="vendor_id       : IBM/S390\nfacilities      : 0 1 2 158 161", cpuid="")}


@machine("guest-gpu", Platform.GPU)
def gpu() -> Sections:
    """An SNP guest with an H100."""
    guest = add(
        snp(),
        "lspci",
        "01:00.0 3D controller [0302]: NVIDIA Corporation GH100 [H100 PCIe] [10de:2331] (rev a1)",
        "\tKernel driver in use: nvidia",
    )
    guest = add(
        guest,
        "sysfs",
        "/proc/driver/nvidia/version=NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release Build",
    )
    guest = add(guest, "modules", "nvidia", "ecdsa_generic", "ecdh_generic")
    guest = add(
        guest,
        "units",
        "Id=nvidia-persistenced.service",
        "LoadState=loaded",
        "ActiveState=active",
        "SubState=running",
        "Command=/usr/bin/nvidia-persistenced --uvm-persistence-mode --verbose",
    )
    return add(
        guest,
        "nvidia-smi-conf-compute",
        "CC status: ON",
        "CC Environment: PRODUCTION",
        "    CC State                   : ON",
        "    Multi-GPU Mode             : None",
        "    CC GPUs Ready State        : Ready",
        "    DevTools Mode              : OFF",
        "    VBIOS Version                         : 96.00.9F.00.04",
    )
