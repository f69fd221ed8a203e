"""Serve a verified bundle over HTTP: the files that ``bundle.json`` lists and itself, to be read, and nothing else.

The channel is not trusted: whoever fetches has the SHA-256 of ``bundle.json`` by another way, and it has all other sums.
"""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import sys
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch.bundle import MANIFEST, Bundle, verify
from strongroom.fetch.hashing import sha256_bytes

#: Seconds that a client may be silent, in the middle of a handshake, a request or an answer.
_SILENCE = 60.0


@dataclass(frozen=True)
class Shelf:
    """What is served: ``bundle.json`` as it was when the bundle was verified, and each artifact's file by its URL path."""

    bundle: Bundle
    manifest: bytes
    files: dict[str, Path]

    @classmethod
    def of(cls, folder: Path) -> Shelf:
        """Verify a bundle and list what of it is served; errors as :func:`strongroom.fetch.bundle.verify`."""
        bundle = verify(folder)
        text = (folder / MANIFEST).read_bytes()
        if type(bundle.manifest).model_validate_json(text) != bundle.manifest:
            raise StrongroomError(f"{folder / MANIFEST}: was changed while the bundle was verified")
        return cls(bundle, text, {f"/{url_of(one.file)}": bundle.path(one) for one in bundle.manifest.artifacts})

    @property
    def digest(self) -> str:
        """SHA-256 of ``bundle.json``: what a client has to know from elsewhere."""
        return sha256_bytes(self.manifest)


def url_of(file: str) -> str:
    """Where an artifact's file is served, below the bundle's URL."""
    return f"artifacts/{quote(file)}"


def parse_listen(text: str) -> tuple[str, int]:
    """``ADDR:PORT`` or ``[ADDR]:PORT``; port 0 takes a free one.

    Raises:
        ConfigError: not of that form.
    """
    address, colon, port = text.rpartition(":")
    bare = address.removeprefix("[").removesuffix("]")
    bracketed = address != bare
    if (
        not colon
        or not bare
        or not (port.isascii() and port.isdigit())
        or int(port) > 65535
        or (":" in bare) != bracketed
    ):
        raise ConfigError(f"--listen: found {text!r}, allowed is ADDR:PORT, such as 0.0.0.0:8080 or [::]:8080")
    return bare, int(port)


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """TLS of a server with a certificate (PEM, its chain behind it) and a key, which may be in the same file.

    Raises:
        ConfigError: the files are none, or don't belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Never asked for at a terminal: a server has to start by itself.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"--tls-cert {certificate}: no certificate with its private key can be read from it"
            f"{f' and --tls-key {key}' if key else ''}: {error.strerror or error}"
        ) from error
    return context


class Server(ThreadingHTTPServer):
    """A thread for each connection; requests go to stderr, a line each."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, shelf: Shelf, listen: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        self.shelf = shelf
        self.scheme = "https" if tls else "http"
        self.address_family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        try:
            super().__init__(listen, _Handler)
        except (OSError, UnicodeError) as error:
            told = getattr(error, "strerror", None) or "is no address"
            raise StrongroomError(f"--listen: {listen[0]} port {listen[1]}: {told}") from error
        if tls is not None:
            # The handshake is the connection's own thread's: a client that is slow with it holds up nobody.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def server_bind(self) -> None:
        """Without asking a name server for the name of the address."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    @property
    def url(self) -> str:
        """The bundle's URL; an address that stands for all of this machine's is left as it is."""
        address, port = self.server_address[:2]
        return f"{self.scheme}://{f'[{address}]' if ':' in str(address) else address}:{port}"  # type: ignore[str-bytes-safe]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up or speaks another protocol is a line, not a traceback."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)
            return
        say(str(client_address[0]), f"{type(error).__name__}: {error.strerror or error}")


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "strongroom"
    sys_version = ""
    timeout = _SILENCE

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        # The path is compared as it came: nothing is decoded, joined or resolved, so nothing but what is listed has a name.
        shelf = self.server.shelf
        if self.path == f"/{MANIFEST}":
            self._headers(len(shelf.manifest), "application/json")
            if body:
                self.wfile.write(shelf.manifest)
            return
        path = shelf.files.get(self.path)
        if path is None:
            self.send_error(404, explain="Only the files of the bundle are here.")
            return
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            self.log_error("%s: %s", path, error.strerror)
            self.send_error(500, explain="The file cannot be read any more.")
            return
        with os.fdopen(handle, "rb") as file:
            size = os.fstat(handle).st_size
            self._headers(size, "application/octet-stream")
            if body:
                shutil.copyfileobj(file, self.wfile, 1 << 18)
                if file.tell() != size:  # changed meanwhile: the client has to see an end, not wait for the rest
                    self.close_connection = True

    def _headers(self, size: int, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_error(self, text: str, *args: Any) -> None:
        if not text.startswith("code "):  # what is refused has its line as a request already
            self.log_message(text, *args)

    def log_message(self, text: str, *args: Any) -> None:
        say(str(self.client_address[0]), text % args)


def say(client: str, text: str) -> None:
    """One line on stderr; what a client sent can't break it or colour it."""
    printable = "".join(char if char.isprintable() else "?" for char in text)
    print(f"{client} {printable[:500]}", file=sys.stderr, flush=True)
