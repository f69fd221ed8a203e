"""`attest collect`: what a host answers, put down so that `attest verify` takes it; and hosts that answer something else."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from strongroom.attest.base import Refused
from strongroom.cli import attest, attest_collect
from strongroom.cli.attest_collect import Ask, bind
from strongroom.errors import StrongroomError
from strongroom.model.cluster import Host
from strongroom.model.platform import Platform
from strongroom.probe import evidence
from tests.forge_tpm import Tpm, b64, booted, dumps, public_area

BOOT = "0b7f2a3c-1111-4222-8333-444455556666"


class Machine:
    """A host with a TPM that answers the evidence command; ``ek`` is whose EK it tells of, ``more`` what it adds."""

    def __init__(self, tpm: Tpm, ek: bytes | None = None, **more: Any) -> None:
        self.tpm, self.ek, self.more, self.asked = tpm, tpm.ek if ek is None else ek, more, [""]

    def ask(self, command: str) -> bytes:
        self.asked.append(command)
        kind, challenge, *rest = shlex.split(command)[3:]
        said = {"schema": evidence.SCHEMA, "kind": kind, "challenge": challenge, "boot_id": BOOT}
        if kind == "activate":
            return dumps({**said, **self.activate(bytes.fromhex(rest[0]))})
        quoted = self.tpm.evidence(bytes.fromhex(challenge))
        return dumps({**said, **quoted, **({"ek_public": b64(self.ek)} if self.ek else {}), **self.more})

    def activate(self, credential: bytes) -> dict[str, str]:
        """As the script does: the two structures lie one behind the other."""
        cut = 2 + int.from_bytes(credential[:2], "big")
        name = b"\0\x0b" + hashlib.sha256(self.tpm.ak).digest()
        try:
            return {"activated": b64(self.tpm.activate(credential[:cut], credential[cut:], name))}
        except ValueError:
            return {"error": "tpm2_activatecredential failed"}


def answer(machine: Machine) -> bytes:
    return machine.ask(evidence.command("tpm", bytes(32)))


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a machine the host that the verb reaches."""

    def to(ask: Ask, platform: Platform = Platform.VTPM) -> None:
        @contextmanager
        def connected(inventory: Path, name: str) -> Iterator[tuple[Host, Ask]]:
            yield Host(name=name, address="10.0.0.1", platform=platform), ask

        monkeypatch.setattr(attest_collect, "_connected", connected)

    return to


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(attest.app, [str(word) for word in words])
    if isinstance(result.exception, StrongroomError):
        return int(result.exception.exit), str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def policy(file: Path, identity: str, **tpm: object) -> Path:
    passed_over = [f"pcr{number}" for number in (4, 7, 9, 11, 12)]
    file.write_text(json.dumps({"identities": [identity], "not_compared": passed_over, "tpm": tpm}))
    return file


def test_what_is_collected_verifies_for_this_question_and_this_tpm(connect: Any, tmp_path: Path) -> None:
    machine, out = Machine(booted()), tmp_path / "cp1.json"
    connect(machine.ask)
    code, text = run("collect", "inventory.py", "cp1", "--out", out)
    assert code == 0, text
    lines = text.splitlines()
    assert lines[0] == f"{out}: tpm evidence of cp1, boot {BOOT}; nothing was verified"
    ek = lines[1].split()[1].rstrip(",")
    words = shlex.split(lines[2])
    assert words[:3] == ["strongroom", "attest", "verify"]
    words[words.index("POLICY")] = str(policy(tmp_path / "policy.json", ek))
    code, text = run(*words[2:])
    assert (code, text.startswith(f"VERIFIED {out}: tpm, {ek[:32]}")) == (0, True), text
    nonce = words.index("--nonce") + 1
    code, text = run(*words[2:nonce], "00" * 32, *words[nonce + 1 :])
    assert (code, "report_data: what the evidence was asked to cover is" in text) == (5, True)
    # Without the controller's own document nothing says that the two keys are in one TPM.
    code, text = run(*words[2 : words.index("--collateral")])
    assert (code, "identity: identity is" in text) == (5, True)
    assert (tmp_path / "cp1.credential.json").stat().st_mode & 0o077 == 0
    assert len(machine.asked) == 3, "two commands"
    run("collect", "inventory.py", "cp1", "--out", out)
    assert len({command.split()[4] for command in machine.asked[1:]}) == 4, "each challenge is used once"


def test_the_nonce_and_the_policy_on_record(connect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    connect(Machine(booted()).ask)
    told = json.loads(run("collect", "i.py", "cp1", "--out", tmp_path / "cp1.json", "--output", "json")[1])
    file = policy(tmp_path / "policy.json", told["keys"]["ek_sha256"])
    words = ("verify", tmp_path / "cp1.json", "--kind", "tpm", "--policy", file, "--nonce", told["covers"])
    given = ("--collateral", f"credential={told['files']['credential']}")
    assert run(*words, *given, "--record", "rack")[0] == 0
    assert run("audit", "rack")[0] == 0
    for wrong in ("", "0", "xyz"):
        assert run(*words[:-1], wrong, *given) == (
            2,
            f"--nonce: found {wrong!r}, allowed are hex digits, an even number",
        )
    code, text = run(*words[:4], "--authenticity-only", "--nonce", told["covers"])
    assert (code, text) == (2, "--nonce: found with --authenticity-only, which compares nothing")


def test_an_ek_of_another_tpm_is_refused_before_anything_is_written(connect: Any, tmp_path: Path) -> None:
    connect(Machine(booted(), ek=Tpm(name="another").ek).ask)
    code, text = run("collect", "inventory.py", "cp1", "--out", tmp_path / "cp1.json")
    assert (code, text) == (5, "evidence: the host says 'tpm2_activatecredential failed'")
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_makes_the_secret_up() -> None:
    class Liar(Machine):
        def activate(self, credential: bytes) -> dict[str, str]:
            return {"activated": b64(bytes(32))}

    machine = Liar(booted(), ek=Tpm(name="another").ek)
    with pytest.raises(Refused, match="did not give back the secret"):
        bind(answer(machine), machine.ask)


def test_keys_that_are_none() -> None:
    tpm = booted()
    for more, field in (
        ({"ak_public": b64(public_area(tpm.key("ak"), 0x00040072, storage=False))}, "ak.attributes"),
        ({"ek_public": b64(tpm.ak)}, "ek.attributes"),
        ({"ek_public": b64(b"noise")}, "ek_public.type"),
        ({"ak_public": None}, "ak_public"),
    ):
        machine = Machine(tpm, **more)
        with pytest.raises(Refused) as caught:
            bind(answer(machine), machine.ask)
        assert caught.value.field == field
        assert len(machine.asked) == 2, "no credential was sent"


def test_a_host_without_an_ek_stands_for_itself(connect: Any, tmp_path: Path) -> None:
    machine = Machine(booted(), ek=b"")
    connect(machine.ask)
    code, text = run("collect", "inventory.py", "cp1", "--out", tmp_path / "cp1.json")
    assert (code, "the host told of no EK" in text) == (0, True)
    assert [path.name for path in tmp_path.iterdir()] == ["cp1.json"]


def test_the_kind_is_the_inventorys(connect: Any, tmp_path: Path) -> None:
    for platform, kind in ((Platform.SNP, "snp"), (Platform.TDX, "tdx"), (Platform.GPU, "nvidia")):
        machine = Machine(booted())
        connect(machine.ask, platform)
        run("collect", "inventory.py", "cp1", "--out", tmp_path / "out.json")
        assert machine.asked[1].split()[3] == kind
    connect(Machine(booted()).ask, Platform.NONE)
    code, text = run("collect", "inventory.py", "cp1", "--out", tmp_path / "none.json")
    assert (code, text.startswith("cp1: platform: none, of which there is no evidence by itself")) == (2, True)
    assert run("collect", "inventory.py", "cp1", "--out", tmp_path / "none.json", "--kind", "tpm")[0] == 0


def test_a_tdx_guest_brings_its_log(connect: Any, tmp_path: Path) -> None:
    def ask(command: str) -> bytes:
        kind, challenge = shlex.split(command)[3:]
        said = {"schema": evidence.SCHEMA, "kind": kind, "challenge": challenge, "boot_id": BOOT}
        return dumps({**said, "quote": b64(b"a quote"), "ccel": b64(b"a log")})

    connect(ask, Platform.TDX)
    code, text = run("collect", "i.py", "n1", "--out", tmp_path / "n1.json", "--output", "json")
    told = json.loads(text)
    assert (code, told["files"]["event_log"]) == (0, str(tmp_path / "n1.ccel"))
    assert (tmp_path / "n1.ccel").read_bytes() == b"a log"
    assert len(bytes.fromhex(told["covers"])) == 64
    code, text = run("collect", "i.py", "n1", "--out", tmp_path / "n1.ccel")
    assert (code, "allowed is any suffix but .ccel" in text) == (2, True)


@pytest.mark.parametrize("said", [b"", b"{}", b"\xff", b'{"schema":"strongroom.dev/evidence/v1","error":"no"}'])
def test_strangers(connect: Any, tmp_path: Path, said: bytes) -> None:
    connect(lambda command: said)
    code, _ = run("collect", "inventory.py", "cp1", "--out", tmp_path / "cp1.json")
    assert code == 5
    assert list(tmp_path.iterdir()) == []
