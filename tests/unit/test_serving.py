"""A bundle is served on loopback and fetched from there by its digest, over real sockets."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle, remote_bundle
from strongroom.fetch.http import Client
from strongroom.fetch.serving import Server, Shelf, parse_listen, tls_context
from tests import private_ca
from tests.unit.test_bundle import CONTENTS, good
from tests.unit.test_fetch import Reply, serve

__all__ = ["good"]  # a fixture


@contextmanager
def serving(folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(Shelf.of(folder), ("127.0.0.1", 0), tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def client() -> Client:
    return Client(tries=2, sleep=lambda _: None, timeout=10)


def asked(server: Server, line: bytes) -> bytes:
    """The whole answer to a request line, sent as it is."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


class TestServe:
    """Only what the bundle lists, only to be read."""

    def test_each_listed_file_is_there_and_nothing_else_is(self, good: Path) -> None:
        (good.parent / "secret").write_text("not yours")
        with serving(good) as server:
            for path in server.shelf.files:
                assert asked(server, f"GET {path} HTTP/1.1".encode()).endswith((good / path[1:]).read_bytes())
            assert asked(server, b"GET /bundle.json HTTP/1.1").endswith((good / "bundle.json").read_bytes())
            for path in (
                "/",
                "/artifacts",
                "/artifacts/",
                "/secret",
                "/bundle.json/",
                "/x//bundle.json",
                "/bundle.json?x",
            ):
                assert b" 404 " in asked(server, f"GET {path} HTTP/1.1".encode()).splitlines()[0]

    @pytest.mark.parametrize(
        "path",
        [
            "/../secret",
            "/artifacts/../../secret",
            "/artifacts/..%2f..%2fsecret",
            "/%2e%2e/secret",
            "/artifacts/%2e%2e/bundle.json",
            "/artifacts/./runc-1",
            "/artifacts//runc-1",
            "/artifacts/runc%2d1",
            "http://x/../secret",
            "/artifacts/runc-1%00",
            "/artifacts\\runc-1",
            "*",
        ],
    )
    def test_no_trick_of_the_path_leads_anywhere(self, good: Path, path: str) -> None:
        (good.parent / "secret").write_text("not yours")
        with serving(good) as server:
            answer = asked(server, f"GET {path} HTTP/1.1".encode())
            assert b" 404 " in answer.splitlines()[0]
            assert b"not yours" not in answer
            assert CONTENTS["runc"] not in answer

    @settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(noise=st.binary(max_size=120))
    def test_noise_gets_no_file_and_ends_nothing(self, good: Path, noise: bytes) -> None:
        with serving(good) as server:
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
                connection.sendall(noise + b"\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
            assert b" 200 " not in answer[:40]
            assert b" 200 " in asked(server, b"GET /bundle.json HTTP/1.1").splitlines()[0]

    @pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "CONNECT", "PROPFIND"])
    def test_it_is_read_only(self, good: Path, method: str) -> None:
        with serving(good) as server:
            assert b" 501 " in asked(server, f"{method} /bundle.json HTTP/1.1".encode()).splitlines()[0]
        bundle.verify(good)

    def test_head_says_the_size(self, good: Path) -> None:
        with serving(good) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.request("HEAD", "/artifacts/kubelet-1")
            answer = connection.getresponse()
            assert (answer.status, answer.headers["Content-Length"], answer.read()) == (200, "4096", b"")
            connection.request("GET", "/artifacts/runc-1")  # the same connection
            assert connection.getresponse().read() == CONTENTS["runc"]
            connection.close()

    def test_a_file_that_became_a_link_is_not_followed(self, good: Path, capfd: pytest.CaptureFixture[str]) -> None:
        (good.parent / "secret").write_text("not yours")
        with serving(good) as server:
            (good / "artifacts" / "runc-1").unlink()
            (good / "artifacts" / "runc-1").symlink_to(good.parent / "secret")
            answer = asked(server, b"GET /artifacts/runc-1 HTTP/1.1")
        assert b" 500 " in answer.splitlines()[0]
        assert b"not yours" not in answer
        assert str(good).encode() not in answer

    def test_requests_are_lines_that_a_client_cannot_break(self, good: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with serving(good) as server:
            asked(server, b"GET /\x1b[31m\x08x HTTP/1.1")
            asked(server, b"GET /bundle.json HTTP/1.1")
        said = capfd.readouterr().err
        assert "\x1b" not in said
        assert '127.0.0.1 "GET /bundle.json HTTP/1.1" 200' in said

    def test_a_damaged_bundle_is_not_served(self, good: Path) -> None:
        (good / "artifacts" / "runc-1").write_bytes(b"A program")
        with pytest.raises(StrongroomError, match="runc-1: its SHA-256 is"):
            Shelf.of(good)

    def test_a_silent_client_holds_up_nobody(self, good: Path, tmp_path: Path) -> None:
        _, both = private_ca.issue(tmp_path)
        with serving(good, tls_context(both, None)) as server:
            with socket.create_connection(("127.0.0.1", server.server_port), timeout=10):  # no handshake
                out = remote_bundle.fetch(
                    server.url, server.shelf.digest, tmp_path / "out", Client(ca_file=tmp_path / "ca.pem", timeout=10)
                )
            assert bundle.verify(out).manifest == server.shelf.bundle.manifest

    def test_a_port_that_is_taken_is_one_line(self, good: Path) -> None:
        with (
            serving(good) as server,
            pytest.raises(StrongroomError, match=r"--listen: 127\.0\.0\.1 port \d+: Address already in use"),
        ):
            Server(server.shelf, (str(server.server_address[0]), server.server_port))

    @pytest.mark.parametrize("text", ["", "8080", ":8080", "h:", "h:x", "h:65536", "::1:80", "[::1]", "[h]:80", "h:-1"])
    def test_where_to_listen_has_a_form(self, text: str) -> None:
        with pytest.raises(ConfigError, match=r"--listen: found .* allowed is ADDR:PORT"):
            parse_listen(text)

    def test_addresses_of_both_kinds(self) -> None:
        assert parse_listen("0.0.0.0:0") == ("0.0.0.0", 0)
        assert parse_listen("[::1]:65535") == ("::1", 65535)

    def test_a_certificate_without_its_key_is_refused(self, tmp_path: Path) -> None:
        ca, _ = private_ca.issue(tmp_path)
        for file in (ca, tmp_path / "none.pem"):
            with pytest.raises(ConfigError, match=f"--tls-cert {file}"):
                tls_context(file, None)


class TestFetch:
    """By digest, whole or not at all."""

    def test_what_is_fetched_is_what_was_served(self, good: Path, tmp_path: Path, client: Client) -> None:
        with serving(good) as server:
            for url, digest in ((server.url, server.shelf.digest), (f"{server.url}/", f"sha256:{server.shelf.digest}")):
                out = remote_bundle.fetch(url, digest, tmp_path / "out", client)
                assert bundle.verify(out).manifest == bundle.load(good).manifest
                assert (out / "bundle.json").read_bytes() == (good / "bundle.json").read_bytes()
                assert not list(tmp_path.glob(".making-*"))
                shutil.rmtree(out)

    def test_into_the_cache_once(
        self, good: Path, tmp_path: Path, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        with serving(good) as server:
            url, digest = server.url, server.shelf.digest
            out = remote_bundle.fetch(url, digest, None, client)
        assert remote_bundle.fetch(url, digest, None, client) == out  # nobody serves any more
        (out / "artifacts" / "runc-1").write_bytes(b"A program")
        with pytest.raises(StrongroomError, match="runc-1"):
            remote_bundle.fetch(url, digest, None, client)

    def test_another_digest_is_refused_and_nothing_is_left(self, good: Path, tmp_path: Path, client: Client) -> None:
        with serving(good) as server, pytest.raises(StrongroomError, match=f"SHA-256 is {server.shelf.digest}, and 00"):
            remote_bundle.fetch(server.url, "0" * 64, tmp_path / "out", client)
        assert not (tmp_path / "out").exists()

    def test_a_changed_file_is_refused_by_name(self, good: Path, tmp_path: Path, client: Client) -> None:
        with serving(good) as server:
            (good / "artifacts" / "kubelet-1").write_bytes(b"\1" * 4096)  # behind the server's back
            with pytest.raises(StrongroomError, match=r"kubelet-1: its SHA-256 is .* and bundle\.json wants"):
                remote_bundle.fetch(server.url, server.shelf.digest, tmp_path / "out", client)
            assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("length", [0, 4095, 4097])
    def test_another_size_is_refused(self, good: Path, tmp_path: Path, client: Client, length: int) -> None:
        with serving(good) as server:
            (good / "artifacts" / "kubelet-1").write_bytes(b"\0" * length)
            with pytest.raises(StrongroomError, match=r"kubelet-1: is (more than the )?\d+ bytes"):
                remote_bundle.fetch(server.url, server.shelf.digest, tmp_path / "out", client)
            assert not (tmp_path / "out").exists()

    def test_a_run_that_was_broken_off_is_gone_on_with(
        self, good: Path, tmp_path: Path, client: Client, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with serving(good) as server:
            away = good / "artifacts" / "kubeadm-1"  # the last of three
            away.rename(tmp_path / "away")
            with pytest.raises(StrongroomError, match="kubeadm-1: the server answered 500"):
                remote_bundle.fetch(server.url, server.shelf.digest, tmp_path / "out", client)
            assert not (tmp_path / "out").exists()
            (tmp_path / "away").rename(away)
            # What was spoilt meanwhile, halves and strangers do not stay.
            work = tmp_path / ".making-out" / "folder" / "artifacts"
            (work / "runc-1").write_bytes(b"A program")
            (work / ".kubeadm-1-abc").write_bytes(b"half")
            (work / "elsewhere").symlink_to("/etc/passwd")
            capfd.readouterr()
            remote_bundle.fetch(server.url, server.shelf.digest, tmp_path / "out", client)
        assert bundle.verify(tmp_path / "out").manifest == bundle.load(good).manifest
        said = capfd.readouterr().err
        assert "GET /artifacts/kubelet-1" not in said
        assert "GET /artifacts/runc-1" in said
        assert not (tmp_path / ".making-out").exists()

    def test_a_folder_of_the_users_is_never_touched(self, good: Path, tmp_path: Path, client: Client) -> None:
        (tmp_path / "out").mkdir()
        with serving(good) as server, pytest.raises(StrongroomError, match="is there already"):
            remote_bundle.fetch(server.url, server.shelf.digest, tmp_path / "out", client)
        assert list((tmp_path / "out").iterdir()) == []

    @pytest.mark.parametrize(
        ("url", "told"),
        [
            ("ftp://h/", "allowed is http"),
            ("h:80", "allowed is http"),
            ("http://", "allowed is http"),
            ("http://h:x", "allowed is http"),
            ("http://h/?a=b", "allowed is http"),
            ("http://h /", "allowed is http"),
            ("https://me:secret@h/", "user name or password"),
        ],
    )
    def test_what_is_no_url_is_refused(self, tmp_path: Path, client: Client, url: str, told: str) -> None:
        with pytest.raises(ConfigError, match=told) as caught:
            remote_bundle.fetch(url, "0" * 64, tmp_path / "out", client)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("digest", ["", "12", "g" * 64, "sha512:" + "0" * 64, "0" * 63])
    def test_the_digest_has_a_form(self, tmp_path: Path, client: Client, digest: str) -> None:
        with pytest.raises(ConfigError, match="--digest: found"):
            remote_bundle.fetch("http://127.0.0.1:9", digest, tmp_path / "out", client)

    def test_a_manifest_that_leads_out_of_its_folder_is_refused(
        self, good: Path, tmp_path: Path, client: Client
    ) -> None:
        text = (good / "bundle.json").read_bytes().replace(b"runc-1", b"../runc-1")
        with serving(good) as server:
            server.shelf = Shelf(server.shelf.bundle, text, server.shelf.files)
            with pytest.raises(StrongroomError, match="escapes its folder"):
                remote_bundle.fetch(server.url, hashlib.sha256(text).hexdigest(), tmp_path / "out", client)
        assert not (tmp_path / "out").exists()


class TestCommands:
    """As processes, with signals."""

    @pytest.fixture
    def environment(self, tmp_path: Path) -> dict[str, str]:
        return {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}

    def start(self, environment: dict[str, str], *words: str) -> subprocess.Popen[str]:
        code = "import sys; from strongroom.cli.main import main; sys.argv[0] = 'strongroom'; main()"
        command = [sys.executable, "-c", code, "bundle", *words]
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
        )  # fmt: skip

    def test_serve_says_how_to_fetch_and_ends_with_130(
        self, good: Path, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        server = self.start(environment, "serve", str(good), "--listen", "127.0.0.1:0")
        try:
            assert server.stdout is not None
            assert "3 artifacts at http://127.0.0.1:" in server.stdout.readline()
            words = server.stdout.readline().split()
            assert words[:3] == ["strongroom", "bundle", "fetch"]
            done = self.start(environment, *words[2:], "--out", str(tmp_path / "out"))
            out, err = done.communicate(timeout=60)
            assert (done.returncode, out) == (0, f"{tmp_path / 'out'}\n"), err
            assert bundle.verify(tmp_path / "out").manifest == bundle.load(good).manifest
        finally:
            server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=60)
        assert server.returncode == 130
        assert '"GET /artifacts/runc-1 HTTP/1.1" 200' in said
        assert "Traceback" not in said
        port = int(re.search(r":(\d+)$", words[3])[1])  # type: ignore[index]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)

    def test_a_fetch_that_was_killed_is_gone_on_with(
        self, good: Path, tmp_path: Path, environment: dict[str, str], client: Client
    ) -> None:
        """Killed in the middle of the second file, which a server on this side holds back."""
        second = threading.Event()
        with serving(good) as server:
            plain = server.shelf

            class Slow(dict[str, Path]):
                def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
                    if key == "/artifacts/kubelet-1":
                        second.set()
                        threading.Event().wait(30)
                    return super().get(key, default)

            server.shelf = Shelf(plain.bundle, plain.manifest, Slow(plain.files))
            words = ("fetch", server.url, "--digest", plain.digest, "--out", str(tmp_path / "out"))
            broken = self.start(environment, *words)
            assert second.wait(60)
            os.killpg(broken.pid, signal.SIGKILL)
            broken.communicate(timeout=60)
            assert not (tmp_path / "out").exists()
            assert (tmp_path / ".making-out" / "folder" / "artifacts" / "runc-1").exists()
            server.shelf = plain
            done = self.start(environment, *words)
            _, err = done.communicate(timeout=60)
            assert done.returncode == 0, err
        assert "runc-1: there already" in err
        assert bundle.verify(tmp_path / "out").manifest == bundle.load(good).manifest
        assert not (tmp_path / ".making-out").exists()

    def test_an_inventorys_proxy_is_used_and_its_mistakes_are_told(
        self, good: Path, tmp_path: Path, environment: dict[str, str]
    ) -> None:
        """The name of the server is nobody's: only the proxy, which is this side's, answers for it."""
        file = tmp_path / "inventory.py"
        text = (
            "control_plane = [('cp1', {'address': '192.0.2.1'})]\n"
            "all = (control_plane, {'cluster': {'name': 'a', 'claim': 'none', 'network': NETWORK}})\n"
        )
        environment = {**environment, "MY_PROXY": ""}
        digest = hashlib.sha256((good / "bundle.json").read_bytes()).hexdigest()
        words = ("fetch", "http://bundle.invalid", "--digest", digest, "--out", str(tmp_path / "out"))
        for served in serve():
            for path in good.rglob("*"):
                if path.is_file():
                    served.replies[f"http://bundle.invalid/{path.relative_to(good)}"] = Reply(path.read_bytes())
            file.write_text(text.replace("NETWORK", "{'proxy': {'http': 'env:MY_PROXY'}}"))
            refused = self.start(environment, *words, "--network-of", str(file))
            _, err = refused.communicate(timeout=60)
            assert refused.returncode == 2
            assert "network.proxy.http: env:MY_PROXY: that variable is not set" in err
            environment["MY_PROXY"] = served.url.replace("//", "//me:hunter2@")
            done = self.start(environment, *words, "--network-of", str(file))
            out, err = done.communicate(timeout=60)
            assert done.returncode == 0, err
            assert "hunter2" not in out + err
            assert {path for path, _ in served.asked} == set(served.replies)
            assert all("Proxy-Authorization" in {key.title() for key in headers} for _, headers in served.asked)
        assert bundle.verify(tmp_path / "out").manifest == bundle.load(good).manifest

    def test_the_digest_is_required(self, environment: dict[str, str]) -> None:
        done = self.start(environment, "fetch", "http://127.0.0.1:9")
        _, err = done.communicate(timeout=60)
        assert done.returncode == 2
        assert "--digest" in err
