"""Collateral fetched from servers on loopback that answer with certificates of our own making."""

# ruff: noqa: F811 (fixtures are imported)

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from strongroom.attest import amd, registry
from strongroom.attest.base import Refused
from strongroom.attest.collateral import Collateral
from strongroom.attest.policy import make
from strongroom.cli import attest, attest_collateral, attest_files
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import collateral_amd, collateral_intel, collateral_seen, collateral_store
from strongroom.fetch.collateral_services import Service, services
from strongroom.fetch.http import Client
from tests import forge_tdx
from tests.unit import amd_pki
from tests.unit.amd_pki import NOW, Machine
from tests.unit.test_fetch import Reply, Server, client, server, waits  # noqa: F401 (fixtures)

PLATFORM_CA = "Intel SGX PCK Platform CA"
SET = f"tdx-{forge_tdx.FMSPC.hex()}-platform"


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def pem(*ders: bytes) -> bytes:
    return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders)


def numbered(product: str, number: int | None, age: int = 0) -> bytes:
    """AMD's list with a CRL number."""
    start = amd_pki.START + timedelta(days=5 - age)
    builder = x509.CertificateRevocationListBuilder(amd_pki.named(f"ARK-{product}"), start, start + timedelta(days=20))
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    signed = builder.sign(amd_pki.rsa_key(f"ARK-{product}"), hashes.SHA384(), rsa_padding=amd_pki.PSS)
    return signed.public_bytes(Encoding.DER)


class TestAmd:
    """VCEKs by chip and TCB."""

    @pytest.fixture(autouse=True)
    def trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        amd_pki.install(monkeypatch)

    @pytest.fixture
    def kds(self, server: Server, client: Client) -> Service:
        self.serve_all(server)
        return Service("amd", server.url, client)

    def serve_all(self, server: Server) -> None:
        for name in amd.PRODUCTS:
            chain = (amd_pki.authority(f"SEV-{name}", f"ARK-{name}"), amd_pki.authority(f"ARK-{name}", f"ARK-{name}"))
            server.replies[f"/vcek/v1/{name}/cert_chain"] = Reply(pem(*chain))
            server.replies[f"/vcek/v1/{name}/crl"] = Reply(numbered(name, 7))

    def path(self, machine: Machine) -> str:
        tcb = machine.tcb
        fmc = f"fmcSPL={tcb['fmc']:02d}&" if "fmc" in machine.product.tcb else ""
        levels = f"blSPL={tcb['bootloader']:02d}&teeSPL={tcb['tee']:02d}&snpSPL={tcb['snp']:02d}"
        return f"/vcek/v1/{machine.product.name}/{machine.hwid.hex()}?{fmc}{levels}&ucodeSPL={tcb['microcode']:02d}"

    def serve(self, server: Server, machine: Machine, **changes: bytes) -> str:
        server.replies[self.path(machine)] = Reply(machine.leaf(**changes))
        return self.path(machine)

    def test_one_request_for_a_chip_and_tcb(self, server: Server, kds: Service) -> None:
        asked = self.serve(server, machine := Machine())
        evidence = [machine.report(), machine.report(report_data=b"\7" * 64), machine.report()]
        sets = collateral_amd.fetch(evidence, kds, NOW)
        assert server.paths() == [asked, "/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl"]
        assert sorted(sets["snp"]) == [
            "ARK-Milan.crl",
            f"Milan-{machine.chip.hex()}-{bytes((4, 0, 0, 0, 0, 0, 200, 213)).hex()}.der",
            "SEV-Milan.pem",
        ]
        collateral_amd.fetch(evidence, Service("amd", kds.base, kds.client), NOW)
        assert server.paths()[3:] == ["/vcek/v1/Milan/crl"]  # a list has dates; a VCEK is asked for once

    def test_turin_and_genoa(self, server: Server, kds: Service) -> None:
        turin = Machine(amd.TURIN, tcb={"fmc": 1, "bootloader": 2, "tee": 0, "snp": 4, "microcode": 81})
        genoa = Machine(amd.GENOA)
        asked = [self.serve(server, one) for one in (turin, genoa)]
        assert "/Turin/0102030405060708?fmcSPL=01&blSPL=02" in asked[0]
        collateral_amd.fetch([turin.report()], kds, NOW)
        collateral_amd.fetch([genoa.report()], kds, NOW, "genoa")
        assert set(asked) <= set(server.paths())

    def test_what_was_fetched_verifies(self, server: Server, kds: Service, tmp_path: Path) -> None:
        self.serve(server, machine := Machine())
        collateral_amd.fetch([machine.report()], kds, NOW)
        attest_collateral.export(tmp_path / "out")
        given = attest_files.gather((), [str(tmp_path / "out")])
        policy = make(
            {
                "identities": [machine.chip.hex()],
                "measurements": {"measurement": ["02" * 48]},
                "not_compared": ["report_data", "minimum_tcb"],
                "snp": {"crl": True},
            }
        )
        assert registry.verify("snp", machine.report(), given, policy, NOW).facts.identity == machine.chip

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"chip": bytes(range(2, 66))}, "certificate.hwid"),
            ({"tcb": {"bootloader": 4, "tee": 0, "snp": 199, "microcode": 213}}, "certificate.tcb.snp"),
        ],
    )
    def test_another_chips_certificate(
        self,
        server: Server,
        kds: Service,
        changes: dict[str, object],
        field: str,
    ) -> None:
        machine = Machine()
        server.replies[self.path(machine)] = Reply(Machine(**changes).leaf())  # type: ignore[arg-type]
        with pytest.raises(Refused) as caught:
            collateral_amd.fetch([machine.report()], kds, NOW)
        assert caught.value.field == field
        assert not collateral_store.root().exists()

    def test_a_forged_certificate(self, server: Server, kds: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        machine = Machine()
        leaf = bytearray(machine.leaf())
        leaf[-1] ^= 1
        server.replies[self.path(machine)] = Reply(bytes(leaf))
        with pytest.raises(Refused, match="signature"):
            collateral_amd.fetch([machine.report()], kds, NOW)
        assert not collateral_store.root().exists()

    @pytest.mark.parametrize("name", ["cert_chain", "crl", "vcek"])
    def test_cut_answers(self, server: Server, kds: Service, name: str) -> None:
        self.serve(server, machine := Machine())
        path = self.path(machine) if name == "vcek" else f"/vcek/v1/Milan/{name}"
        reply = server.replies[path]
        assert isinstance(reply, Reply)
        server.replies[path] = Reply(reply.body, cut=len(reply.body) - 1)
        with pytest.raises(StrongroomError, match=r"the connection ended after \d+ of \d+ bytes \(3 tries\)"):
            collateral_amd.fetch([machine.report()], kds, NOW)
        for size in (0, 1, len(reply.body) // 2, len(reply.body) - 2):  # whole answers of half the bytes
            server.replies[path] = Reply(reply.body[:size])
            with pytest.raises(Refused):
                collateral_amd.fetch([machine.report()], Service("amd", kds.base, kds.client), NOW)
        assert not collateral_store.root().exists()

    def test_too_large(self, server: Server, kds: Service) -> None:
        machine = Machine()
        server.replies[self.path(machine)] = Reply(bytes(65537))
        with pytest.raises(StrongroomError, match="more than 65536 bytes"):
            collateral_amd.fetch([machine.report()], kds, NOW)

    def test_the_service_asks_for_patience(self, server: Server, kds: Service, waits: list[float]) -> None:
        self.serve(server, machine := Machine())
        good = server.replies[self.path(machine)]
        assert isinstance(good, Reply)
        busy = [Reply(b"slow down", 429, {"Retry-After": "17"}), Reply(b"", 503, {"Retry-After": "nonsense"})]
        server.replies[self.path(machine)] = [*busy, good]
        collateral_amd.fetch([machine.report()], kds, NOW)
        assert waits == [17, 2]

    def test_a_date_to_retry_after(self, server: Server, kds: Service, waits: list[float]) -> None:
        self.serve(server, machine := Machine())
        good = server.replies[self.path(machine)]
        assert isinstance(good, Reply)
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
        server.replies[self.path(machine)] = [Reply(b"", 429, {"Retry-After": date}), good]
        collateral_amd.fetch([machine.report()], kds, NOW)
        assert len(waits) == 1
        assert 40 < waits[0] <= 60

    def test_too_much_patience(self, server: Server, kds: Service, waits: list[float]) -> None:
        machine = Machine()
        server.replies[self.path(machine)] = Reply(b"", 429, {"Retry-After": "3600"})
        with pytest.raises(StrongroomError, match="left alone for 3600 seconds"):
            collateral_amd.fetch([machine.report()], kds, NOW)
        assert waits == []
        assert len(server.asked) == 1

    def test_a_list_that_goes_back(self, server: Server, kds: Service) -> None:
        self.serve(server, machine := Machine())
        collateral_amd.fetch([machine.report()], kds, NOW)
        for older in (numbered("Milan", 6), numbered("Milan", None)):
            server.replies["/vcek/v1/Milan/crl"] = Reply(older)
            with pytest.raises(Refused, match=r"(number 6|no number) of .*, and number 7 of .* was seen") as caught:
                collateral_amd.fetch([machine.report()], Service("amd", kds.base, kds.client), NOW)
            assert caught.value.field == "crl.number"
        assert collateral_store.read("snp", "ARK-Milan.crl") is not None
        server.replies["/vcek/v1/Milan/crl"] = Reply(numbered("Milan", 8))
        collateral_amd.fetch([machine.report()], Service("amd", kds.base, kds.client), NOW)

    def test_lists_without_numbers_go_by_their_dates(self, server: Server, kds: Service) -> None:
        self.serve(server, machine := Machine())
        server.replies["/vcek/v1/Milan/crl"] = Reply(numbered("Milan", None))
        collateral_amd.fetch([machine.report()], kds, NOW)
        server.replies["/vcek/v1/Milan/crl"] = Reply(numbered("Milan", None, age=1))
        with pytest.raises(Refused, match="going back is refused"):
            collateral_amd.fetch([machine.report()], Service("amd", kds.base, kds.client), NOW)

    def test_an_authority_that_is_revoked(self, server: Server, kds: Service) -> None:
        self.serve(server, machine := Machine())
        server.replies["/vcek/v1/Milan/crl"] = Reply(amd_pki.crl(amd.MILAN, 1))
        with pytest.raises(Refused, match="was revoked"):
            collateral_amd.fetch([machine.report()], kds, NOW)

    def test_what_cannot_be_fetched(self, server: Server, kds: Service) -> None:
        with pytest.raises(StrongroomError, match="VLEK") as vlek:
            collateral_amd.fetch([Machine().report(), Machine(role="VLEK").report()], kds, NOW)
        assert "extended report" in (vlek.value.hint or "")
        with pytest.raises(ConfigError, match="version 2"):
            collateral_amd.fetch([Machine().report(version=2, cpuid_family=0)], kds, NOW)
        with pytest.raises(ConfigError, match="--product: found 'Rome'"):
            collateral_amd.fetch([Machine().report()], kds, NOW, "Rome")
        for wrong in (b"no report", Machine().report(chip_id=bytes(64)), Machine().report(cpuid_family=0x17)):
            with pytest.raises(Refused):
                collateral_amd.fetch([wrong], kds, NOW)
        assert server.asked == []

    def test_import_verifies(
        self, server: Server, kds: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.serve(server, machine := Machine())
        collateral_amd.fetch([machine.report()], kds, NOW)
        attest_collateral.export(tmp_path / "out")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
        attest_collateral.import_(tmp_path / "out", at=NOW.isoformat())
        assert set(collateral_store.cached()) == {"snp"}
        assert collateral_store.read("snp", "ARK-Milan.crl") is not None
        with pytest.raises(Refused, match=r"valid .* to"):
            attest_collateral.import_(tmp_path / "out", at="2027-11-23")
        (tmp_path / "out" / "stranger.der").write_bytes(forge_tdx.certificate("Stranger", "Stranger", ca=True))
        with pytest.raises(Refused, match="Stranger is none of AMD's"):
            attest_collateral.import_(tmp_path / "out", at=NOW.isoformat())


def numbers(which: str, number: int) -> forge_tdx.Forge:
    """A platform one of whose documents has that evaluation data number."""
    changed: dict[str, Any] = {which: {"tcbEvaluationDataNumber": number}}
    return forge_tdx.Forge(**changed)


class TestIntel:
    """Collateral of a platform."""

    @pytest.fixture(autouse=True)
    def trusted(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(forge_tdx, "CA", PLATFORM_CA)
        with forge_tdx.pinned():
            yield

    def serve(self, server: Server, forge: forge_tdx.Forge, *, hexed: bool = False) -> None:
        made = forge.collateral()
        root, signer = (forge_tdx.certificate(name, "Root", ca=name == "Root") for name in ("Root", forge_tdx.SIGNER))
        authority = forge_tdx.certificate(PLATFORM_CA, "Root", ca=True)

        def chain(header: str, first: bytes) -> dict[str, str]:
            return {header: quote(pem(first, root).decode())}

        lists = [one.hex().encode() if hexed else one for one in made.crls]
        fmspc = forge_tdx.FMSPC.hex()
        server.replies |= {
            "/sgx/certification/v4/rootcacrl": Reply(lists[0]),
            "/sgx/certification/v4/pckcrl?ca=platform&encoding=der": Reply(
                lists[1], headers=chain("SGX-PCK-CRL-Issuer-Chain", authority)
            ),
            f"/tdx/certification/v4/tcb?fmspc={fmspc}": Reply(
                made.documents["tcb_info"], headers=chain("TCB-Info-Issuer-Chain", signer)
            ),
            "/tdx/certification/v4/qe/identity": Reply(
                made.documents["qe_identity"], headers=chain("SGX-Enclave-Identity-Issuer-Chain", signer)
            ),
        }

    @pytest.fixture
    def pcs(self, server: Server, client: Client) -> Service:
        self.serve(server, forge_tdx.Forge())
        return Service("intel", server.url, client)

    def again(self, pcs: Service) -> Service:
        return Service("intel", pcs.base, pcs.client)

    @pytest.mark.parametrize("hexed", [False, True])
    def test_what_was_fetched_verifies(
        self,
        server: Server,
        pcs: Service,
        tmp_path: Path,
        hexed: bool,
    ) -> None:
        self.serve(server, forge := forge_tdx.Forge(), hexed=hexed)
        sets = collateral_intel.fetch([forge.quote(), forge.quote()], pcs, NOW)
        assert len(server.asked) == 4
        assert sorted(sets[SET]) == ["chain.pem", "pck_crl.crl", "qe_identity.json", "root_crl.crl", "tcb_info.json"]
        attest_collateral.export(tmp_path / "out", fmspc="90C06F000000")
        given = attest_files.gather((), [str(tmp_path / "out")])
        facts = registry.authenticate("tdx", forge.quote(), given, None, NOW).facts
        assert facts.fields["collateral"]["tcb_evaluation_data_number"] == 18  # type: ignore[index]

    def test_intels_own_addresses(self, server: Server, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        facts = json.loads(json.dumps(services()["intel"]))
        assert facts["base"].startswith("https://")
        facts |= {"base": server.url, "root_crl": {"url": f"{server.url}/root.der", "limit": 1 << 20}}
        monkeypatch.setitem(services(), "intel", facts)
        self.serve(server, forge := forge_tdx.Forge())
        server.replies["/root.der"] = server.replies.pop("/sgx/certification/v4/rootcacrl")
        assert list(collateral_intel.fetch([forge.quote()], Service("intel", client=client), NOW)) == [SET]

    @pytest.mark.parametrize(
        ("which", "field"),
        [("info", "tcb_info.tcbEvaluationDataNumber"), ("identity", "qe_identity.tcbEvaluationDataNumber")],
    )
    def test_a_document_that_goes_back(self, server: Server, pcs: Service, which: str, field: str) -> None:
        quoted = forge_tdx.Forge().quote()
        collateral_intel.fetch([quoted], pcs, NOW)
        self.serve(server, numbers(which, 17))
        with pytest.raises(Refused, match=r"number 17 of .*, and number 18 of .* was seen before") as caught:
            collateral_intel.fetch([quoted], self.again(pcs), NOW)
        assert caught.value.field == field
        kept = json.loads(collateral_store.read(SET, "tcb_info.json") or b"")
        assert kept["tcbInfo"]["tcbEvaluationDataNumber"] == 18
        self.serve(server, numbers(which, 19))
        collateral_intel.fetch([quoted], self.again(pcs), NOW)

    def test_a_damaged_memory_refuses(self, pcs: Service) -> None:
        quoted = forge_tdx.Forge().quote()
        collateral_intel.fetch([quoted], pcs, NOW)
        text = collateral_seen.path().read_text()
        for damaged in ("", "{}", "[]", text.replace("v1", "v2"), text.replace("18", "true"), text[:-9], "[" * 100000):
            collateral_seen.path().write_text(damaged)
            with pytest.raises(StrongroomError, match="is not what was written there"):
                collateral_intel.fetch([quoted], self.again(pcs), NOW)

    @pytest.mark.parametrize(
        ("path", "field"),
        [
            ("/sgx/certification/v4/rootcacrl", ""),
            ("/sgx/certification/v4/pckcrl?ca=platform&encoding=der", ""),
            (f"/tdx/certification/v4/tcb?fmspc={forge_tdx.FMSPC.hex()}", "tcb_info"),
            ("/tdx/certification/v4/qe/identity", "qe_identity"),
        ],
    )
    def test_flipped_and_cut(self, server: Server, pcs: Service, path: str, field: str) -> None:
        good = server.replies[path]
        assert isinstance(good, Reply)
        body = good.body
        flipped = bytearray(body)
        flipped[len(body) // 2] ^= 1
        for wrong in (bytes(flipped), b"", body[: len(body) // 2], body[:-1], body + b"x"):
            server.replies[path] = Reply(wrong, headers=good.headers)
            with pytest.raises(Refused) as caught:
                collateral_intel.fetch([forge_tdx.Forge().quote()], self.again(pcs), NOW)
            assert caught.value.field.startswith(field)
        server.replies[path] = Reply(body, headers=good.headers, cut=len(body) - 1)
        with pytest.raises(StrongroomError, match="the connection ended"):
            collateral_intel.fetch([forge_tdx.Forge().quote()], self.again(pcs), NOW)
        assert not collateral_store.root().exists()
        assert not collateral_seen.path().exists()

    def test_another_platforms_tcb_info(self, server: Server, pcs: Service) -> None:
        self.serve(server, forge_tdx.Forge(info={"fmspc": "00806f050000"}))
        with pytest.raises(Refused) as caught:
            collateral_intel.fetch([forge_tdx.Forge().quote()], pcs, NOW)
        assert caught.value.field == "tcb_info.fmspc"

    def test_out_of_date_or_without_its_chain(self, server: Server, pcs: Service) -> None:
        with pytest.raises(Refused, match="ended"):
            collateral_intel.fetch([forge_tdx.Forge().quote()], pcs, NOW + timedelta(days=60))
        server.replies["/tdx/certification/v4/qe/identity"] = Reply(b"{}")
        with pytest.raises(Refused, match="no header SGX-Enclave-Identity-Issuer-Chain"):
            collateral_intel.fetch([forge_tdx.Forge().quote()], self.again(pcs), NOW)

    def test_a_quote_that_is_not_genuine_asks_for_nothing(self, server: Server, pcs: Service) -> None:
        quoted = bytearray(forge_tdx.Forge().quote())
        quoted[100] ^= 1
        for wrong in (bytes(quoted), b"no quote", b""):
            with pytest.raises(Refused):
                collateral_intel.fetch([wrong], pcs, NOW)
        assert server.asked == []

    def test_import_verifies_and_never_goes_back(self, server: Server, pcs: Service, tmp_path: Path) -> None:
        quoted = forge_tdx.Forge().quote()
        collateral_intel.fetch([quoted], pcs, NOW)
        attest_collateral.export(tmp_path / "old")
        attest_collateral.import_(tmp_path / "old", at=NOW.isoformat())
        newer = forge_tdx.Forge(info={"tcbEvaluationDataNumber": 19})
        self.serve(server, newer)
        collateral_intel.fetch([quoted], self.again(pcs), NOW)
        with pytest.raises(Refused, match=r"number 18 of .*, and number 19"):
            attest_collateral.import_(tmp_path / "old", at=NOW.isoformat())
        (tmp_path / "old" / "pck_crl.crl").unlink()
        with pytest.raises(Refused, match="needed is that of one PCK CA"):
            attest_collateral.import_(tmp_path / "old", at=NOW.isoformat())

    @pytest.mark.parametrize(
        ("url", "good"),
        [
            ("https://pccs.example.org:8081", True),
            ("https://pccs.example.org:8081/sgx/certification/v4/", True),
            ("http://localhost:8081", True),
            ("http://pccs.example.org:8081", False),
            ("pccs.example.org", False),
            ("file:///etc/passwd", False),
            ("https://[::1", False),
            ("https://a.example:99999", False),
        ],
    )
    def test_addresses(self, url: str, good: bool) -> None:
        with nullcontext() if good else pytest.raises(ConfigError, match="--pccs: found"):
            assert collateral_intel.pccs(url) in ("https://pccs.example.org:8081", "http://localhost:8081")


class TestCommand:
    """Errors of the command that need no service."""

    def attest(self, *words: object) -> subprocess.CompletedProcess[str]:
        from tests.unit.test_cli import STRONGROOM

        command = [str(STRONGROOM), "attest", "collateral", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def test_exit_codes(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(b"no evidence")
        assert self.attest("fetch", tmp_path / "x", "--kind", "snp").returncode == 5
        assert self.attest("fetch", tmp_path / "x", "--kind", "tdx").returncode == 5
        assert self.attest("fetch", tmp_path / "x", "--kind", "tpm").returncode == 2
        assert self.attest("fetch", tmp_path / "none", "--kind", "snp").returncode == 2
        assert self.attest("fetch", tmp_path / "x", "--kind", "snp", "--into", tmp_path).returncode == 2
        wrong = self.attest("fetch", tmp_path / "x", "--kind", "snp", "--pccs", "https://a.example")
        assert (wrong.returncode, "--pccs: goes with --kind tdx" in wrong.stderr) == (2, True)
        assert self.attest("export", tmp_path / "out").returncode == 2
        assert self.attest("import", tmp_path / "none").returncode == 2


_BLOBS = st.lists(
    st.binary(max_size=60) | st.sampled_from([numbered("Milan", 7)[:200], b"0\x82\xff\xff", b"{}"]), max_size=3
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_BLOBS, _BLOBS, st.dictionaries(st.sampled_from(["tcb_info", "qe_identity", "x"]), st.binary(max_size=60)))
def test_collateral_of_strangers(certificates: list[bytes], lists: list[bytes], documents: dict[str, bytes]) -> None:
    collateral = Collateral(tuple(certificates), tuple(lists), documents)
    with pytest.raises(Refused):
        collateral_intel.admit(collateral, NOW)
    with pytest.raises(Refused):
        collateral_amd.admit(collateral, NOW)
    assert not collateral_seen.path().exists()


class Command:
    """`strongroom attest` in this process."""

    def run(self, *words: object) -> tuple[int, str]:
        result = CliRunner().invoke(attest.app, [str(one) for one in words])
        if isinstance(result.exception, StrongroomError):
            return int(result.exception.exit), str(result.exception)
        return result.exit_code, result.output


class TestFetchCommand(Command):
    """`attest collateral fetch`, then `attest verify` with what it put there."""

    @pytest.mark.parametrize("many", [False, True])
    def test_snp(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: bool) -> None:
        amd_pki.install(monkeypatch)
        machines = [Machine(), Machine(chip=bytes(range(2, 66)))][: 2 if many else 1]
        TestAmd().serve_all(server)
        names = []
        for number, machine in enumerate(machines):
            TestAmd().serve(server, machine)
            names.append(tmp_path / f"{number}.bin")
            names[-1].write_bytes(machine.report())
        at = ("--kind", "snp", "--at", NOW.isoformat())
        code, text = self.run("collateral", "fetch", *names, *at, "--kds", server.url, "--into", tmp_path / "out")
        assert code == 0
        assert text.startswith(f"{tmp_path / 'out'}: ARK-Milan.crl, Milan-")
        verify = ("verify", *names, *at, "--authenticity-only")
        assert self.run(*verify, "--collateral", tmp_path / "out")[0] == 0
        assert self.run(*verify, "--collateral", collateral_store.root() / "snp")[0] == 0
        assert self.run(*verify)[0] == 5
        code, text = self.run("collateral", "fetch", *names, *at, "--kds", server.url, "--into", tmp_path / "out")
        assert (code, "is not an empty folder" in text) == (2, True)

    def test_tdx(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(forge_tdx, "CA", PLATFORM_CA)
        forge, quoted = forge_tdx.Forge(), tmp_path / "quote.bin"
        quoted.write_bytes(forge.quote())
        TestIntel().serve(server, forge)
        at = ("--kind", "tdx", "--at", NOW.isoformat())
        with forge_tdx.pinned():
            fetch = ("collateral", "fetch", quoted, *at, "--pccs", f"{server.url}/sgx/certification/v4/")
            assert self.run(*fetch, "--into", tmp_path / "out")[0] == 0
            verify = ("verify", quoted, *at, "--authenticity-only")
            assert self.run(*verify, "--collateral", tmp_path / "out")[0] == 0
            TestIntel().serve(server, numbers("info", 17))
            code, text = self.run(*fetch)
        assert code == 5
        assert text.startswith("tcb_info.tcbEvaluationDataNumber: TCB info of 90c06f000000 has number 17 of")


class TestVerifyRemembers(Command):
    """`attest verify` refuses collateral that goes back, as `fetch` does."""

    @pytest.fixture(autouse=True)
    def today(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Forged collateral is of NOW; without --at the verb judges as of that."""
        moment = attest_files.moment
        monkeypatch.setattr(attest_files, "moment", lambda text: NOW if text is None else moment(text))

    def quote(self, folder: Path, forge: forge_tdx.Forge, name: str) -> tuple[object, ...]:
        """The words that verify a quote with this forge's collateral."""
        (folder / "quote.bin").write_bytes(forge.quote())
        given = forge.collateral()
        bundle = {
            "certificates": [base64.b64encode(one).decode() for one in given.certificates],
            "crls": [base64.b64encode(one).decode() for one in given.crls],
            "documents": {key: base64.b64encode(one).decode() for key, one in given.documents.items()},
        }
        (folder / f"{name}.json").write_text(json.dumps(bundle))
        verify = ("verify", folder / "quote.bin", "--kind", "tdx", "--authenticity-only", "--output", "json")
        return (*verify, "--collateral", folder / f"{name}.json")

    @pytest.mark.parametrize("which", ["info", "identity"])
    def test_a_document_that_goes_back(self, tmp_path: Path, which: str) -> None:
        field = {"info": "tcb_info", "identity": "qe_identity"}[which] + ".tcbEvaluationDataNumber"
        with forge_tdx.pinned():
            newer = self.quote(tmp_path, forge_tdx.Forge(), "newer")
            older = self.quote(tmp_path, numbers(which, 17), "older")
            assert self.run(*older)[0] == 0
            code, text = self.run(*newer)
            assert (code, json.loads(text)["seen"]) == (0, str(collateral_seen.path()))
            code, text = self.run(*older)
            (result,) = json.loads(text)["results"]
            assert (code, result["verdict"], result["field"]) == (5, "refused", f"seen.{field}")
            assert "number 17 of" in result["reason"]
            assert "number 18 of" in result["reason"]
            # As of another time nothing is remembered, unless it is said where; elsewhere nothing was seen.
            code, text = self.run(*older, "--at", NOW.isoformat())
            assert (code, json.loads(text)["seen"]) == (0, None)
            assert self.run(*older, "--at", NOW.isoformat(), "--seen", collateral_seen.path().parent)[0] == 5
            assert self.run(*older, "--seen", tmp_path / "elsewhere")[0] == 0
            assert (tmp_path / "elsewhere" / "seen.json").exists()
            assert self.run(*newer)[0] == 0

    def test_a_revocation_list_that_goes_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        amd_pki.install(monkeypatch)
        (tmp_path / "report.bin").write_bytes(Machine().report())
        (tmp_path / "leaf.der").write_bytes(Machine().leaf())
        how = ("--kind", "snp", "--authenticity-only", "--output", "json")
        verify = ("verify", tmp_path / "report.bin", *how, "--certs", tmp_path / "leaf.der")
        for number in (4, 5):
            (tmp_path / f"{number}.crl").write_bytes(amd_pki.crl(amd.PRODUCTS["Milan"], number=number))
        assert self.run(*verify)[0] == 0
        assert not collateral_seen.path().exists(), "nothing with a number was given"
        assert self.run(*verify, "--collateral", tmp_path / "4.crl")[0] == 0
        assert self.run(*verify, "--collateral", tmp_path / "5.crl")[0] == 0
        code, text = self.run(*verify, "--collateral", tmp_path / "4.crl")
        assert (code, json.loads(text)["results"][0]["field"]) == (5, "seen.crl.number")

    def test_refused_evidence_moves_nothing_and_a_damaged_memory_refuses(self, tmp_path: Path) -> None:
        with forge_tdx.pinned():
            words = self.quote(tmp_path, forge_tdx.Forge(), "newer")
            whole = (tmp_path / "quote.bin").read_bytes()
            (tmp_path / "quote.bin").write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
            assert self.run(*words)[0] == 5
            assert not collateral_seen.path().exists()
            (tmp_path / "quote.bin").write_bytes(whole)
            assert self.run(*words)[0] == 0
            collateral_seen.path().write_text("{}")
            code, text = self.run(*words)
            assert (code, "is not what was written there" in text) == (1, True)

    def test_on_record_such_a_refusal_is_not_repeated(self, tmp_path: Path) -> None:
        with forge_tdx.pinned():
            newer = self.quote(tmp_path, forge_tdx.Forge(), "newer")
            older = self.quote(tmp_path, numbers("info", 17), "older")
            assert self.run(*newer, "--record", "rack")[0] == 0
            assert self.run(*older, "--record", "rack")[0] == 5
            assert self.run("audit", "rack")[0] == 0
