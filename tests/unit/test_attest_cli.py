"""`strongroom attest` as its users run it: every exit code, every form of output, nothing fetched."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli import attest_files
from strongroom.errors import ConfigError
from strongroom.report.attestation import WIDTH, lines
from tests.corpus.index import EVIDENCE, WHY_NOT
from tests.unit.test_cli import STRONGROOM

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)

SNP = EVIDENCE / "snp"
REPORT, LEAF = SNP / "dstack-milan.report.bin", SNP / "dstack-sev_snp_vcek.pem"
OTHER, OTHER_LEAF = SNP / "virtee-milan.report.hex", SNP / "virtee-milan.vcek.der"
AT = ("--at", "2026-11-23")
POLICY = """\
identities = [{chip}]
not_compared = ["report_data"]
[measurements]
measurement = ["{measurement}"]
host_data = ["783f0057820acb99249af56cc3b07b4e8d80f65183167cba9cf437bb680f742f"]
[snp]
smt = true
[snp.minimum_tcb.Milan]
bootloader = 4
snp = {snp}
"""
MEASUREMENT = "7f51e17f72a04d5422cb2c00998166536019a217376f3aa45a630e59c805a599847ff250dbffcd07e1ba639771d6f05d"
CHIP = (
    '"38d174589d2dff97a6d40cb9f9d90b9507c027491219083cef3ce73e'
    'd18f7289142d941ad61eabecd27d25f268c1095d665f6001358e98a4769c82734a6bb877"'
)


def attest(*words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [STRONGROOM, "attest", *map(str, words)], input=stdin, capture_output=True, timeout=120, check=False
    )
    result = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.stderr
    return result


def verify(*words: object, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    return attest("verify", "--kind", "snp", *words, stdin=stdin)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY.format(chip=CHIP, measurement=MEASUREMENT, snp=23))
    return path


def test_verified_ends_with_0(policy: Path) -> None:
    done = verify(REPORT, "--certs", LEAF, "--policy", policy, *AT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"VERIFIED {REPORT}: snp, 38d174589d2d")
    assert MEASUREMENT[:64] in done.stdout
    assert "Nothing was compared" not in done.stdout


def test_refused_ends_with_5_and_says_why_and_where(policy: Path) -> None:
    policy.write_text(POLICY.format(chip=CHIP, measurement="00" * 48, snp=23))
    done = verify(REPORT, "--certs", LEAF, "--policy", policy, *AT)
    assert done.returncode == 5
    assert done.stdout.startswith(f"REFUSED {REPORT}: measurements.measurement: measurement is {MEASUREMENT[:20]}")
    policy.write_text(POLICY.format(chip=CHIP, measurement=MEASUREMENT, snp=24))
    done = verify(REPORT, "--certs", LEAF, "--policy", policy, *AT, "--output", "json")
    report = json.loads(done.stdout)
    assert done.returncode == 5
    assert report["verdict"] == report["results"][0]["verdict"] == "refused"
    assert report["results"][0]["field"] == "report.reported_tcb.snp"
    assert report["results"][0]["reason"] == "level is 23, allowed is 24 and above"


def test_authenticity_only_says_that_nothing_was_compared() -> None:
    done = verify(REPORT, "--certs", LEAF, "--authenticity-only", *AT)
    assert done.returncode == 0
    assert done.stdout.startswith("AUTHENTIC ")
    assert "VERIFIED" not in done.stdout
    assert "Nothing was compared with an expectation" in done.stdout
    done = verify(REPORT, "--certs", LEAF, "--authenticity-only", "--output", "json", *AT)
    report = json.loads(done.stdout)
    assert (report["verdict"], report["compared"], report["policy"]) == ("authentic", False, None)


@pytest.mark.parametrize("junk", [b"", b"no evidence at all", b"[", bytes(1184)])
def test_bytes_that_are_no_evidence_are_refused(junk: bytes, tmp_path: Path) -> None:
    file = tmp_path / "junk"
    file.write_bytes(junk)
    for done in (
        verify(file, "--certs", LEAF, "--authenticity-only", *AT),
        verify("-", "--authenticity-only", stdin=junk),
    ):
        assert done.returncode == 5
        assert done.stdout.startswith("REFUSED ")
    assert attest("show", file, "--kind", "snp").returncode == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((REPORT,), "neither of --policy and --authenticity-only"),
        ((REPORT, "--authenticity-only", "--policy", "p.toml"), "both of"),
        ((REPORT, "--policy", "nowhere.toml"), "nowhere.toml: No such file"),
        ((REPORT, "--policy", REPORT), "suffix '.bin'"),
        (("nowhere", "--authenticity-only"), "nowhere: No such file"),
        ((SNP, "--authenticity-only"), "Is a directory"),
        ((REPORT, "--authenticity-only", "--certs", "nowhere"), "nowhere: No such file"),
        ((REPORT, "--authenticity-only", "--collateral", "crl=nowhere"), "nowhere: No such file"),
        ((REPORT, "--authenticity-only", "--at", "yesterday"), "a date or a time"),
        ((REPORT, "--authenticity-only", "--output", "xml"), "xml"),
        (("--authenticity-only",), "FILE"),
    ],
)
def test_wrong_usage_ends_with_2(words: tuple[object, ...], says: str) -> None:
    done = verify(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_a_kind_that_is_none_and_a_policy_of_nonsense_end_with_2(policy: Path) -> None:
    done = attest("verify", REPORT, "--kind", "spn", "--authenticity-only")
    assert (done.returncode, "did you mean 'snp'" in done.stderr) == (2, True)
    assert attest("verify", REPORT, "--authenticity-only").returncode == 2
    policy.write_text("[snp]\ndebgu = true\n")
    done = verify(REPORT, "--policy", policy)
    assert (done.returncode, "snp.debgu: unknown key" in done.stderr, "did you mean 'debug'" in done.stderr) == (
        2,
        True,
        True,
    )


def test_many_files_one_refused(tmp_path: Path, policy: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_bytes(REPORT.read_bytes()[:-1] + b"\1")
    files = (REPORT, OTHER, damaged)
    done = verify(*files, "--certs", LEAF, "--certs", OTHER_LEAF, "--authenticity-only", *AT)
    assert done.returncode == 5
    assert [line.split()[0] for line in done.stdout.splitlines()[:3]] == ["AUTHENTIC", "AUTHENTIC", "REFUSED"]
    assert "2 of 3 authentic, 1 refused" in done.stdout
    assert verify(*files[:2], "--certs", LEAF, "--certs", OTHER_LEAF, "--authenticity-only", *AT).returncode == 0


def test_a_folder_of_certificates(tmp_path: Path) -> None:
    for leaf in (LEAF, OTHER_LEAF):
        (tmp_path / leaf.name).write_bytes(leaf.read_bytes())
    (tmp_path / "README").write_text("no certificate")
    assert verify(REPORT, OTHER, "--certs", tmp_path, "--authenticity-only", *AT).returncode == 0
    bundle = tmp_path / "bundle.json"
    bundle.write_text(
        json.dumps({"certificates": [LEAF.read_text(), base64.b64encode(OTHER_LEAF.read_bytes()).decode()]})
    )
    assert verify(REPORT, OTHER, "--collateral", bundle, "--authenticity-only", *AT).returncode == 0
    assert verify(REPORT, "--collateral", tmp_path / LEAF.name, "--authenticity-only", *AT).returncode == 0
    (tmp_path / "bundle.json").write_text('{"certificates": [1]}')
    assert verify(REPORT, "--collateral", bundle, "--authenticity-only", *AT).returncode == 5
    (tmp_path / "bad.der").write_bytes(OTHER_LEAF.read_bytes()[:-1])
    assert verify(REPORT, "--certs", tmp_path, "--authenticity-only", *AT).returncode == 5


def test_what_was_given_beside_it_is_told_where_it_was_not_enough(tmp_path: Path) -> None:
    (tmp_path / "nope.json").write_text("{}")
    done = verify(REPORT, "--collateral", tmp_path, "--authenticity-only", *AT)
    assert done.returncode == 5
    assert "given beside the evidence: documents nope" in done.stdout
    (tmp_path / "report.bin").write_bytes(REPORT.read_bytes())
    done = verify(REPORT, "--certs", tmp_path, "--authenticity-only", *AT)
    assert done.returncode == 5
    assert f"certificates: {tmp_path / 'report.bin'}: neither a certificate nor a list is in it" in done.stdout
    (tmp_path / "nope.json").write_text("")
    done = verify(REPORT, "--collateral", tmp_path / "nope.json", "--authenticity-only", *AT)
    assert done.returncode == 2
    assert "nope.json: empty" in done.stderr


# What a JSON decoder lets pass and its reader may trip over: half of a surrogate pair, and lists in lists.
HALF_A_CHARACTER = (b'{"report":"{\\ud800"}', b'{"report":"00","certs":"\\ud800-----BEGIN"}', b'{"\\udfff":1}')
DEEP = tuple(
    b'{"report":"00","certs":' + opening * times + b'"x"' + closing * times + b"}"
    for opening, closing in ((b"[", b"]"), (b'{"data":', b"}"))
    for times in (64, 600, 950, 100_000)
)


def test_a_hostile_file_refuses_itself_and_nothing_beside_it(tmp_path: Path) -> None:
    files = []
    for number, hostile in enumerate((*HALF_A_CHARACTER, *DEEP)):
        files.append(tmp_path / f"bad{number}.json")
        files[-1].write_bytes(hostile)
    done = verify(REPORT, *files, REPORT, "--certs", LEAF, "--authenticity-only", *AT)
    assert done.returncode == 5
    verdicts = [line.split()[0] for line in done.stdout.splitlines()[: len(files) + 2]]
    assert verdicts == ["AUTHENTIC", *["REFUSED"] * len(files), "AUTHENTIC"]
    assert "(a defect)" not in done.stdout
    assert f"2 of {len(files) + 2} authentic, {len(files)} refused" in done.stdout
    for file in (files[0], files[-1]):
        for words in ((), ("--kind", "snp")):
            done = attest("show", file, *words)
            assert (done.returncode, done.stdout) == (5, "")
            assert done.stderr.startswith("strongroom: evidence: ")


@pytest.mark.parametrize(
    "hostile",
    [
        b'{"certificates": ["\\ud800-----BEGIN CERTIFICATE-----"]}',
        b'{"documents": {"a": "{\\ud800"}}',
        b'{"documents": {"\\ud800": "{}"}}',
        b'{"documents": ' + b"[" * 600 + b"]" * 600 + b"}",
    ],
    ids=range(4),
)
def test_hostile_collateral_is_a_refusal(hostile: bytes, tmp_path: Path) -> None:
    bundle = tmp_path / "badc.json"
    bundle.write_bytes(hostile)
    done = verify(REPORT, REPORT, "--certs", LEAF, "--collateral", bundle, "--authenticity-only", *AT)
    assert (done.returncode, done.stderr) == (5, "")
    assert done.stdout.count(f"REFUSED {REPORT}: collateral.badc: ") == 2
    assert "(a defect)" not in done.stdout
    if hostile.startswith(b'{"certificates"'):
        assert attest("show", REPORT, "--collateral", bundle).returncode == 5


def test_a_damaged_bundle_of_intels_is_a_refusal(tmp_path: Path) -> None:
    """One of its chains has half a character in it, where the reader had only the form of the whole to go by."""
    values = json.loads((EVIDENCE / "tdx/dcapqvl-tdx_quote_collateral.json").read_bytes())
    bundle = tmp_path / "bundle.json"
    for name in ("tcb_info_issuer_chain", "root_ca_crl", "tcb_info"):
        bundle.write_text(json.dumps({**values, name: "-----BEGIN \ud800"}))
        quote = EVIDENCE / "tdx/dcapqvl-tdx_quote"
        done = attest("verify", quote, "--kind", "tdx", "--collateral", bundle, "--authenticity-only", *AT)
        assert (done.returncode, done.stderr) == (5, "")
        assert done.stdout.startswith(f"REFUSED {quote}: collateral: text with half of a surrogate pair")


def test_the_time_is_an_argument() -> None:
    for at, code in (
        ("2026-06-16", 5),
        ("2026-06-17T01:05:04Z", 0),
        ("2026-06-17T03:05:03+02:00", 5),
        ("2040-01-01", 5),
    ):
        assert verify(REPORT, "--certs", LEAF, "--authenticity-only", "--at", at).returncode == code
    with pytest.raises(ConfigError):
        attest_files.moment("0001-01-01T00:00:00+14:00")


def test_debug_is_refused_by_default() -> None:
    files = (SNP / "gosevguest-milan-vcek.report.bin", "--certs", SNP / "gosevguest-milan.vcek.der")
    done = verify(*files, "--authenticity-only", *AT)
    assert (done.returncode, "report.policy.debug" in done.stdout) == (5, True)


def test_show_decodes_every_field_within_80_columns() -> None:
    for file, words in ((REPORT, ()), (OTHER, ("--kind", "snp")), (SNP / "dstack-sev-snp-attestation.json", ())):
        done = attest("show", file, *words)
        assert done.returncode == 0
        assert all(len(line) <= WIDTH for line in done.stdout.splitlines())
        assert "nothing was verified" in done.stdout.splitlines()[0]
        for name in ("report_data", "measurement", "chip_id", "microcode", "debug", "committed", "author_key_digest"):
            assert name in done.stdout
    shown: dict[str, Any] = json.loads(attest("show", REPORT, "--output", "json").stdout)
    assert shown["kind"] == "snp"
    assert shown["verified"] is False
    assert shown["fields"]["measurement"] == MEASUREMENT


def test_show_of_what_has_no_form_at_all(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"neither this nor that")
    done = attest("show", file)
    assert (done.returncode, "form of no kind" in done.stderr) == (5, True)
    assert attest("show", file, "--kind", "nothing").returncode == 2
    assert attest("show", tmp_path / "nowhere").returncode == 2


def test_lines_keep_their_width_and_steer_no_terminal() -> None:
    fields: dict[str, object] = {
        "a": {"b" * 30: {"c": [{"d": bytes(100)}, "\x1b[2J\n" + "long words " * 20, {}]}},
        "e": [],
        "f": None,
        "g" * 90: True,
    }
    shown = list(lines(fields))
    assert all(line.isprintable() for line in shown)
    assert all(len(line) <= WIDTH for line in shown if "g" * 90 not in line)
    assert "e: none" in shown
