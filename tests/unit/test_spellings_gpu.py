"""Spellings of NVIDIA's tools and lspci, in the wording of the sources that stand beside the lines."""

from __future__ import annotations

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.probe.report import HostReport
from tests.unit.test_spellings import judged, said


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # nvidia-smi conf-compute -f, -e and -grs of NVIDIA's deployment guide; go-tpm-tools pull request 542
        (("CC status: ON", "CC Environment: PRODUCTION", "Confidential Compute GPUs Ready state: ready"), "pass"),
        (("CC status: ON", "CC Environment: PRODUCTION", "Confidential Compute GPUs Ready state: not-ready"), "fail"),
        (("CC status: ON", "Confidential Compute GPUs Ready state: ready"), "unknown"),
        (("CC Mode : Off",), "fail"),
        (("CC feature: OFF",), "fail"),
        (("No CC capable devices found",), "fail"),
    ],
)
def test_nvidia_smi_says_it_in_two_ways(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("nvidia-smi-conf-compute", *lines), "GPU-SMI").verdict == verdict


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        # NVIDIA/gpu-admin-tools before v2024.12.06, and how newer versions call a device
        (("INFO Selected GPU 0000:a3:00.0 H100-SXM 0x2330 BAR0 0x98042000000", "gpu.error.GpuError: Unexpected CC state 0x2"), "fail"),
        (("INFO Nvidia 0000:17:00.0 BAR0 0xa0000000 devid 0x2bb5 CC mode is on",), "pass"),
        (("INFO Nvidia 0000:17:00.0 BAR0 0xa0000000 devid 0x2bb5 CC mode is off",), "fail"),
        (("ERROR Querying CC mode is not supported on GPU 0000:43:00.0 H100-SXM 0x2330 BAR0 0xab042000000",), "fail"),
    ],
)  # fmt: skip
def test_nvidias_tools_of_several_ages(lines: tuple[str, ...], verdict: str) -> None:
    assert said(judged("nvidia-gpu-tools", *lines), "GPU-MODE").verdict == verdict


@pytest.mark.parametrize(
    ("device", "known"),
    [
        ("2322", True),
        ("233d", True),
        ("233b", True),
        ("2901", True),
        ("2bb5", True),
        ("3182", True),
        ("31c2", True),
        ("2329", True),
        ("232c", True),
        ("233a", True),
        ("2348", True),
        ("20b5", False),
    ],
)
def test_gpus_of_nvidias_own_list_and_newer_ones_are_known(device: str, known: bool) -> None:
    numbered = f"c1:00.0 3D controller [0302]: NVIDIA Corporation Device [10de:{device}] (rev a1)"
    plain = f"c1:00.0 3D controller: NVIDIA Corporation Device {device} (rev a1)"
    for line in (numbered, plain, f"IOMMU Group 15: {numbered}", f"IOMMU Group 15 {numbered}"):
        assert said(judged("lspci", line), "GPU-ID").verdict == ("pass" if known else "fail")


# pci.ids: what lspci prints without -nn.
@pytest.mark.parametrize(
    ("name", "known"), [("GH100 [H200 SXM 141GB]", True), ("GB110 [B300 SXM6 AC]", True), ("AD102GL [L40S]", False)]
)
def test_a_gpu_is_known_by_lspcis_name_for_it(name: str, known: bool) -> None:
    found = judged(
        "lspci", f"c1:00.0 3D controller: NVIDIA Corporation {name} (rev a1)", "\tKernel driver in use: nvidia"
    )
    assert said(found, "GPU-ID").verdict == ("pass" if known else "fail")
    assert said(found, "GPU-VFIO").verdict == ("fail" if known else "skip")


# gpu_cc_tool.py --query-cc-settings of nvtrust; issues 31, 33 and 35
@pytest.mark.parametrize(
    ("warning", "enable", "verdict"), [(True, 1, "pass"), (False, 1, "unknown"), (True, 0, "fail"), (False, 0, "fail")]
)
def test_settings_contradict_a_mode_and_make_none(warning: bool, enable: int, verdict: str) -> None:
    gpu = "INFO     GPU 0000:44:00.0 H100-PCIE 0x2331 BAR0 0x50042000000"
    lines = (
        f"{gpu} has CC mode on, some functionality may not work" if warning else gpu,
        f"{gpu} CC settings:",
        f"INFO       enable = {enable}",
        "INFO       enable-devtools = 0",
        "INFO       enable-allow-inband-control = 1",
    )
    found = said(judged("nvidia-gpu-tools", *lines), "GPU-MODE")
    assert (found.verdict, "--set-cc-mode=on" in found.remedy) == (verdict, verdict == "fail")


def test_a_gpu_that_nvidias_driver_holds_is_not_ready_to_be_handed_on() -> None:
    line = "ERROR The nvidia driver appears to be using GPU 0000:43:00.0 H100-SXM 0x2330 BAR0 0xab042000000, aborting."
    assert said(judged("nvidia-gpu-tools", line), "GPU-VFIO").verdict == "fail"


def test_the_tables_of_gpus_on_both_sides_are_the_same() -> None:
    assert catalogue().check("GPU-ID").table("ids") == catalogue().check("G-GPU").table("ids")


# NVIDIA/nvtrust issue 153; the wording of lspci -nnk and of NVIDIA/gpu-admin-tools
@pytest.mark.parametrize(
    ("mode", "held", "verdict"),
    [("on", "nvidia-nvswitch", "fail"), ("on", "vfio-pci", "pass"), ("off", "nvidia-nvswitch", "pass")],
)
def test_a_switch_in_protected_pcie_is_handed_on_with_its_gpus(mode: str, held: str, verdict: str) -> None:
    report = {
        "lspci": (
            "18:00.0 3D controller [0302]: NVIDIA Corporation GH100 [H100 SXM5 80GB] [10de:2330] (rev a1)",
            "\tKernel driver in use: vfio-pci",
            "d6:00.0 Bridge [0680]: NVIDIA Corporation GH100 [H100 NVSwitch] [10de:22a3] (rev a1)",
            f"\tKernel driver in use: {held}",
            "#end",
        ),
        "nvidia-gpu-tools": (f"INFO     NvSwitch 0000:d6:00.0 LS10 0x22a3 BAR0 0xd7000000 PPCIe mode is {mode}",),
    }
    assert said(judge(HostReport.of(report), catalogue()), "GPU-VFIO").verdict == verdict


GUEST = {"dmesg": ("[    0.000000] tdx: Guest detected",)}
# NVIDIA/nvtrust issues 52, 64 and 124; Azure/az-cgpu-onboarding's questions and answers; NVIDIA/nvtrust issue 30
NO_ANSWER = (
    "No devices were found",
    "Failed to initialize NVML: Driver/library version mismatch",
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA driver is installed and running.",
    "Unable to determine the device handle for GPU0009:01:00.0: Unknown Error",
)


@pytest.mark.parametrize("line", NO_ANSWER)
def test_a_guest_whose_nvidia_smi_finds_no_gpu_has_none_and_a_host_gave_it_away(line: str) -> None:
    asked = {"nvidia-smi-conf-compute": ("$ nvidia-smi conf-compute -f", line)}
    found = said(judge(HostReport.of({**GUEST, **asked}), catalogue()), "GPU-SMI")
    assert (found.verdict, found.seen, "NVRM" in found.remedy) == ("fail", line, True)
    assert said(judge(HostReport.of(asked), catalogue()), "GPU-SMI").verdict == "unknown"
    later = {"nvidia-smi-conf-compute": (line, "CC status: ON")}
    assert said(judge(HostReport.of({**GUEST, **later}), catalogue()), "GPU-SMI").verdict == "unknown"


@pytest.mark.parametrize(
    ("line", "check", "verdict", "remedy"),
    [
        # what the driver says when it is loaded: NVIDIA/open-gpu-kernel-modules issue 531, and of the open module
        ("NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023", "GPU-DRV", "fail", "proprietary"),
        ("NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  550.90.07  Release Build  (root@host)", "GPU-DRV", "pass", ""),
        ("NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  525.60.13  Release Build  (root@host)", "GPU-DRV", "fail", "branch"),
        # NVIDIA/open-gpu-kernel-modules issue 893
        ("libspdm_check_crypto_backend: Error - libspdm expects LKCA but found stubs!", "GPU-LKCA", "fail", "anew"),
        ("libspdm_check_crypto_backend: LKCA wrappers found.", "GPU-LKCA", "unknown", ""),
        # conf_compute.c, confComputeConstructEngine; NVIDIA/nvtrust issue 124
        ("NVRM: confComputeConstructEngine_IMPL: GPU confidential compute capability is not enabled.", "GPU-SMI", "fail", "from the host"),
        # of a kernel that is in no TEE, on a host as well
        ("NVRM: confComputeConstructEngine_IMPL: CPU does not support confidential compute.", "GPU-SMI", "unknown", ""),
    ],
)  # fmt: skip
def test_what_the_driver_says_in_the_kernels_log(line: str, check: str, verdict: str, remedy: str) -> None:
    found = said(judged("dmesg", f"[   62.083636] {line}"), check)
    assert (found.verdict, remedy in found.remedy) == (verdict, True), found


@pytest.mark.parametrize(
    ("lines", "known", "handed"),
    [
        # lspci -n, of old and new pciutils; grep -n; a code block that is indented; a paste that lost its blanks, as in
        # intel/tdx-linux issue 8
        (("c1:00.0 0302: 10de:2331 (rev a1)", "\tKernel driver in use: nouveau"), "pass", "fail"),
        (("c1:00.0 Class 0302: 10de:20b0 (rev a1)",), "fail", "skip"),
        (("12:c1:00.0 3D controller [0302]: NVIDIA Corporation GH100 [H100 PCIe] [10de:2331] (rev a1)",), "pass", "unknown"),
        (("    c1:00.0 3D controller: NVIDIA Corporation Device 2331", "    \tKernel driver in use: nvidia"), "pass", "fail"),
        (("c1:00.0 3D controller: NVIDIA Corporation Device 2331", "Kernel driver in use: nvidia"), "pass", "fail"),
        (
            ("c1:00.0 0302: 10de:2331", "Kernel driver in use: vfio-pci", "c2:00.0 0200: 15b3:101b", "Kernel driver in use: mlx5_core"),
            "pass",
            "unknown",
        ),
    ],
)  # fmt: skip
def test_lspci_in_numbers_and_as_pastes_deform_it(lines: tuple[str, ...], known: str, handed: str) -> None:
    found = judged("lspci", *lines)
    assert (said(found, "GPU-ID").verdict, said(found, "GPU-VFIO").verdict) == (known, handed)


# NVIDIA/gpu-admin-tools, cli/per_gpu.py and cli/per_gpu_nvswitch.py
def test_a_mode_that_the_reset_did_not_bring_is_not_the_mode() -> None:
    gpu = "GPU 0000:18:00.0 H100-SXM 0x2330 BAR0 0xab042000000"
    found = said(
        judged(
            "nvidia-gpu-tools",
            f"INFO     {gpu} CC mode set to on. It will be active after GPU reset.",
            f"gpu.error.GpuError: {gpu} failed to switch to CC mode on, current mode is off.",
        ),
        "GPU-MODE",
    )
    assert (found.verdict, found.seen) == ("fail", "0000:18:00.0: CC mode off")


def test_a_switch_whose_firmware_has_no_protected_pcie_is_not_in_it() -> None:
    found = said(
        judged(
            "nvidia-gpu-tools",
            "INFO     GPU 0000:18:00.0 H100-SXM 0x2330 BAR0 0xab042000000 PPCIe mode is on",
            "ERROR    NvSwitch 0000:07:00.0 LS10 0x22a3 BAR0 0x98000000 does not support PPCIe on current FW. A FW update is required.",
        ),
        "GPU-PPCIE",
    )
    assert (found.verdict, "firmware" in found.remedy) == ("fail", True)


def test_a_curve_that_is_built_in_is_no_missing_module() -> None:
    # drivers/char/tpm/Kconfig: TCG_TPM2_HMAC selects CRYPTO_ECDH, and a TPM that is built in builds it in
    modules = {"modules": ("nvidia", "ecdsa_generic", "#end")}
    for kconfig, verdict in (
        (("CONFIG_CRYPTO_ECDSA=m", "CONFIG_CRYPTO_ECDH=y", "#end"), "pass"),
        (("CONFIG_CRYPTO_ECDSA=m", "CONFIG_CRYPTO_ECDH=m", "#end"), "fail"),
        (("#unreadable: no configuration of this kernel", "#end"), "unknown"),
    ):
        found = judge(HostReport.of({**modules, "kconfig": kconfig}), catalogue())
        assert said(found, "GPU-LKCA").verdict == verdict, kconfig


TABLE = "| NVIDIA-SMI {0}              Driver Version: {0}    CUDA Version: 12.2     |"


# nvidia-smi's table (NVIDIA/nvtrust issue 39), its lists, and the local verifier (issue 37)
@pytest.mark.parametrize(
    ("lines", "driver", "vbios"),
    [
        ((TABLE.format("535.86.10"),), "unknown", "unknown"),
        ((TABLE.format("525.60.13"),), "fail", "unknown"),
        ((TABLE.format("580.173.02"),), "warn", "unknown"),
        (("    VBIOS Version                         : 96.00.5E.00.00", "    VBIOS Version   : 92.00.45.00.05"), "unknown", "fail"),
        (("name, driver_version, vbios_version", "NVIDIA H100 NVL, 595.71.05, 96.00.9F.00.04"), "unknown", "pass"),
        (("\tDriver version fetched : 535.86.10", "\tVBIOS version fetched : 96.00.5e.00.01"), "unknown", "pass"),
        (("    VBIOS Version                         : N/A",), "unknown", "unknown"),
    ],
)  # fmt: skip
def test_versions_are_read_wherever_nvidias_tools_print_them(lines: tuple[str, ...], driver: str, vbios: str) -> None:
    found = judged("nvidia-smi-conf-compute", *lines)
    assert (said(found, "GPU-DRV").verdict, said(found, "GPU-VBIOS").verdict) == (driver, vbios)


def test_the_verifier_says_that_the_mode_is_off() -> None:
    for line in (
        "The confidential compute feature is disabled !! Exiting now.",
        "The confidential compute feature and PPCIE mode is disabled !! Exiting now. Please enable one of the feature",
    ):
        assert said(judged("nvidia-smi-conf-compute", line), "GPU-SMI").verdict == "fail"
