"""The evidence command in several shells, with tools and folders of our own; what it prints verifies."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.attest import registry
from strongroom.attest.collateral import NOTHING
from strongroom.attest.policy import make
from strongroom.errors import AttestationRefused
from strongroom.probe import evidence
from tests import forge_tdx, forge_tpm
from tests.unit import amd_pki
from tests.unit.amd_pki import Machine

CHALLENGE = bytes(range(200, 232))
BOOT = "0b7f2a3c-1111-4222-8333-444455556666"
# Not busybox: its own mkdir and cat come before the tools that are put in its path here.
SHELLS = [words for words in (["dash"], ["bash"], ["bash", "--posix"]) if shutil.which(words[0])]
SCRIPT = evidence.evidence_script()
PCRS = (*range(16), 22, 23)


class Host:
    """A root folder, and tools before the machine's own."""

    def __init__(self, folder: Path) -> None:
        self.root, self.tools, self.log = folder / "root", folder / "tools", folder / "log"
        for path in (self.root / "tmp", self.tools, self.root / "proc/sys/kernel/random"):
            path.mkdir(parents=True)
        (self.root / "proc/sys/kernel/random/boot_id").write_text(f"{BOOT}\n")

    def tool(self, name: str, body: str) -> None:
        file = self.tools / name
        file.write_text(f"#!/bin/sh\n{body}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def tsm(self, provider: str, report: bytes, aux: bytes = b"", generation: str = "01") -> None:
        """Folders of configfs make their own files: here `mkdir` does, and `cat` counts what is written."""
        (self.root / "sys/kernel/config/tsm/report").mkdir(parents=True)
        (self.root / "report").write_bytes(report)
        (self.root / "aux").write_bytes(aux)
        first, then = generation[0], generation[1]
        self.tool(
            "mkdir",
            f'/bin/mkdir "$1" && echo {provider} >"$1/provider" && echo {first} >"$1/generation"'
            f' && cp {self.root}/report "$1/outblob" && cp {self.root}/aux "$1/auxblob"',
        )
        entry = f"{self.root}/sys/kernel/config/tsm/report/*"
        self.tool("cat", f'/bin/cat "$@"; echo {then} >$(echo {entry})/generation')
        self.tool("rmdir", f'cp "$1/inblob" {self.log} 2>/dev/null; rm -rf "$1"')

    def run(
        self, shell: list[str], *words: str, script: str = SCRIPT, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        assert script.count(path) == script.count("\nroot=\n") == 1
        mine = script.replace("\nroot=\n", f"\nroot={self.root}\n").replace("PATH=/usr", f"PATH={self.tools}:/usr")
        done = subprocess.run(
            [*shell, "-s", "--", *words], input=mine.encode(), capture_output=True, timeout=60, check=False,
            env={"PATH": os.environ["PATH"], **environment},
        )  # fmt: skip
        assert done.stderr == b""
        assert done.stdout.count(b"\n") == 1
        assert list((self.root / "tmp").iterdir()) == []
        reports = self.root / "sys/kernel/config/tsm/report"
        assert not reports.exists() or list(reports.iterdir()) == []
        return done

    def error(self, *words: str, shell: list[str] | None = None) -> str:
        done = self.run(shell or SHELLS[0], *words)
        assert done.returncode == 1
        values = json.loads(done.stdout)
        assert set(values) == {"schema", "error"}
        return str(values["error"])


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param
    return words


def test_snp(host: Host, shell: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    amd_pki.install(monkeypatch)
    machine = Machine()
    host.tsm("sev_guest", machine.report(report_data=CHALLENGE + bytes(32)), amd_pki.certificate_table(machine.leaf()))
    done = host.run(shell, "snp", CHALLENGE.hex())
    assert done.returncode == 0
    assert host.log.read_bytes() == CHALLENGE + bytes(32)
    answer = evidence.read(done.stdout, "snp", CHALLENGE)
    assert answer.boot_id == BOOT
    policy = make(
        {
            "identities": [machine.chip.hex()],
            "measurements": {"measurement": ["02" * 48]},
            "report_data": evidence.report_data("snp", CHALLENGE).hex(),
            "not_compared": ["minimum_tcb"],
        }
    )
    raw, collateral = registry.unwrap("snp", answer.evidence, NOTHING)
    facts = registry.verify("snp", raw, collateral, policy, amd_pki.NOW).facts
    report = facts.fields["report"]
    assert isinstance(report, dict)
    assert json.loads(done.stdout)["report_id"] == report["report_id"].hex()


def test_tdx(host: Host, shell: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    forge = forge_tdx.Forge(report_data=CHALLENGE + bytes(32))
    host.tsm("tdx_guest", forge.quote())
    tables = host.root / "sys/firmware/acpi/tables/data"
    tables.mkdir(parents=True)
    (tables / "CCEL").write_bytes(b"a log")
    done = host.run(shell, "tdx", CHALLENGE.hex())
    answer = evidence.read(done.stdout, "tdx", CHALLENGE)
    assert answer.event_log == b"a log"
    with forge_tdx.pinned():
        raw, collateral = registry.unwrap("tdx", answer.evidence, forge.collateral())
        facts = registry.authenticate("tdx", raw, collateral, None, forge_tdx.NOW).facts
    assert facts.report_data == evidence.report_data("tdx", CHALLENGE)


def tpm(host: Host, device: forge_tpm.Tpm) -> None:
    """tpm2-tools that answer what this TPM would, and tell how they were called."""
    import hashlib

    (host.root / "dev").mkdir()
    (host.root / "dev/tpmrm0").touch()
    digest = hashlib.sha256(b"".join(device.pcrs[pcr] for pcr in PCRS)).digest()
    message = forge_tpm.attest(digest, CHALLENGE, (("sha256", PCRS),), reset=9, restart=300)
    files = {
        "message": message,
        "signature": forge_tpm.signed(device.key("ak"), message, device.scheme),
        "pcrs": b"".join(device.pcrs[pcr] for pcr in PCRS),
        "ak.pub": device.ak,
    }
    for name, content in files.items():
        (host.root / name).write_bytes(content)
    tell = f'echo "$0 $*" | sed "s,.*/,," >>{host.log}; [ "$TPM2TOOLS_TCTI" = device:{host.root}/dev/tpmrm0 ] || exit 3'
    host.tool("tpm2_createprimary", f"{tell}; echo key >ak.ctx; echo noise; echo noise >&2")
    host.tool("tpm2_readpublic", f"{tell}; cp {host.root}/ak.pub .")
    host.tool("tpm2_quote", f"{tell}; cp {host.root}/message {host.root}/signature {host.root}/pcrs .")


def test_tpm(host: Host, shell: list[str]) -> None:
    device = forge_tpm.Tpm("ecc", 0x18)
    tpm(host, device)
    done = host.run(shell, "tpm", CHALLENGE.hex())
    answer = evidence.read(done.stdout, "tpm", CHALLENGE)
    facts = registry.authenticate("tpm", answer.evidence, NOTHING, None, forge_tdx.NOW).facts
    assert facts.report_data == evidence.report_data("tpm", CHALLENGE) == CHALLENGE
    values = json.loads(done.stdout)
    assert (values["reset_count"], values["restart_count"]) == (9, 300)
    calls = host.log.read_text().splitlines()
    assert [call.split()[0] for call in calls] == ["tpm2_createprimary", "tpm2_readpublic", "tpm2_quote"]
    assert f"-q {CHALLENGE.hex()} -g sha256" in calls[2]
    log, certificate = b"log" * 1000, b"EK certificate"
    (host.root / "sys/kernel/security/tpm0").mkdir(parents=True)
    (host.root / "sys/kernel/security/tpm0/binary_bios_measurements").write_bytes(log)
    host.tool("tpm2_nvread", f"printf '{certificate.decode()}' >ek.der")
    (host.root / "ek.pub").write_bytes(device.ek)
    host.tool("tpm2_createek", f"cp {host.root}/ek.pub .")
    values = json.loads(host.run(shell, "tpm", CHALLENGE.hex()).stdout)
    found = [base64.b64decode(values[name]) for name in ("event_log", "ek_certificate", "ek_public")]
    assert found == [log, certificate, device.ek]
    host.tool("tpm2_createek", f"cp {host.root}/ek.pub .; exit 1")
    assert "ek_public" not in json.loads(host.run(shell, "tpm", CHALLENGE.hex()).stdout), "a TPM without that template"


CREDENTIAL = b"\0\x44the blob" + bytes(range(256))


def activating(host: Host) -> None:
    """tpm2-tools that open a credential."""
    (host.root / "dev").mkdir()
    (host.root / "dev/tpmrm0").touch()
    (host.root / "secret").write_bytes(b"what was in it")
    tell = f'echo "$0 $*" | sed "s,.*/,," >>{host.log}'
    host.tool("tpm2_createprimary", f"{tell}; echo key >ak.ctx")
    host.tool("tpm2_createek", f"{tell}; echo key | tee ek.ctx >ek.pub")
    host.tool("tpm2_activatecredential", f"{tell}; cp credential {host.root}/given; cp {host.root}/secret .")
    for name in ("tpm2_startauthsession", "tpm2_policysecret", "tpm2_flushcontext"):
        host.tool(name, tell)


def test_a_credential_is_opened(host: Host, shell: list[str]) -> None:
    activating(host)
    done = host.run(shell, "activate", CHALLENGE.hex(), CREDENTIAL.hex())
    assert done.returncode == 0
    assert evidence.read_activated(done.stdout, CHALLENGE) == b"what was in it"
    # The file as tpm2_makecredential writes it: magic and version, then the two structures.
    assert (host.root / "given").read_bytes() == bytes.fromhex("badcc0de00000001") + CREDENTIAL
    calls = host.log.read_text().splitlines()
    assert [call.split()[0] for call in calls] == [
        "tpm2_createprimary", "tpm2_createek", "tpm2_startauthsession", "tpm2_policysecret", "tpm2_activatecredential",
        "tpm2_flushcontext",
    ]  # fmt: skip
    assert host.run(shell, SSH_ORIGINAL_COMMAND=f"activate {HEX} {CREDENTIAL.hex()}").stdout == done.stdout
    with pytest.raises(AttestationRefused, match=r"evidence\.challenge"):
        evidence.read_activated(done.stdout, bytes(32))
    with pytest.raises(AttestationRefused, match=r"evidence\.kind"):
        evidence.read(done.stdout, "tpm", CHALLENGE)


def test_a_credential_that_is_none(host: Host, shell: list[str]) -> None:
    activating(host)
    for wrong in ("", "0", "0x12", "zz", "AB", "12 34", "00" * 1025, "$(id)", "*", ";id"):
        assert host.error("activate", HEX, wrong, shell=shell).startswith("the credential is not")
    for words in (("activate", HEX), ("activate", HEX, "00", "00"), ("tpm", HEX, "00")):
        assert host.error(*words, shell=shell).startswith(("the credential is not", "needed are"))
    assert not host.log.exists(), "nothing was run"
    assert host.run(shell, "activate", HEX, bytes(range(256)).hex() * 4).returncode == 0
    assert (host.root / "given").read_bytes()[8:] == bytes(range(256)) * 4
    for name in ("tpm2_activatecredential", "tpm2_policysecret", "tpm2_startauthsession", "tpm2_createek"):
        host.tool(name, "exit 1")
        assert host.error("activate", HEX, "00", shell=shell) == f"{name} failed"


def test_nvidia(host: Host, shell: list[str]) -> None:
    assert "nvattest" in host.error("nvidia", CHALLENGE.hex(), shell=shell)
    for refuses in ("", 'case "$*" in *format*) echo usage; exit 1;; esac;'):
        host.tool("nvattest", f'{refuses} printf \'{{"evidences":[],"nonce":"%s"}}\' "$5"')
        answer = evidence.read(host.run(shell, "nvidia", CHALLENGE.hex()).stdout, "nvidia", CHALLENGE)
        assert json.loads(answer.evidence) == {"evidences": [], "nonce": CHALLENGE.hex()}
    host.tool("nvattest", "exit 1")
    assert host.error("nvidia", CHALLENGE.hex()) == "nvattest failed"


def test_as_a_forced_command(host: Host, shell: list[str]) -> None:
    host.tsm("sev_guest", Machine().report())
    for words, good in (
        (f"snp {CHALLENGE.hex()}", True),
        (f"snp {CHALLENGE.hex()} more", False),
        (f"snp;id {CHALLENGE.hex()}", False),
        (f"snp $(id>{host.log})", False),
        ("* *", False),
        ("", False),
    ):
        done = host.run(shell, SSH_ORIGINAL_COMMAND=words)
        assert (done.returncode == 0) is good
    assert host.run(shell, "snp", SSH_ORIGINAL_COMMAND=f"snp {CHALLENGE.hex()}").returncode == 1
    assert host.run(shell, "snp", CHALLENGE.hex(), IFS="a", ENV="/dev/null").returncode == 0


HEX = CHALLENGE.hex()


@pytest.mark.parametrize(
    "words",
    [
        (), ("snp",), ("snp", ""), ("", HEX), ("snp", HEX, ""), ("SNP", HEX), ("snp", HEX.upper()), ("snp", HEX[:-1]),
        ("snp", HEX + "0"), ("snp", HEX + "\n"), ("snp\n", HEX), ("snp", HEX[:-1] + "g"), ("snp", "0x" + HEX[2:]),
        ("snp", HEX[:-1] + "*"), ("snp", "`id`" + HEX[4:]), ("snp", "$(id)" + HEX[5:]), ("clean", HEX), ("die", HEX),
        ("snp tdx", HEX), ("s?p", HEX), ("-x", HEX), ("snp", "é" * 32), ("snp", "0" * 100000), ('";id;"', HEX),
    ],
)  # fmt: skip
def test_hostile_input(host: Host, shell: list[str], words: tuple[str, ...]) -> None:
    host.tsm("sev_guest", Machine().report())
    told = host.error(*words, shell=shell)
    assert told.startswith(("needed are", "the kind is", "the challenge is"))
    assert not host.log.exists()


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=70))
def test_random_input(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    host = Host(tmp_path_factory.mktemp("host"))
    assert host.error("snp", text)
    assert host.error(text, HEX)


def test_a_host_without(host: Host, shell: list[str]) -> None:
    assert "/sys/kernel/config/tsm/report" in host.error("snp", HEX, shell=shell)
    assert host.error("tpm", HEX, shell=shell) == "tpm2_createprimary is missing"
    host.tsm("tdx_guest", b"quote")
    assert host.error("snp", HEX, shell=shell) == "the provider is tdx_guest, needed is sev_guest"
    host.tool("mkdir", "exit 1")
    assert host.error("tdx", HEX, shell=shell).startswith("no entry can be made")


@pytest.mark.parametrize("generation", ["02", "00", "x1", "12"])
def test_who_else_writes(host: Host, shell: list[str], generation: str) -> None:
    host.tsm("sev_guest", Machine().report(), generation=generation)
    if generation == "12":
        assert host.run(shell, "snp", HEX).returncode == 0
    else:
        assert host.error("snp", HEX, shell=shell) in (
            "somebody else wrote to the entry",
            "the driver has no generation",
        )


def test_sizes(host: Host, shell: list[str]) -> None:
    host.tsm("tdx_guest", bytes(400_000))
    assert host.error("tdx", HEX, shell=shell) == "quote has more than 393216 bytes"
    (host.root / "report").write_bytes(bytes(393_216))
    assert len(host.run(shell, "tdx", HEX).stdout) < evidence.LARGEST
    (host.root / "report").write_bytes(b"")
    assert host.error("tdx", HEX, shell=shell) == "the driver gives no report"


def test_tpm_tools_that_fail(host: Host, shell: list[str]) -> None:
    tpm(host, forge_tpm.Tpm("ecc", 0x18))
    (host.root / "pcrs").write_bytes(bytes(17 * 32))
    assert host.error("tpm", HEX, shell=shell) == "tpm2_quote gives other PCRs than asked for"
    (host.root / "signature").write_bytes(b"")
    assert host.error("tpm", HEX, shell=shell) == "signature is empty"
    host.tool("tpm2_quote", "exit 1")
    assert host.error("tpm", HEX, shell=shell) == "tpm2_quote failed"
    (host.root / "dev/tpmrm0").unlink()
    assert host.error("tpm", HEX, shell=shell) == "there is no /dev/tpmrm0"


def test_the_command_line() -> None:
    assert evidence.command("snp", CHALLENGE) == f"sh -s -- snp {HEX}"
    assert evidence.activation(CHALLENGE, b"\x0f\0") == f"sh -s -- activate {HEX} 0f00"
    for wrong in ((CHALLENGE[:-1], b"0"), (CHALLENGE, b""), (CHALLENGE, bytes(1025))):
        with pytest.raises(ValueError, match="allowed are"):
            evidence.activation(*wrong)
    for kind, challenge in (("snp;", CHALLENGE), ("snp", CHALLENGE[:-1]), ("", b"")):
        with pytest.raises(ValueError, match="allowed are"):
            evidence.command(kind, challenge)


def test_answers_of_strangers() -> None:
    good = {"schema": evidence.SCHEMA, "kind": "nvidia", "challenge": HEX, "boot_id": BOOT, "gpu_evidence": "QQ=="}
    assert evidence.read(json.dumps(good).encode(), "nvidia", CHALLENGE).evidence == b"A"
    changes: list[dict[str, object]] = [
        {"schema": "x"}, {"kind": "snp"}, {"challenge": HEX[:-1] + "0"}, {"boot_id": None}, {"boot_id": BOOT + "\n"},
        {"gpu_evidence": "Q"}, {"gpu_evidence": 1}, {"ccel": []}, {"error": "\x1b[2J"},
    ]  # fmt: skip
    texts = [json.dumps({**good, **change}).encode() for change in changes]
    for text in [*texts, b"", b"[]", b"\xff", b"[" * 100_000, b" " * (evidence.LARGEST + 1), b"1" * 5000]:
        with pytest.raises(AttestationRefused) as caught:
            evidence.read(text, "nvidia", CHALLENGE)
        assert str(caught.value).isprintable()
