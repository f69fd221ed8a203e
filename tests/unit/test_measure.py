"""Reference values: images built here byte by byte, measured as the specifications say, changed, and cut off."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import subprocess
import uuid
from itertools import product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from strongroom.cli.measure import app
from strongroom.errors import ConfigError
from strongroom.measure import cpio, ovmf, pcr, pe, snp, tdx, values, vmsa

SECTIONS = {
    ".text": b"stub",
    ".osrel": b"ID=test\n",
    ".cmdline": b" root=/dev/vda\tquiet\n\0",
    ".initrd": b"initrd!",
    ".linux": b"kernel" * 100,
    ".sbat": b"sbat,1\n",
    ".pcrsig": b"{}",
}


def image(sections: dict[str, bytes] | None = None, certificates: bytes = b"", checksum: int = 0) -> bytes:
    """A PE32+ image of these sections, each padded to 512 bytes in the file."""
    sections = SECTIONS if sections is None else sections
    headers = 1024 + 512 * (len(sections) // 16)
    optional = bytearray(240)
    struct.pack_into("<H", optional, 0, 0x20B)
    struct.pack_into("<II", optional, 60, headers, checksum)
    struct.pack_into("<I", optional, 108, 16)
    offset, body, table = headers, b"", b""
    for name, data in sections.items():
        padded = data + bytes(-len(data) % 512)
        table += name.encode().ljust(8, b"\0") + struct.pack(
            "<IIIIIIHHI", len(data), offset, len(padded), offset, 0, 0, 0, 0, 0
        )
        body += padded
        offset += len(padded)
    if certificates:
        struct.pack_into("<II", optional, 144, offset, len(certificates))
    start = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 64) + b"PE\0\0"
    start += struct.pack("<HHIIIHH", 0x8664, len(sections), 0, 0, 0, len(optional), 0)
    return (start + bytes(optional) + table).ljust(headers, b"\0") + body + certificates


def firmware(size: int = 8192, tdx_sections: bytes = b"") -> bytes:
    """An OVMF image with tables for SEV-SNP, and for TDX where sections are given."""
    count = len(tdx_sections) // 32
    td = b"TDVF" + struct.pack("<III", 16 + len(tdx_sections), 1, count) + tdx_sections
    kinds = ((0x800000, 4096, ovmf.ZERO), (0x801000, 4096, ovmf.SECRETS), (0x802000, 4096, ovmf.CPUID),
             (0x803000, 4096, ovmf.KERNEL_HASHES))  # fmt: skip
    sev = b"ASEV" + struct.pack("<III", 16 + 12 * len(kinds), 1, len(kinds))
    sev += b"".join(struct.pack("<III", *kind) for kind in kinds)
    data = bytearray(size)
    data[-512 : -512 + len(sev)] = sev
    data[-1024 : -1024 + len(td)] = td
    entries = b""
    for guid, value in (
        (ovmf._RESET, 0x80B004),
        (ovmf._HASHES, 0x803C00),
        (ovmf._SEV, 512),
        *([(ovmf._TDX, 1024)] if count else []),
    ):
        entries += struct.pack("<IH", value, 22) + uuid.UUID(guid).bytes_le
    table = entries + struct.pack("<H", len(entries) + 18) + uuid.UUID(ovmf._FOOTER).bytes_le
    data[-32 - len(table) : -32] = table
    return bytes(data)


def test_every_input_of_a_launch_digest_counts() -> None:
    base = {"vcpus": 2, "signature": vmsa.signature("EPYC-Milan"), "boot": snp.DirectBoot(b"k", b"i", "a")}
    digests = {snp.launch_digest(ovmf.parse(firmware()), **base)}  # type: ignore[arg-type]
    for change in (
        {"vcpus": 3},
        {"signature": vmsa.signature("EPYC-Genoa")},
        {"features": 0x21},
        {"vmm": "gce"},
        {"vmm": "ec2"},
        {"boot": None},
        {"boot": snp.DirectBoot(b"K", b"i", "a")},
        {"boot": snp.DirectBoot(b"k", b"I", "a")},
        {"boot": snp.DirectBoot(b"k", b"i", "a ")},
    ):
        digests.add(snp.launch_digest(ovmf.parse(firmware()), **{**base, **change}))  # type: ignore[arg-type]
    other = bytearray(firmware())
    other[0] ^= 1
    digests.add(snp.launch_digest(ovmf.parse(bytes(other)), **base))  # type: ignore[arg-type]
    assert len(digests) == 11


def test_sev_snp_measure_says_the_same(tmp_path: Path) -> None:
    guest = pytest.importorskip("sevsnpmeasure.guest", reason="sev-snp-measure, the oracle, is not installed")
    types = pytest.importorskip("sevsnpmeasure.vmm_types").VMMType
    for name, data in (("fw", firmware()), ("kernel", b"k" * 5000), ("initrd", b"i" * 99)):
        (tmp_path / name).write_bytes(data)
    paths = [str(tmp_path / name) for name in ("fw", "kernel", "initrd")]
    for count, model, features, vmm, direct in product(
        (1, 2, 7), ("EPYC-v4", "EPYC-Turin"), (0x1, 0x21), ("qemu", "ec2", "gce"), (True, False)
    ):
        theirs = guest.snp_calc_launch_digest(
            count,
            vmsa.signature(model),
            paths[0],
            paths[1] if direct else "",
            paths[2] if direct else "",
            "a=b c",
            features,
            "",
            types.QEMU if vmm == "qemu" else types[vmm],
        )
        ours = snp.launch_digest(
            ovmf.parse(firmware()),
            vcpus=count,
            signature=vmsa.signature(model),
            features=features,
            boot=snp.DirectBoot(b"k" * 5000, b"i" * 99, "a=b c") if direct else None,
            vmm=vmm,  # type: ignore[arg-type]
        )
        assert ours == theirs


def test_models() -> None:
    assert vmsa.signature("EPYC-v4") == vmsa.signature("23:1:2") == vmsa.signature("0x800f12")
    assert vmsa.signature("EPYC-Genoa-v1") == 0xA10F10
    for wrong in ("EPYC-Zen9", "EPYC-", "1:2", "300:1:1", "0x", "٣:1:1"):
        with pytest.raises(ConfigError, match="vcpu model"):
            vmsa.signature(wrong)


def test_a_firmware_that_would_not_measure_the_kernel_is_refused() -> None:
    data = firmware().replace(
        struct.pack("<III", 0x803000, 4096, ovmf.KERNEL_HASHES), struct.pack("<III", 0x803000, 4096, 1)
    )
    with pytest.raises(ConfigError, match="would not be measured"):
        snp.launch_digest(ovmf.parse(data), vcpus=1, signature=1, boot=snp.DirectBoot(b"k"))


@given(st.binary(max_size=200), st.integers(0, 8191))
def test_hostile_firmware_is_a_usage_error(noise: bytes, at: int) -> None:
    data = bytearray(firmware(tdx_sections=struct.pack("<IIQQII", 0, 4096, 0xFFFFE000, 4096, 0, 1)))
    data[at : at + len(noise)] = noise
    for attempt in (bytes(data[:8192]), noise):
        try:
            parsed = ovmf.parse(attempt)
            assert len(snp.launch_digest(parsed, vcpus=2, signature=1)) == 48
            assert len(parsed.tdx_sections) < 257
        except ConfigError:
            pass


def test_mrtd_by_hand() -> None:
    """Two sections: one page that is measured, and two that are added alone; both orders of QEMU."""
    sections = struct.pack("<IIQQII", 4096, 4096, 0xFFFFF000, 4096, 0, 1)
    sections += struct.pack("<IIQQII", 0, 0, 0x809000, 8192, 2, 0)
    sections += struct.pack("<IIQQII", 0, 0, 0x900000, 1 << 20, 4, 2)  # added at run time: by nobody's record
    data = firmware(tdx_sections=sections)

    def add(address: int) -> bytes:
        return b"MEM.PAGE.ADD".ljust(16, b"\0") + struct.pack("<Q", address) + bytes(104)

    records = [add(0xFFFFF000)]
    for offset in range(0, 4096, 256):
        records.append(b"MR.EXTEND".ljust(16, b"\0") + struct.pack("<Q", 0xFFFFF000 + offset) + bytes(104))
        records.append(data[4096 + offset : 4096 + offset + 256])
    wanted = hashlib.sha384(b"".join([*records, add(0x809000), add(0x80A000)])).digest()
    parsed = ovmf.parse(data)
    assert tdx.mrtd(parsed) == wanted
    assert tdx.mrtd(parsed, two_pass=True) == wanted  # one page is the same either way
    sections = sections.replace(struct.pack("<QQ", 0x809000, 8192) + struct.pack("<II", 2, 0),
                                struct.pack("<QQ", 0x809000, 8192) + struct.pack("<II", 2, 1))  # fmt: skip
    both = ovmf.parse(firmware(tdx_sections=sections))
    assert tdx.mrtd(both) != tdx.mrtd(both, two_pass=True)
    with pytest.raises(ConfigError, match="TDX metadata"):
        tdx.mrtd(ovmf.parse(firmware()))


def test_authenticode_leaves_out_checksum_and_certificates_alone() -> None:
    plain = image()
    digest = pe.authenticode(plain, "sha256")
    assert digest == pe.authenticode(image(checksum=77), "sha256")
    assert digest == pe.authenticode(image(certificates=b"c" * 64), "sha256")
    draw = bytearray(plain)
    for at in (0, 30, 70, len(plain) - 1, 1024):
        draw[at] ^= 1
        with contextlib.suppress(ConfigError):
            assert pe.authenticode(bytes(draw), "sha256") != digest
        draw[at] ^= 1
    assert pe.authenticode(plain + b"!", "sha256") != digest
    layout = pe._layout(plain)
    by_hand = hashlib.sha256(plain[: layout.optional + 64] + plain[layout.optional + 68 : layout.optional + 144])
    by_hand.update(plain[layout.optional + 152 :])
    assert by_hand.digest() == digest


@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8), st.integers(0, 5000))
def test_hostile_images_are_usage_errors(at: int, noise: bytes, length: int) -> None:
    data = bytearray(image())
    data[at : at + len(noise)] = noise
    for attempt in (bytes(data), bytes(data[:length])):
        with contextlib.suppress(ConfigError):
            pe.authenticode(attempt, "sha256")
        with contextlib.suppress(ConfigError):
            pcr.predict(attempt)


def test_pcrs_by_hand() -> None:
    found = pcr.predict(image(), attempts=1, phases=("enter-initrd",))

    def extend(*parts: bytes) -> bytes:
        value = bytes(32)
        for part in parts:
            value = hashlib.sha256(value + hashlib.sha256(part).digest()).digest()
        return value

    measured: list[bytes] = []
    for name in (".linux", ".osrel", ".cmdline", ".initrd", ".sbat"):
        measured += [name.encode() + b"\0", SECTIONS[name]]
    assert found["pcr11"] == {"stub": extend(*measured), "enter-initrd": extend(*measured, b"enter-initrd")}
    extra = [cpio.archive(".extra", name, SECTIONS[section]) for section, name in
             ((".pcrsig", "tpm2-pcr-signature.json"), (".osrel", "os-release"))]  # fmt: skip
    initrds = SECTIONS[".initrd"] + b"\0" + b"".join(extra)
    assert found["pcr9"]["stub"] == extend("root=/dev/vda quiet\0".encode("utf-16-le"), initrds)
    calling = b"Calling EFI Application from Boot Option"
    start = extend(calling, bytes(4))
    assert found["pcr4"]["0 failed attempts"] == hashlib.sha256(start + pe.authenticode(image(), "sha256")).digest()
    assert len(set(found["pcr4"].values())) == 2
    assert found["pcr12"] == {"nothing added": bytes(32)}


def test_a_stub_that_asks_the_firmware_for_the_kernel_has_it_measured_once_more() -> None:
    kernel = image({".text": b"a kernel"})
    unified = image({**SECTIONS, ".linux": kernel})
    found = pcr.pcr4([b"MZ" + image()[2:], unified], attempts=1)
    assert list(found) == [
        "0 failed attempts", "1 failed attempts",
        "0 failed attempts, the kernel by itself too", "1 failed attempts, the kernel by itself too",
    ]  # fmt: skip
    alone = found["0 failed attempts"]
    section = next(one.data for one in pe.parse(unified) if one.name == ".linux")
    after = hashlib.sha256(alone + pe.authenticode(section, "sha256")).digest()
    assert found["0 failed attempts, the kernel by itself too"] == after
    td = tdx.unified(unified, gpt=None, loader=None, attempts=0, phases=())
    assert len(set(td["rtmr1"].values())) == 4, "with and without a separator, with and without the kernel"
    other = image({**SECTIONS, ".linux": kernel + b"\0"})
    assert not set(found.values()) & set(pcr.pcr4([image(), other], attempts=1).values())


def test_one_character_more_on_the_command_line_is_another_machine() -> None:
    other = {**SECTIONS, ".cmdline": b" root=/dev/vda\tquiet!\n\0"}
    one, two = pcr.predict(image()), pcr.predict(image(other))
    assert {name for name in one if one[name] != two[name]} == {"pcr4", "pcr9", "pcr11"}


def test_images_that_are_not_computed_are_refused() -> None:
    doubled = image(SECTIONS).replace(b".sbat\0\0\0", b".osrel\0\0")
    for wrong, why in (
        (image({".text": b""}), "no .linux"),
        (doubled, "more than once"),
        (b"", "MZ"),
        (b"MZ", "reach"),
    ):
        with pytest.raises(ConfigError, match=why):
            pcr.predict(wrong)
    with pytest.raises(ConfigError, match="authority"):
        pcr.pcr7(pcr.SecureBoot(enabled=True))
    with pytest.raises(ConfigError, match="attempts"):
        pcr.pcr4([image()], 99)


def test_an_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    data = cpio.archive(".extra", "os-release", b"ID=test\n")
    assert len(data) % 4 == 0
    position, found = 0, []
    while position < len(data):
        assert data[position : position + 6] == b"070701"
        words = [int(data[position + 6 + 8 * n : position + 14 + 8 * n], 16) for n in range(13)]
        name = data[position + 110 : position + 110 + words[11] - 1].decode()
        start = position + 110 + words[11]
        start += -start % 4
        found.append((name, oct(words[1]), data[start : start + words[6]]))
        position = start + words[6]
        position += -position % 4
    assert found == [
        (".extra", "0o40555", b""),
        (".extra/os-release", "0o100444", b"ID=test\n"),
        ("TRAILER!!!", "0o0", b""),
    ]


def test_registers_of_a_td() -> None:
    kernel = image({".text": b"kernel"})
    direct = tdx.direct(kernel, b"initrd", "quiet")
    assert set(direct) == {"rtmr1", "rtmr2"}
    assert direct["rtmr2"] != tdx.direct(kernel, b"initrd", "quiet ")["rtmr2"]
    assert direct["rtmr1"] == tdx.direct(kernel, None, "")["rtmr1"]
    unified = tdx.unified(image(), gpt=None, loader=None, attempts=1, phases=("enter-initrd",))
    assert len(set(unified["rtmr1"].values())) == 4
    with pytest.raises(ConfigError, match="partition table"):
        tdx.unified(image(), gpt=bytes(4096), loader=None, attempts=0, phases=())


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())])
def test_values_are_signed(key: values.PrivateKey) -> None:
    data = values.document("snp", {"measurement": {"a": b"\1"}}, (), {})
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signature = values.sign(data, values.private_key(pem, "key"))
    values.check(data, signature, public, "values")
    for wrong in ((data + b" ", signature), (data, signature[:-1]), (data, b"")):
        with pytest.raises(ConfigError):
            values.check(*wrong, public, "values")


def test_other_keys_do_not_sign() -> None:
    weak = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for pem in (weak, b"", b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(ConfigError, match="key"):
            values.private_key(pem, "key")


def run(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


def test_the_verbs(tmp_path: Path) -> None:
    section = struct.pack("<IIQQII", 4096, 4096, 0xFFFFF000, 4096, 0, 1)
    for name, data in (("fw", firmware(tdx_sections=section)), ("uki", image()), ("kernel", image({".text": b"k"}))):
        (tmp_path / name).write_bytes(data)
    fw, uki, kernel = tmp_path / "fw", tmp_path / "uki", tmp_path / "kernel"
    found = run("snp", "--firmware", fw, "--vcpus", 1, "--vcpus", 2, "--vcpu-model", "EPYC-Milan", "--kernel", kernel)
    assert found["schema"] == values.SCHEMA
    assert isinstance(found["measurements"], dict)
    assert len(found["measurements"]["measurement"]) == 2
    assert found["inputs"] == [
        {
            "name": name,
            "path": str(path),
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for name, path in (("firmware", fw), ("kernel", kernel))
    ]
    found = run("pcr", "--uki", uki, "--phase", "enter-initrd")
    assert isinstance(found["measurements"], dict)
    assert set(found["measurements"]) == {"pcr4", "pcr7", "pcr9", "pcr11", "pcr12"}
    found = run("tdx", "--firmware", fw, "--kernel", kernel, "--cmdline", "quiet")
    assert isinstance(found["measurements"], dict)
    assert set(found["measurements"]) == {"mrtd", "rtmr1", "rtmr2"}
    assert set(run("tdx", "--firmware", fw, "--uki", uki)["measurements"]) == {"mrtd", "rtmr1", "rtmr2"}  # type: ignore[call-overload]


def test_usage_errors_of_the_verbs(tmp_path: Path) -> None:
    (tmp_path / "fw").write_bytes(firmware())
    key = tmp_path / "key"
    key.write_text("no key")
    snp_verb = ["snp", "--firmware", str(tmp_path / "fw"), "--vcpus", "1", "--vcpu-model", "EPYC"]
    for arguments in (
        ["snp", "--firmware", str(tmp_path / "none"), "--vcpus", "1", "--vcpu-model", "EPYC"],
        ["snp", "--firmware", str(tmp_path), "--vcpus", "1", "--vcpu-model", "EPYC"],
        [*snp_verb, "--cmdline", "quiet"],
        [*snp_verb, "--guest-features", "x"],
        [*snp_verb, "--sign-key", str(key)],
        [*snp_verb, "--sign-key", str(key), "--out", str(tmp_path / "out")],
        ["pcr", "--uki", str(tmp_path / "fw")],
        ["tdx", "--firmware", str(tmp_path / "fw"), "--gpt", str(key)],
    ):
        with pytest.raises(ConfigError):
            CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert not (tmp_path / "out").exists()


def test_openssl_checks_our_signature(tmp_path: Path) -> None:
    (tmp_path / "fw").write_bytes(firmware())
    key, out = tmp_path / "key", tmp_path / "values.json"
    private = ed25519.Ed25519PrivateKey.generate()
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "public").write_bytes(public)
    arguments = [
        "snp",
        "--firmware",
        tmp_path / "fw",
        "--vcpus",
        1,
        "--vcpu-model",
        "EPYC",
        "--out",
        out,
        "--sign-key",
        key,
    ]
    CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    signature = tmp_path / "values.json.sig"
    values.check(out.read_bytes(), signature.read_bytes(), public, "values")
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(tmp_path / "public"), "-in", str(out)]
    try:
        subprocess.run([*command, "-sigfile", f"{out}.sig"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")


def test_no_former_signature_stays_beside_other_values(tmp_path: Path) -> None:
    out, signature = tmp_path / "values.json", tmp_path / "values.json.sig"
    signature.write_bytes(b"of other values")
    (tmp_path / "fw").write_bytes(firmware())
    words = ["snp", "--firmware", tmp_path / "fw", "--vcpus", 1, "--vcpu-model", "EPYC", "--out", out]
    CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert out.stat().st_size
    assert not signature.exists()
