"""Hosts: AMD with SEV and SEV-SNP (Genoa, and one with a segmented RMP table), Intel with SGX and TDX, Arm, IBM, GPUs."""

from __future__ import annotations

from strongroom.model.platform import Platform
from tests.reference import COMMON, Sections, add, edit, machine, whole, without

# psp-sev.h: API 1.55, state INIT, flags with ES, build 38, no guests.
SEV_STATUS = "013701" + "00010000" + "26" + "00000000"
# API 1.55, state INIT, RMP initialised and alias check complete, build 38, no flags, no guests, TCB twice.
SNP_STATUS = "013701" + "03" + "26000000" + "00000000" + "00000000" + "0900000000001648" * 2


def _amd() -> dict[str, tuple[str, ...]]:
    return {
        **COMMON,
        **whole(
            uname="Linux 6.12.0-amd64 x86_64",
            os_release='PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"',
            cpuinfo="""
                processor	: 0
                vendor_id	: AuthenticAMD
                cpu family	: 25
                model		: 17
                model name	: AMD EPYC 9124 16-Core Processor
                microcode	: 0xa101148
                flags		: fpu vme svm vaes vpclmulqdq sev sev_es sev_snp debug_swap
                bugs		: sysret_ss_attrs spectre_v1
                processors : 32
            """,
            cpuid="""
                CPU:
                   0x00000000 0x00: eax=0x00000010 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65
                   0x00000001 0x00: eax=0x00a10f11 ebx=0x00200800 ecx=0x7efa320b edx=0x178bfbff
                   0x00000007 0x00: eax=0x00000001 ebx=0xf1bf97a9 ecx=0x00415fce edx=0x10000010
                   0x80000000 0x00: eax=0x80000028 ebx=0x68747541 ecx=0x444d4163 edx=0x69746e65
                   0x80000002 0x00: eax=0x20444d41 ebx=0x43595045 ecx=0x32313920 edx=0x36312034
                   0x80000003 0x00: eax=0x726f432d ebx=0x72502065 ecx=0x7365636f edx=0x20726f73
                   0x80000004 0x00: eax=0x20202020 ebx=0x20202020 ecx=0x20202020 edx=0x00202020
                   0x8000001f 0x00: eax=0x030ffffb ebx=0x000041b3 ecx=0x000003ee edx=0x00000064
                   0x80000025 0x00: eax=0x00000000 ebx=0x00000000 ecx=0x00000000 edx=0x00000000
            """,
            msr="""
                c0010010 3fc0000
                c0010015 9000011
                c0010132 601d200000
                c0010133 607dafffff
            """,
            cmdline="BOOT_IMAGE=/boot/vmlinuz-6.12.0-amd64 root=UUID=eb1d7853 ro console=ttyS1,115200n8 kvm_amd.sev=1",
            kconfig="CONFIG_KVM_AMD_SEV=y\nCONFIG_CRYPTO_DEV_SP_PSP=y\nCONFIG_AMD_MEM_ENCRYPT=y",
            dmesg="""
                [    0.000000] Linux version 6.12.0-amd64 (build@example) (gcc 14.2.0)
                [    0.000000] SEV-SNP: RMP table physical range [0x000000601d200000 - 0x000000607dafffff]
                [    4.246111] AMD-Vi: IOMMU SNP support enabled.
                [    9.628320] ccp 0000:01:00.5: sev enabled
                [   13.720990] ccp 0000:01:00.5: SEV API:1.55 build:38
                [   13.721003] ccp 0000:01:00.5: SEV-SNP API:1.55 build:38
                [   13.734549] kvm_amd: SEV enabled (ASIDs 100 - 1006)
                [   13.734552] kvm_amd: SEV-ES enabled (ASIDs 1 - 99)
                [   13.734555] kvm_amd: SEV-SNP enabled (ASIDs 1 - 99)
            """,
            sysfs="""
                /sys/fs/cgroup/cgroup.controllers=cpuset cpu io memory pids misc
                /sys/fs/cgroup/misc.capacity=sev 907
                /sys/fs/cgroup/misc.capacity=sev_es 99
                /sys/module/kvm_amd/parameters/sev=Y
                /sys/module/kvm_amd/parameters/sev_es=Y
                /sys/module/kvm_amd/parameters/sev_snp=Y
                /sys/module/kvm_amd/parameters/ciphertext_hiding_asids=0
                /sys/kernel/iommu_groups=87
                /sys/devices/system/cpu/smt/active=1
                mount:/dev=rw,nosuid,relatime
            """,
            modules="ccp\nkvm\nkvm_amd\nvfio_pci",
            devices="crw-rw-rw- 1 root kvm 10, 232 Jan  1 00:00 /dev/kvm\ncrw------- 1 root root 10, 124 Jan  1 00:00 /dev/sev",
            iomem="00001000-0009ffff : System RAM\n100000000-601d1fffff : System RAM",
            dmi="sys_vendor=Dell Inc.\nproduct_name=PowerEdge R7615\nbios_version=1.10.6\nbios_date=12/06/2024",
            units="",
            qemu="QEMU emulator version 10.0.3 (Debian 1:10.0.3)\nList of user creatable objects:\n  sev-guest\n  sev-snp-guest",
            firmware_files="/usr/share/ovmf/OVMF.amdsev.fd",
            sev_status=f"platform_status={SEV_STATUS}\nsnp_platform_status={SNP_STATUS}\nchip_id={'a5' * 64}",
            efivars="",
        ),
    }


@machine("snp", Platform.SNP)
def snp() -> Sections:
    """A Genoa with all of SEV, SEV-ES and SEV-SNP."""
    return _amd()


@machine("snp-segmented", Platform.SNP)
def segmented() -> Sections:
    """A Turin whose RMP table is in segments: no RMP_END, and that is right."""
    host = edit(_amd(), "msr", "c0010133 607dafffff", "c0010133 0\nc0010136 2401")
    host = edit(host, "cpuid", "0x80000025 0x00: eax=0x00000000", "0x80000025 0x00: eax=0x00000a1e")
    return edit(host, "dmesg", "RMP table physical range [", "Segmented RMP base table physical range [")


@machine("sev", Platform.SEV)
def sev() -> Sections:
    """A Rome, which has no SEV-SNP."""
    host = edit(_amd(), "cpuid", "eax=0x030ffffb ebx=0x000041b3", "eax=0x0001000f ebx=0x0000016f")
    host = edit(host, "cpuinfo", " vaes vpclmulqdq sev sev_es sev_snp debug_swap", " sev sev_es")
    host = edit(host, "cpuinfo", "AMD EPYC 9124", "AMD EPYC 7742")
    for start in ("[    0.000000] SEV-SNP", "[    4.246111] AMD-Vi", "[   13.721003]", "[   13.734555]"):
        host = without(host, "dmesg", start)
    host = edit(host, "sysfs", "sev_snp=Y", "sev_snp=N")
    host = edit(host, "msr", "c0010010 3fc0000\n", "c0010010 f40000\n".replace("f40000", "840000"))
    host = edit(host, "sev-status", "013701000100002600000000", "001801000100001400000000")
    return without(host, "sev-status", "snp_platform_status")


def _intel() -> dict[str, tuple[str, ...]]:
    return {
        **COMMON,
        **whole(
            uname="Linux 6.17.0-8-generic x86_64",
            os_release='PRETTY_NAME="Ubuntu 25.10"\nID=ubuntu\nVERSION_ID="25.10"',
            cpuinfo="""
                processor	: 0
                vendor_id	: GenuineIntel
                cpu family	: 6
                model		: 207
                model name	: INTEL(R) XEON(R) SILVER 4514Y
                microcode	: 0x210002a9
                flags		: fpu vme vmx smx sgx sgx_lc tdx_host_platform
                bugs		: spectre_v1 tdx_pw_mce
                processors : 32
            """,
            cpuid="""
                CPU:
                   0x00000000 0x00: eax=0x00000020 ebx=0x756e6547 ecx=0x6c65746e edx=0x49656e69
                   0x00000001 0x00: eax=0x000c06f2 ebx=0x00800800 ecx=0x7ffefbff edx=0xbfebfbff
                   0x00000007 0x00: eax=0x00000002 ebx=0xf3bfbfff ecx=0xfb417fee edx=0xffdd4432
                   0x00000012 0x00: eax=0x00000403 ebx=0x00000001 ecx=0x00000000 edx=0x0000381f
                   0x00000012 0x01: eax=0x000000b6 ebx=0x00000000 ecx=0x000602e7 edx=0x00000000
                   0x00000012 0x02: eax=0x00800001 ebx=0x0000007f ecx=0x7e000001 edx=0x00000000
                   0x00000012 0x03: eax=0x00000000 ebx=0x00000000 ecx=0x00000000 edx=0x00000000
                   0x80000000 0x00: eax=0x80000008 ebx=0x00000000 ecx=0x00000000 edx=0x00000000
            """,
            msr="""
                3a 60007
                87 2000000020
                a0 0
                ce 80088f3f9
                500 500000000000000
                503 0
                982 600000003
                1400 77c00001
                1401 fffffe000c00
            """,
            cmdline="BOOT_IMAGE=/boot/vmlinuz-6.17.0-8-generic root=/dev/sda1 ro nohibernate kvm_intel.tdx=1",
            kconfig="CONFIG_KVM_INTEL=m\nCONFIG_INTEL_TDX_HOST=y\nCONFIG_X86_SGX=y\nCONFIG_X86_SGX_KVM=y",
            dmesg="""
                [    0.000000] Linux version 6.17.0-8-generic (build@example) (gcc 15.2.0)
                [    0.000000] x86/tme: enabled by BIOS
                [    0.310752] virt/tdx: BIOS enabled: private KeyID range [32, 64)
                [    0.310755] virt/tdx: Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.
                [    1.824045] sgx: EPC section 0x7f00800000-0x7f7e7fffff
                [   21.678799] virt/tdx: TDX module 1.5.06.00, build number 744, build date 0134d817
                [   26.540654] virt/tdx: 8405028 KB allocated for PAMT
                [   26.540658] virt/tdx: module initialized
            """,
            sysfs="""
                /sys/fs/cgroup/cgroup.controllers=cpuset cpu io memory pids misc
                /sys/fs/cgroup/misc.capacity=tdx 31
                /sys/module/kvm_intel/parameters/tdx=Y
                /sys/module/kvm_intel/parameters/sgx=Y
                /sys/kernel/iommu_groups=101
                /sys/devices/system/cpu/smt/active=1
                mount:/dev=rw,nosuid,relatime
                /etc/sgx_default_qcnl.conf:pccs_url=https://localhost:8081/sgx/certification/v4/
            """,
            modules="kvm\nkvm_intel\nvfio_pci",
            devices="""
                crw-rw-rw- 1 root kvm 10, 232 Jan  1 00:00 /dev/kvm
                crw-rw---- 1 root sgx     10, 125 Apr  3 21:14 /dev/sgx_enclave
                crw-rw---- 1 root sgx_prv 10, 126 Apr  3 21:14 /dev/sgx_provision
                crw-rw---- 1 root sgx     10, 124 Apr  3 21:14 /dev/sgx_vepc
            """,
            iomem="100000000-407fffffff : System RAM",
            dmi="sys_vendor=Supermicro\nproduct_name=SYS-221H\nbios_vendor=American Megatrends\nbios_version=2.5",
            units="""
                Id=aesmd.service
                LoadState=loaded
                ActiveState=active
                SubState=running
                Id=qgsd.service
                LoadState=loaded
                ActiveState=active
                SubState=running
                Id=pccs.service
                LoadState=loaded
                ActiveState=active
                SubState=running
                Id=mpa_registration_tool.service
                LoadState=loaded
                ActiveState=inactive
                SubState=dead
                ExecMainStatus=0
            """,
            qemu="QEMU emulator version 10.1.0 (Debian 1:10.1.0)\nList of user creatable objects:\n  sev-guest\n  tdx-guest",
            firmware_files="/usr/share/ovmf/OVMF.inteltdx.fd",
            sev_status="",
            efivars="""
                SgxRegistrationStatus-f236c5dc-a491-4bbe-bcdd-88885770df45=0700000001000300010000
                SgxRegistrationConfiguration-18b3bc81-e210-42b9-9ec8-2c5a7d4d89b6=07000000010004000000
            """,
        ),
    }


@machine("tdx", Platform.TDX)
def tdx() -> Sections:
    """An Emerald Rapids with TDX, SGX and what attests them."""
    return _intel()


@machine("sgx", Platform.SGX)
def sgx() -> Sections:
    """The same with TDX off: SGX stands by itself."""
    host = edit(_intel(), "msr", "982 600000003", "982 0")
    return edit(host, "sysfs", "tdx=Y", "tdx=N")


@machine("cca", Platform.CCA)
def cca() -> Sections:
    """An Arm machine with an RMM, as FVP shows it."""
    return {
        **COMMON,
        **whole(
            uname="Linux 6.18.0-cca aarch64",
            os_release='PRETTY_NAME="Debian GNU/Linux 13 (trixie)"',
            cpuinfo="processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nprocessors : 8",
            cmdline="root=/dev/vda2 ro",
            dmesg="""
                [    0.000000] Booting Linux on physical CPU 0x0000000000 [0x410fd0f0]
                [    0.765484] kvm [1]: RMI ABI version 1.0
            """,
            sysfs="""
                /sys/fs/cgroup/cgroup.controllers=cpuset cpu io memory pids
                /sys/devices/system/cpu/cpu0/regs/identification/id_aa64pfr0_el1=0x0010000000000011
            """,
            modules="kvm",
            devices="crw-rw-rw- 1 root kvm 10, 232 Jan  1 00:00 /dev/kvm",
        ),
    }


@machine("se", Platform.SE)
def secure_execution() -> Sections:
    """An IBM z15 LPAR."""
    return {
        **COMMON,
        **whole(
            uname="Linux 6.12.0 s390x",
            os_release='PRETTY_NAME="Debian GNU/Linux 13 (trixie)"',
            cpuinfo="vendor_id       : IBM/S390\nfacilities      : 0 1 2 3 156 158 161 193\nprocessors : 8",
            cmdline="root=/dev/dasda1 prot_virt=1",
            dmesg="""
                [    0.000000] Linux version 6.12.0 (build@example)
                [    0.063630] prot_virt.f9efb6: Reserving 98MB as ultravisor base storage
            """,
            sysfs="""
                /sys/fs/cgroup/cgroup.controllers=cpuset cpu io memory pids
                /sys/firmware/uv/prot_virt_host=1
                /sys/firmware/uv/prot_virt_guest=0
                /sys/firmware/uv/query/max_guests=1022
                /sys/firmware/uv/query/supp_att_req_hdr_ver=100
            """,
            modules="kvm",
            devices="crw-rw-rw- 1 root kvm 10, 232 Jan  1 00:00 /dev/kvm",
        ),
    }


def _gpu(address: str) -> tuple[str, ...]:
    return (
        f"{address} 3D controller [0302]: NVIDIA Corporation GH100 [H100 SXM5 80GB] [10de:2330] (rev a1)",
        "\tSubsystem: NVIDIA Corporation Device [10de:16c1]",
        "\tKernel driver in use: vfio-pci",
        "\tKernel modules: nvidiafb, nouveau",
    )


@machine("gpu", Platform.GPU)
def gpu() -> Sections:
    """An SNP host with one H100."""
    host = add(_amd(), "lspci", *_gpu("c1:00.0"))
    return add(
        host,
        "nvidia-gpu-tools",
        "NVIDIA GPU Tools version v2025.11.21",
        "2025-11-24,10:00:00.000 INFO     GPU 0000:c1:00.0 H100-SXM 0x2330 BAR0 0x11042000000 CC mode is on",
        "2025-11-24,10:00:00.001 INFO     GPU 0000:c1:00.0 H100-SXM 0x2330 BAR0 0x11042000000 PPCIe mode is off",
    )


@machine("gpu-ppcie", Platform.GPU)
def protected_pcie() -> Sections:
    """An SNP host with two H100 and a switch under protected PCIe: CC is off, and right so."""
    host: Sections = _amd()
    for address in ("c1:00.0", "c2:00.0"):
        host = add(host, "lspci", *_gpu(address))
        host = add(
            host,
            "nvidia-gpu-tools",
            f"GPU 0000:{address} H100-SXM 0x2330 BAR0 0x11042000000 CC mode is off",
            f"GPU 0000:{address} H100-SXM 0x2330 BAR0 0x11042000000 PPCIe mode is on",
        )
    host = add(
        host,
        "lspci",
        "05:00.0 Bridge [0680]: NVIDIA Corporation GH100 [H100 NVSwitch] [10de:22a3] (rev a1)",
        "\tKernel driver in use: vfio-pci",
    )
    return add(host, "nvidia-gpu-tools", "NvSwitch 0000:05:00.0 LS10 0x22a3 BAR0 0x9c000000 PPCIe mode is on")


@machine("gpu-arm", Platform.NONE)
def gpu_without_a_tee() -> Sections:
    """An Arm host with a GPU whose confidential mode nothing can use."""
    host = without(cca(), "dmesg", "[    0.765484] kvm")
    host = add(host, "lspci", *_gpu("c1:00.0"))
    host = add(host, "sysfs", "/sys/kernel/iommu_groups=12")
    return add(host, "nvidia-gpu-tools", "GPU 0000:c1:00.0 H100-SXM 0x2330 BAR0 0x11042000000 CC mode is on")
