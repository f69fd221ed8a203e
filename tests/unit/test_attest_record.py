"""The record of verdicts: what is on it holds, and what was done to it shows."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from strongroom.attest import record, snp
from strongroom.cli import attest, attest_record
from strongroom.errors import StrongroomError
from tests.unit import amd_pki
from tests.unit.amd_pki import NOW, Machine

POLICY = """\
not_compared = ["report_data", "minimum_tcb"]
identities = ["{chip}"]
[measurements]
measurement = ["{measurement}"]
"""


@pytest.fixture(autouse=True)
def setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    amd_pki.install(monkeypatch)
    machine = Machine()
    Path("good.bin").write_bytes(machine.report())
    Path("bad.bin").write_bytes(machine.report(measurement=b"\3" * 48))
    Path("vcek.der").write_bytes(machine.leaf())
    Path("policy.toml").write_text(POLICY.format(chip=machine.chip.hex(), measurement="02" * 48))


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(attest.app, [str(one) for one in words])
    if isinstance(result.exception, StrongroomError):
        return int(result.exception.exit), str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def verify(*files: str, policy: bool = True, name: str = "rack7") -> tuple[int, str]:
    how = ("--policy", "policy.toml") if policy else ("--authenticity-only",)
    return run(
        "verify", *files, "--kind", "snp", "--certs", "vcek.der", "--at", NOW.isoformat(), "--record", name, *how
    )


def file(name: str = "rack7") -> Path:
    return attest_record.file_of(name)


def test_names_of_files_that_are_no_text_spoil_no_record() -> None:
    """What is written must be read again: a name's bytes that are no UTF-8 would be half a character in JSON."""
    odd = os.fsdecode(b"good-\xff.bin")
    Path(odd).write_bytes(Path("good.bin").read_bytes())
    Path(os.fsdecode(b"note-\xfe.json")).write_text("{}")
    for _ in range(2):
        code, _ = run(
            "verify", odd, "--kind", "snp", "--certs", "vcek.der", "--collateral", os.fsdecode(b"note-\xfe.json"),
            "--at", NOW.isoformat(), "--record", "rack7", "--policy", "policy.toml",
        )  # fmt: skip
        assert code == 0
    assert run("audit", "rack7")[0] == 0
    given, verdict = (json.loads(line) for line in file().read_bytes().splitlines()[:2])
    assert (list(given["collateral"]["documents"]), verdict["file"]) == (["note_\\udcfe"], "good-\\udcff.bin")


def test_what_is_recorded_holds() -> None:
    assert verify("good.bin")[0] == 0
    code, text = verify("good.bin", "bad.bin")
    assert code == 5
    assert verify("good.bin", policy=False)[0] == 0
    written = [json.loads(line) for line in file().read_bytes().splitlines()]
    assert [one["type"] for one in written] == ["given", "verdict", "given", "verdict", "verdict", "given", "verdict"]
    verdicts = [one["verdict"] for one in written if one["type"] == "verdict"]
    assert verdicts == ["verified", "verified", "refused", "authentic"]
    assert written[0]["policy"]["text"] == Path("policy.toml").read_text()
    assert base64.b64decode(written[1]["evidence"]) == Path("good.bin").read_bytes()
    lines = file().read_bytes().splitlines()
    for before, after in pairwise(lines):
        assert json.loads(after)["previous"] == hashlib.sha256(before).hexdigest()
    assert file().stat().st_mode & 0o777 == 0o600
    code, text = run("audit", "rack7")
    assert (code, text) == (0, f"4 verdicts, all hold; head {hashlib.sha256(lines[-1]).hexdigest()}\n")
    assert run("audit", file())[0] == 0
    noted = hashlib.sha256(lines[4]).hexdigest()
    assert run("audit", "rack7", "--head", noted)[0] == 0
    report = json.loads(run("audit", "rack7", "--output", "json")[1])
    assert (report["holds"], report["verdicts"], report["lines"]) == (True, 4, [])


def test_the_head_is_told_and_each_cluster_has_its_own() -> None:
    told = verify("good.bin")[1].splitlines()[-1]
    assert told == f"on record: {hashlib.sha256(file().read_bytes().splitlines()[-1]).hexdigest()}"
    verify("good.bin", name="other")
    assert len(file("other").read_bytes().splitlines()) == 2
    assert [run("audit", name)[0] for name in ("rack7", "other")] == [0, 0]


def changed(number: int, change: Callable[[dict[str, Any]], object]) -> Callable[[list[bytes]], list[bytes]]:
    def edit(lines: list[bytes]) -> list[bytes]:
        values = json.loads(lines[number])
        change(values)
        return [
            *lines[:number],
            json.dumps(values, sort_keys=True, separators=(",", ":")).encode(),
            *lines[number + 1 :],
        ]

    return edit


def anew(edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[list[bytes]], list[bytes]]:
    """The edit of somebody who makes the whole chain anew."""

    def rewrite(lines: list[bytes]) -> list[bytes]:
        out: list[bytes] = []
        previous = reference = record.FIRST
        for line in edit(lines):
            values = {**json.loads(line), "previous": previous}
            if values["type"] == "verdict":
                values["given"] = reference
            out.append(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
            previous = record.digest(out[-1])
            reference = previous if values["type"] == "given" else reference
        return out

    return rewrite


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda lines: lines[:-1], "its last line has the digest"),
        (lambda lines: lines[1:], "recorded is 0000"[:11]),
        (lambda lines: [*lines[:2], *lines[3:]], "lines were removed"),
        (lambda lines: [*lines[:1], lines[2], lines[1], *lines[3:]], "lines were removed"),
        (lambda lines: [*lines, lines[-1]], "its number is 5, it is line 6"),
        (lambda lines: [*lines[:3], b"{", *lines[4:]], "not JSON"),
        (lambda lines: [*lines[:3], b"", *lines[3:]], "not JSON"),
        (lambda lines: [], "there is no line in it"),
        (changed(2, lambda line: line.update(file="other.bin")), "was changed"),
        (changed(4, lambda line: line.update(file="other.bin")), "its last line has the digest"),
        (changed(4, lambda line: line.update(verdict="verified")), "was verified, and is refused now"),
        (changed(1, lambda line: line.update(verdict="refused")), "was refused"),
        (changed(1, lambda line: line.update(verdict="authentic")), "was authentic"),
        (changed(1, lambda line: line.update(verdict="maybe")), "verdict: maybe, allowed"),
        (changed(1, lambda line: line["facts"].update(identity="00")), "is not what was recorded"),
        (changed(1, lambda line: line.update(given="0" * 64)), "is not the one that stands above"),
        (anew(changed(0, lambda line: line.update(at="2036-01-01T00:00:00Z"))), "is refused now"),
        (changed(0, lambda line: line.update(at="2036-01-01")), "a time without its zone"),
        (changed(0, lambda line: line["policy"].update(text="")), "its text has not the digest"),
        (changed(0, lambda line: line["policy"].update(text="nonsense = 1")), "policy: "),
        (anew(changed(0, lambda line: line.update(policy=None))), "was verified"),
        (anew(changed(0, lambda line: line.update(collateral=None))), "collateral could not be read"),
        (anew(changed(0, lambda line: line["collateral"].update(certificates=[]))), "no VCEK is given"),
        (anew(lambda lines: lines[:-1]), "its last line has the digest"),
        (changed(0, lambda line: line.update(at="2026-06-02T00:00:00Z")), "is not the one that stands above"),
        (changed(0, lambda line: line.update(kind="none")), "given.kind: none"),
        (changed(0, lambda line: line.update(more=1)), "line: more: missing, or unknown"),
    ],
)
def test_what_was_done_to_it_shows(edit: Callable[[list[bytes]], list[bytes]], told: str) -> None:
    verify("good.bin")
    verify("good.bin", "bad.bin")
    file().write_bytes(b"".join(line + b"\n" for line in edit(file().read_bytes().splitlines())))
    code, text = run("audit", "rack7")
    assert code == 5
    assert told in text
    assert "NOT ALL HOLD" in text
    if file().read_bytes():
        assert json.loads(run("audit", "rack7", "--output", "json")[1])["holds"] is False


def test_a_file_from_elsewhere_needs_a_noted_digest() -> None:
    verify("good.bin")
    verify("bad.bin")
    lines = file().read_bytes().splitlines(keepends=True)
    Path("copy.jsonl").write_bytes(b"".join(lines[:2]))
    assert run("audit", "copy.jsonl")[0] == 0  # a record that ends early is a record
    code, text = run("audit", "copy.jsonl", "--head", record.digest(lines[-1]))
    assert (code, "lines were removed or changed" in text) == (5, True)


def test_nothing_is_appended_to_what_was_changed() -> None:
    verify("good.bin")
    good = file().read_bytes()
    for damaged in (good[:-1], good[: good.index(b"\n") + 1], b"", good.replace(b"good.bin", b"evil.bin")):
        file().write_bytes(damaged)
        code, text = verify("good.bin")
        assert code == 1
        assert "VERIFIED" not in text
        assert file().read_bytes() == damaged
    file().unlink()
    assert verify("good.bin")[0] == 1
    assert run("audit", "rack7")[0] == 5
    file().write_bytes(good)
    file().with_suffix(".head").unlink()
    assert verify("good.bin")[0] == 1
    assert run("audit", "rack7")[0] == 5


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_power_cut_while_appending(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verify("good.bin")
    real, calls = attest_record._write_head, []

    def cut(path: Path, digests: list[str]) -> None:
        calls.append(digests)
        if moment == "after" and len(calls) == 2:
            raise OSError(5, "power")
        real(path, digests)
        if moment == "before" and len(calls) == 1:
            raise OSError(5, "power")

    with monkeypatch.context() as patched:
        patched.setattr(attest_record, "_write_head", cut)
        assert verify("good.bin")[0] == 1
    assert len(file().read_bytes().splitlines()) == (2 if moment == "before" else 4)
    assert run("audit", "rack7")[0] == 0
    assert verify("good.bin")[0] == 0
    assert run("audit", "rack7")[0] == 0


def test_refused_for_its_collateral() -> None:
    Path("table.json").write_text('{"certificates": 1}')
    policy = ("--policy", "policy.toml", "--record", "rack7")
    assert run("verify", "good.bin", "--kind", "snp", "--collateral", "table.json", *policy)[0] == 5
    assert run("audit", "rack7")[0] == 0


def test_usage() -> None:
    for name in ("", "../x", "Rack", "-a", "a" * 64, "none", "none.jsonl", "x/none"):
        assert run("audit", "--", name)[0] == 2
    assert verify("good.bin", name="../x")[0] == 2
    assert run("audit", "rack7", "--head", "12")[0] == 2
    assert not file().parent.exists()


def test_the_verifier_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    verify("good.bin")
    monkeypatch.setattr(snp, "MEASUREMENTS", ("host_data",))
    code, text = run("audit", "rack7")
    assert (code, "is refused now" in text) == (5, True)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=200).map(str.encode))
def test_lines_of_strangers(text: bytes) -> None:
    assert all(finding.wrong for finding in record.audit([text, text + b"\n"]))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2)
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(record._KEYS["given"])), st.sampled_from(sorted(record._KEYS["verdict"])), _JSON)
def test_values_of_strangers(first: str, second: str, value: Any) -> None:
    head: dict[str, Any] = {
        "schema": record.SCHEMA, "type": "given", "previous": record.FIRST, "number": 1, "kind": "snp", "policy": None,
        "recorded": "2026-01-01T00:00:00Z", "at": "2026-01-01T00:00:00Z",
        "collateral": {"certificates": [], "crls": [], "documents": {}},
    }  # fmt: skip
    one = json.dumps({**head, first: value}).encode() + b"\n"
    body: dict[str, Any] = {
        "schema": record.SCHEMA, "type": "verdict", "previous": record.digest(one), "number": 2, "file": "f",
        "given": record.digest(one), "evidence": "", "verdict": "verified", "reason": None, "field": None, "facts": None,
    }  # fmt: skip
    found = list(record.audit([one, json.dumps({**body, second: value}).encode() + b"\n"]))
    assert found[1].wrong or value == body[second]
