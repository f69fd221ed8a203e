"""Every check of the catalogue, and the one change that makes a complete machine fail it and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.reference import Sections, add, edit, without
from tests.reference.hosts import SEV_STATUS, SNP_STATUS


@dataclass(frozen=True)
class Fault:
    """A machine, what is done to it, and the verdict that the check then gives."""

    machine: str
    change: Callable[[Sections], Sections]
    verdict: str = "fail"


def _edit(name: str, old: str, new: str) -> Callable[[Sections], Sections]:
    return lambda sections: edit(sections, name, old, new)


def _add(name: str, *lines: str) -> Callable[[Sections], Sections]:
    return lambda sections: add(sections, name, *lines)


def _without(name: str, start: str) -> Callable[[Sections], Sections]:
    return lambda sections: without(sections, name, start)


def _all(*changes: Callable[[Sections], Sections]) -> Callable[[Sections], Sections]:
    def change(sections: Sections) -> Sections:
        for one in changes:
            sections = one(sections)
        return sections

    return change


def _same(sections: Sections) -> Sections:
    return sections


def _status(old: str, new: str) -> Callable[[Sections], Sections]:
    """Bytes of the SNP platform status."""
    return _edit(
        "sev-status", f"snp_platform_status={SNP_STATUS}", f"snp_platform_status={SNP_STATUS.replace(old, new, 1)}"
    )


_SECOND_GPU = "\n".join(("c5:00.0 3D controller [0302]: NVIDIA Corporation TU104GL [Tesla T4] [10de:1eb8] (rev a1)",))
_TDX_INITIALISED = "virt/tdx: module initialized"

FAULTS: dict[str, Fault] = {
    "C-ARCH": Fault("snp", _edit("cpuinfo", "AuthenticAMD", "CentaurHauls")),
    "C-BARE": Fault("snp", _edit("cpuinfo", "fpu vme", "fpu vme hypervisor")),
    "C-LOGCOV": Fault("snp", _without("dmesg", "[    0.000000]"), "unknown"),
    "C-MSR": Fault("snp", lambda s: {**s, "msr": ("#unreadable: lockdown=confidentiality", "#end")}, "unknown"),
    "C-BIOS": Fault("snp", _same, "info"),
    "C-UCODE": Fault("snp", _add("cpuinfo", "microcode\t: 0xa101020")),
    "C-CMDLINE": Fault("snp", _edit("cmdline", "kvm_amd.sev=1", "kvm_amdd.sev=1")),
    "C-CLOCK": Fault("snp", _edit("time", "1760000000", "1760009000")),
    "C-TIMESRC": Fault("snp", _edit("time", "synchronised=yes", "synchronised=no"), "warn"),
    "C-RESOLVER": Fault("snp", _edit("time", "10.0.0.53", "8.8.8.8"), "warn"),
    "C-KVER": Fault("snp", _edit("uname", "6.12.0-amd64", "6.1.0-amd64"), "warn"),
    "C-KCONF": Fault("snp", _edit("kconfig", "CONFIG_KVM_AMD_SEV=y", "CONFIG_KVM_AMD_SEV=n")),
    "C-MEMLOCK": Fault("snp", _same, "info"),
    "C-QEMU": Fault("snp", _without("qemu", "  sev-snp-guest"), "warn"),
    "C-OVMF": Fault("snp", _without("firmware-files", "/usr"), "warn"),
    "C-CAP": Fault("snp", _edit("sysfs", "sev_es 99", "sev_es 0")),
    "SEV-CPU": Fault("snp", _edit("cpuinfo", "EPYC 9124", "Ryzen 9 7950X")),
    "SEV-CPUID": Fault("snp", _edit("cpuid", "eax=0x030ffffb", "eax=0x030ffff3")),
    "SEV-SMEE": Fault("snp", _edit("msr", "c0010010 3fc0000", "c0010010 37c0000")),
    "SEV-SMMLOCK": Fault("snp", _edit("msr", "c0010015 9000011", "c0010015 9000010")),
    "SEV-ASID": Fault("snp", _edit("dmesg", "SEV-ES enabled (ASIDs 1 - 99)", "SEV-ES disabled (ASIDs 0 - 0)")),
    "SEV-CCP": Fault("snp", _without("devices", "crw------- 1 root root 10, 124")),
    "SEV-DEV": Fault("snp", _edit("devices", "crw------- 1 root root 10, 124", "cr-------- 1 root root 10, 124")),
    "SEV-FW": Fault("snp", _edit("sev-status", f"={SEV_STATUS}\n", f"={SEV_STATUS.replace('013701', '013700')}\n")),
    "SEV-FWUPD": Fault("snp", _same, "info"),
    "SEV-KVM": Fault("snp", _edit("sysfs", "sev_es=Y", "sev_es=N")),
    "SEV-CHIP": Fault("snp", _edit("sev-status", "a5" * 64, "00" * 64)),
    "SEV-FLAGS": Fault("snp", _edit("cpuinfo", " sev_snp", "")),
    "SNP-CPUID": Fault("snp", _edit("cpuid", "eax=0x030ffffb", "eax=0x030fffdb")),
    "SNP-RMPMSR": Fault("snp", _all(_edit("msr", "601d200000", "0"), _edit("msr", "607dafffff", "1fff"))),
    "SNP-RMPSEG": Fault("snp-segmented", _edit("msr", "c0010136 2401", "c0010136 3f01")),
    "SNP-RMPSIZE": Fault("snp", _edit("iomem", "601d1fffff", "901d1fffff")),
    "SNP-RMPLOG": Fault("snp", _without("dmesg", "[    0.000000] SEV-SNP")),
    "SNP-IOMMU": Fault(
        "snp",
        _edit("dmesg", "IOMMU SNP support enabled.", "SNP: IOMMU SNP feature not enabled, SNP cannot be supported."),
    ),
    "SNP-SYSCFG": Fault("snp", _edit("msr", "c0010010 3fc0000", "c0010010 3fc0000 0-30\nc0010010 2fc0000 31")),
    "SNP-FW": Fault("snp", _status("013701", "013101")),
    "SNP-INIT": Fault("snp", _status("013701", "013700")),
    "SNP-ALIAS": Fault("snp", _status("01370103", "01370101")),
    "SNP-TCB": Fault("snp", _status("0900000000001648", "0a00000000001648"), "warn"),
    "SNP-CFG": Fault("snp", _status("0103260000000000", "0103260000000100")),
    "SNP-STATE": Fault("snp", _edit("dmesg", "SEV-SNP enabled (ASIDs 1 - 99)", "SEV-SNP disabled (ASIDs 1 - 99)")),
    "SNP-KVM": Fault("snp", _edit("sysfs", "sev_snp=Y", "sev_snp=N")),
    "SNP-HIDING": Fault("snp", _edit("sysfs", "hiding_asids=0", "hiding_asids=99"), "warn"),
    "SNP-TSC": Fault("snp", _same, "info"),
    "SNP-SMT": Fault("snp", _same, "info"),
    "SNP-KDUMP": Fault("snp", _edit("cmdline", " ro ", " ro crashkernel=512M "), "info"),
    "SGX-CPUID": Fault("tdx", _edit("cpuid", "ebx=0xf3bfbfff", "ebx=0xf3bfbffb")),
    "SGX-LEAF12": Fault("tdx", _edit("cpuid", "eax=0x00000403", "eax=0x00000402")),
    "SGX-FC": Fault("tdx", _edit("msr", "3a 60007", "3a 20007")),
    "SGX-LOG": Fault(
        "tdx", _edit("dmesg", "sgx: EPC section 0x7f00800000-0x7f7e7fffff", "x86/cpu: SGX disabled by BIOS.")
    ),
    "SGX-DEV": Fault("tdx", _edit("devices", "crw-rw---- 1 root sgx_prv 10, 126", "crw------- 1 root root 10, 126")),
    "SGX-SVC": Fault("tdx", _edit("units", "active\nSubState=running\nId=qgsd", "failed\nSubState=failed\nId=qgsd")),
    "SGX-SMT": Fault("tdx", _same, "info"),
    "SGX-DEBUG": Fault("tdx", _edit("msr", "503 0", "503 1")),
    "SGX-KVM": Fault("tdx", _edit("sysfs", "sgx=Y", "sgx=N"), "warn"),
    "TDX-CPU": Fault("tdx", _edit("cpuinfo", "207", "106")),
    "TDX-TME": Fault("tdx", _edit("msr", "982 600000003", "982 600000002")),
    "TDX-TMELOG": Fault("tdx", _edit("dmesg", "x86/tme: enabled by BIOS", "x86/tme: not enabled by BIOS")),
    "TDX-PART": Fault("tdx", _edit("msr", "87 2000000020", "87 100000020")),
    "TDX-SEAMRR": Fault("tdx", _edit("msr", "fffffe000c00", "fffffe000800")),
    "TDX-MCHECK": Fault("tdx", _edit("msr", "a0 0", "a0 1861")),
    "TDX-PROD": Fault("tdx", _edit("msr", "ce 80088f3f9", "ce 80888f3f9")),
    "TDX-SEAMSVN": Fault("tdx", _edit("msr", "500 500000000000000", "500 0")),
    "TDX-BIOSLOG": Fault("tdx", _edit("dmesg", "[32, 64)", "[32, 33)")),
    "TDX-HIB": Fault(
        "tdx", _edit("dmesg", _TDX_INITIALISED, "virt/tdx: initialization failed: Hibernation support is enabled")
    ),
    "TDX-MODLOG": Fault("tdx", _edit("dmesg", _TDX_INITIALISED, "virt/tdx: module initialization failed (-22)")),
    "TDX-MODVER": Fault("tdx", _edit("dmesg", "TDX module 1.5.06.00", "TDX module 1.0.06.00")),
    "TDX-KVM": Fault("tdx", _edit("sysfs", "tdx=Y", "tdx=N")),
    "TDX-FLAG": Fault("tdx", _edit("cpuinfo", " tdx_host_platform", "")),
    "TDX-PAMT": Fault("tdx", _same, "info"),
    "TDX-TXT": Fault("tdx", _same, "info"),
    "TDX-S3": Fault("tdx", _same, "info"),
    # Never fails by itself: what is wrong with SGX fails there, and this is skipped behind it.
    "TDX-SGX": Fault("tdx", _same, "pass"),
    "TDX-MPA": Fault("tdx", _edit("efivars", "0700000001000300010000", "0700000001000300010082")),
    "TDX-MPAIND": Fault("tdx", _same, "info"),
    "TDX-PCCS": Fault("tdx", _edit("sysfs", "pccs_url=https", "pccs_url=http")),
    "TDX-QGS": Fault("tdx", _edit("units", "Id=pccs", "Log=tee_att_get_quote failed: 0xe011\nId=pccs")),
    "CCA-RME": Fault("cca", _edit("sysfs", "0x0010000000000011", "0x0000000000000011"), "warn"),
    "CCA-RMI": Fault("cca", _edit("dmesg", "RMI ABI version 1.0", "RMI ABI version 0.5")),
    "SE-FAC": Fault("se", _edit("cpuinfo", " 158 ", " 1158 ")),
    "SE-HOST": Fault("se", _edit("sysfs", "prot_virt_host=1", "prot_virt_host=0")),
    "SE-UV": Fault(
        "se",
        _edit("dmesg", "Reserving 98MB as ultravisor base storage", "Disabling support for protected virtualization"),
    ),
    "SE-QUERY": Fault("se", _edit("sysfs", "supp_att_req_hdr_ver=100", "supp_att_req_hdr_ver=0")),
    "GPU-ID": Fault("gpu", _add("lspci", _SECOND_GPU)),
    "GPU-MODE": Fault("gpu", _edit("nvidia-gpu-tools", "CC mode is on", "CC mode is devtools")),
    "GPU-PPCIE": Fault(
        "gpu-ppcie",
        _edit(
            "nvidia-gpu-tools", "0x22a3 BAR0 0x9c000000 PPCIe mode is on", "0x22a3 BAR0 0x9c000000 PPCIe mode is off"
        ),
    ),
    "GPU-VFIO": Fault("gpu", _edit("lspci", "in use: vfio-pci", "in use: nvidia")),
    "GPU-HOST": Fault("gpu-arm", _same),
    "G-KIND": Fault("guest-snp", _edit("virt", "cvm=sev-snp", "cvm=none"), "warn"),
    "G-TSM": Fault("guest-snp", _edit("sysfs", "outblob_bytes=1184", "outblob_bytes=0")),
    "G-SWIOTLB": Fault(
        "guest-snp", _add("dmesg", "[    1.015953] Kernel panic: Can not allocate SWIOTLB buffer earlier")
    ),
    "G-SECRET": Fault("guest-snp", _same, "info"),
    "G-MEF": Fault("guest-snp", _edit("dmesg", "active: AMD SEV SEV-ES SEV-SNP", "active: AMD SEV SEV-ES")),
    "G-SNPMSR": Fault("guest-snp", _edit("msr", "c0010131 7", "c0010131 3")),
    "G-SNPDEV": Fault("guest-snp", _without("devices", "crw------- 1 root root 10, 124")),
    "G-VMPL": Fault("guest-snp", _same, "info"),
    "G-TDX": Fault(
        "guest-tdx",
        _all(
            _edit("cpuinfo", " tdx_guest", ""),
            _without("dmesg", "[    0.000000] tdx"),
            _edit(
                "cpuid", "ebx=0x65746e49 ecx=0x20202020 edx=0x5844546c", "ebx=0x00000000 ecx=0x00000000 edx=0x00000000"
            ),
        ),
    ),
    "G-TDXDEV": Fault("guest-tdx", _without("devices", "crw------- 1 root root 10, 124")),
    "G-CCEL": Fault("guest-tdx", _without("devices", "-r-------- 1 root root 56"), "warn"),
    "G-CCA": Fault("guest-cca", _without("dmesg", "[    0.000000] RME")),
    "SE-GUEST": Fault("guest-se", _edit("sysfs", "prot_virt_guest=1", "prot_virt_guest=0")),
    "G-GPU": Fault("guest-gpu", _add("lspci", _SECOND_GPU)),
    "GPU-DRV": Fault("guest-gpu", _edit("sysfs", "Open Kernel Module", "Kernel Module")),
    "GPU-VBIOS": Fault("guest-gpu", _edit("nvidia-smi-conf-compute", "96.00.9F.00.04", "96.00.5D.00.00")),
    "GPU-LKCA": Fault("guest-gpu", _without("modules", "ecdsa_generic")),
    "GPU-PERS": Fault("guest-gpu", _edit("units", " --uvm-persistence-mode", "")),
    "GPU-SMI": Fault("guest-gpu", _edit("nvidia-smi-conf-compute", "State                   : ON", "State  : OFF")),
    "G-TPMDEV": Fault("guest-vtpm", _edit("sysfs", "tpm_version_major=2", "tpm_version_major=1")),
    "G-TPM": Fault("guest-vtpm", _without("devices", "-r--r-----")),
}
