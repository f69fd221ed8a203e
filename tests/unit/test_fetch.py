"""Downloads against servers on loopback that do what real ones do at times."""

from __future__ import annotations

import hashlib
import io
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch.http import Client
from tests import private_ca

DATA = bytes(range(256)) * 5000  # more than one chunk
SHA = hashlib.sha256(DATA).hexdigest()


@dataclass
class Reply:
    """One answer; ``cut`` ends the connection after so many bytes of the body."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Server:
    """Answers by path; a list of answers is given in turn, the last one from then on."""

    url: str
    replies: dict[str, Reply | list[Reply] | Callable[[dict[str, str]], Reply]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answer(self, path: str, headers: dict[str, str]) -> Reply:
        self.asked.append((path, headers))
        found = self.replies.get(path, Reply(b"no such thing", 404))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found if isinstance(found, Reply) else found(headers)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def serve(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = served.answer(self.path, dict(self.headers.items()))
            self.send_response(reply.status)
            for key, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that hangs up on too much is what some tests are about."""

    http = Quiet(("127.0.0.1", 0), Handler)
    if tls is not None:
        http.socket = tls.wrap_socket(http.socket, server_side=True)  # before its thread looks at the socket
    served = Server(f"{'https' if tls else 'http'}://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield served
    http.shutdown()
    http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield from serve()


@pytest.fixture
def other(server: Server) -> Iterator[Server]:
    yield from serve()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(waits: list[float]) -> Client:
    return Client(tries=3, sleep=waits.append, timeout=10)


class TestDownload:
    """`Client.fetch`."""

    def test_good(self, server: Server, client: Client, tmp_path: Path) -> None:
        server.replies["/f"] = Reply(DATA)
        assert client.fetch(f"{server.url}/f", tmp_path / "out", SHA, len(DATA)) == len(DATA)
        assert (tmp_path / "out").read_bytes() == DATA
        assert client.measure(f"{server.url}/f") == (SHA, len(DATA))

    def test_redirects_are_followed_without_the_token(
        self, server: Server, other: Server, client: Client, tmp_path: Path
    ) -> None:
        server.replies["/f"] = Reply(status=307, headers={"Location": f"{other.url}/g"})
        other.replies["/g"] = Reply(DATA)
        client.fetch(f"{server.url}/f", tmp_path / "out", SHA, headers={"Authorization": "Bearer secret"})
        assert server.asked[0][1]["Authorization"] == "Bearer secret"
        assert "Authorization" not in other.asked[0][1]

    def test_a_truncated_answer_is_tried_again(
        self, server: Server, client: Client, waits: list[float], tmp_path: Path
    ) -> None:
        server.replies["/f"] = [Reply(DATA, cut=1000), Reply(b"busy", 503), Reply(DATA)]
        client.fetch(f"{server.url}/f", tmp_path / "out", SHA)
        assert (tmp_path / "out").read_bytes() == DATA
        assert waits == [1, 2]

    @pytest.mark.parametrize(
        ("reply", "told", "times"),
        [
            (Reply(DATA, cut=1000), f"ended after 1000 of {len(DATA)} bytes (3 tries)", 3),
            (Reply(b"busy", 503), "the server answered 503", 3),
            (Reply(b"", 404), "the server answered 404", 1),
            (Reply(b"", 403), "the server answered 403", 1),
            (Reply(DATA[:-1] + b"!"), "its SHA-256 is", 1),
            (Reply(DATA + b"!"), f"is more than the {len(DATA)} bytes", 1),
            (Reply(DATA[:-1]), f"is {len(DATA) - 1} bytes, and the lock wants {len(DATA)}", 1),
        ],
    )
    def test_what_is_refused_leaves_nothing(
        self, server: Server, client: Client, tmp_path: Path, reply: Reply, told: str, times: int
    ) -> None:
        server.replies["/f"] = reply
        with pytest.raises(StrongroomError) as caught:
            client.fetch(f"{server.url}/f", tmp_path / "out", SHA, len(DATA))
        assert told in str(caught.value)
        assert f"{server.url}/f" in str(caught.value)
        assert len(server.asked) == times
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("reply", "told"),
        [
            (Reply(b"x", headers={"Content-Length": "9" * 5000}), f"ended after 1 of {'9' * 20} bytes"),
            (
                Reply(status=302, headers={"Location": "/f"}),
                "would lead to an infinite loop. The last 30x error message",
            ),
            (Reply(status=302, headers={"Location": "http://["}), "leads to no address: Invalid IPv6 URL"),
            (
                Reply(status=302, headers={"Location": "ftp://127.0.0.1:9/f"}),
                "redirects to ftp://127.0.0.1:9/f, which is",
            ),
            (Reply(status=302, headers={"Location": "file:///etc/passwd"}), "is not allowed"),
        ],
    )
    def test_what_no_honest_server_says_is_one_line_too(
        self, server: Server, client: Client, reply: Reply, told: str
    ) -> None:
        server.replies["/f"] = reply
        with pytest.raises(StrongroomError) as caught:
            client.get(f"{server.url}/f")
        assert str(caught.value).startswith(f"{server.url}/f: ")
        assert told in str(caught.value)
        assert str(caught.value).isprintable()

    def test_a_length_that_is_no_number_is_none(self, server: Server, client: Client) -> None:
        server.replies["/f"] = Reply(DATA, headers={"Content-Length": "\xb2"})  # a digit to str.isdigit()
        assert client.get(f"{server.url}/f")[0] == DATA

    def test_a_wrong_sum_keeps_what_was_there(self, server: Server, client: Client, tmp_path: Path) -> None:
        server.replies["/f"] = Reply(b"other")
        (tmp_path / "out").write_bytes(b"old")
        with pytest.raises(StrongroomError, match=hashlib.sha256(b"other").hexdigest()):
            client.fetch(f"{server.url}/f", tmp_path / "out", SHA)
        assert (tmp_path / "out").read_bytes() == b"old"

    def test_nobody_there(self, client: Client, tmp_path: Path, waits: list[float]) -> None:
        with pytest.raises(StrongroomError, match=r"refused \(3 tries\)"):
            client.fetch("http://127.0.0.1:9/f", tmp_path / "out", SHA)
        assert len(waits) == 2

    def test_the_proxy_of_the_environment_is_used(
        self, server: Server, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.setenv("http_proxy", server.url)
        server.replies["http://releases.example.org/f"] = Reply(DATA)
        client.fetch("http://releases.example.org/f", tmp_path / "out", SHA)
        assert server.paths() == ["http://releases.example.org/f"]

    def test_a_ca_file_has_to_be_one(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("no certificate")
        for name in ("ca.pem", "none.pem"):
            with pytest.raises(ConfigError, match=f"--ca-file .*{name}"):
                Client(ca_file=tmp_path / name).get("https://127.0.0.1:9/")

    def test_a_small_document_is_small(self, server: Server, client: Client) -> None:
        server.replies["/f"] = Reply(DATA)
        assert client.get(f"{server.url}/f")[0] == DATA
        with pytest.raises(StrongroomError, match="more than 1000 bytes"):
            client.get(f"{server.url}/f", limit=1000)

    def test_https_never_becomes_http(self) -> None:
        import urllib.request
        from email.message import Message

        from strongroom.fetch.http import _SameOrBetter

        request = urllib.request.Request("https://a.example/f")
        with pytest.raises(StrongroomError, match="not https"):
            _SameOrBetter().redirect_request(request, io.BytesIO(), 302, "Found", Message(), "http://b.example/f")


class TestPrivateCa:
    """A server whose certificate is of a private CA."""

    @pytest.fixture
    def issued(self, tmp_path: Path) -> tuple[Path, Path]:
        """The CA's certificate, and the server's with its key."""
        return private_ca.issue(tmp_path)

    @pytest.fixture
    def ca(self, issued: tuple[Path, Path]) -> Path:
        return issued[0]

    @pytest.fixture
    def server(self, issued: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(issued[1])
        for served in serve(context):
            served.replies["/f"] = Reply(b"secret")
            yield served

    def test_it_is_refused(self, ca: Path, server: Server, client: Client) -> None:
        with pytest.raises(StrongroomError, match="its certificate is not trusted") as caught:
            client.get(f"{server.url}/f")
        assert "--ca-file" in (caught.value.hint or "")
        assert server.asked == []

    def test_it_is_trusted_by_argument(self, ca: Path, server: Server) -> None:
        assert Client(ca_file=ca).get(f"{server.url}/f")[0] == b"secret"

    def test_it_is_trusted_by_environment(self, ca: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        assert Client().get(f"{server.url}/f")[0] == b"secret"
