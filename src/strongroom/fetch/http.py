"""Download with proxies, private CAs, retries, and verification before anything has its final name.

Proxies come from the inventory, or else from the environment (``HTTPS_PROXY``, ``NO_PROXY``), CAs from OpenSSL's default
(``SSL_CERT_FILE``) and, in addition, from a file. Nothing is resumed: a download is whole, or it is begun again.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import ssl
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, BinaryIO, TypeVar

from strongroom.errors import ConfigError, StrongroomError
from strongroom.report.progress import progress

CHUNK = 1 << 20
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
T = TypeVar("T")


class RefusedError(StrongroomError):
    """The server answered with a status that another try won't change."""

    def __init__(self, url: str, status: int, reason: str, headers: Message) -> None:
        super().__init__(f"{url}: the server answered {status} {reason}")
        self.status, self.headers = status, headers


class _TransientError(Exception):
    """Something that another try may change, not before ``after`` seconds where the server said so."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class _SameOrBetter(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never from https to http, nor from either to anything else (urllib would go to ftp)."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith(("https:", f"{req.type}:")):
            raise StrongroomError(f"{req.full_url}: redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


class _Proxies(urllib.request.BaseHandler):
    """Sends requests through proxies that were given, whatever the environment says; urllib's own mixes both."""

    handler_order = 100

    def __init__(self, proxies: Mapping[str, str]) -> None:
        self.proxies = dict(proxies)

    def http_open(self, req: urllib.request.Request) -> None:
        self._through(req)

    def https_open(self, req: urllib.request.Request) -> None:
        self._through(req)

    def _through(self, req: urllib.request.Request) -> None:
        proxy = self.proxies.get(req.type)
        if proxy is None or urllib.request.proxy_bypass_environment(req.host, self.proxies):  # type: ignore[attr-defined]
            return
        parts = urllib.parse.urlsplit(proxy)
        if parts.username is not None:
            user = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            told = base64.b64encode(user.encode()).decode()
            # Unredirected: where the next request goes past the proxy, the password must not go along.
            req.add_unredirected_header("Proxy-authorization", f"Basic {told}")
        req.set_proxy(parts.netloc.rpartition("@")[2], "http")


@dataclass(frozen=True)
class Client:
    """How to download: ``ca_file`` (PEM) is trusted besides the system's CAs; ``delay`` and ``timeout`` are seconds.

    ``proxies`` has URLs by scheme, and under ``no`` what goes past them; None takes the environment's. ``mirrors`` are asked
    before the registry that they are of.

    ``patience`` is how many seconds of a server's ``Retry-After`` are waited; one that asks for more is given up.
    """

    ca_file: Path | None = None
    tries: int = 4
    delay: float = 1.0
    timeout: float = 60.0
    patience: float = 120.0
    proxies: Mapping[str, str] | None = field(default=None, repr=False)  # may have a password in it
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def _opener(self) -> urllib.request.OpenerDirector:
        context = ssl.create_default_context()
        if self.ca_file is not None:
            try:
                context.load_verify_locations(cafile=str(self.ca_file))
            except OSError as error:  # ssl.SSLError is one
                raise ConfigError(f"--ca-file {self.ca_file}: is no readable PEM file of certificates") from error
        handlers: list[urllib.request.BaseHandler] = [_SameOrBetter(), urllib.request.HTTPSHandler(context=context)]
        if self.proxies is not None:
            handlers += [urllib.request.ProxyHandler({}), _Proxies(self.proxies)]
        return urllib.request.build_opener(*handlers)

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        request = urllib.request.Request(url, headers={"User-Agent": "strongroom"})  # noqa: S310 (the lock has https only)
        for key, value in headers.items():
            request.add_unredirected_header(key, value)  # a token is for this server, not for where it redirects to
        try:
            with self._opener().open(request, timeout=self.timeout) as response:
                yield response
        except urllib.error.HTTPError as error:
            said = _printable(str(error.reason))
            if error.code in _AGAIN:
                told = f"the server answered {error.code} {said}"
                raise _TransientError(told, _retry_after(error.headers)) from error
            raise RefusedError(url, error.code, said, error.headers) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise StrongroomError(
                    f"{url}: its certificate is not trusted: {error.reason.verify_message}",
                    hint="name a private CA with --ca-file or SSL_CERT_FILE",
                ) from error
            raise _TransientError(str(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise _TransientError(str(error) or type(error).__name__) from error
        except ValueError as error:  # urllib's word for an address that is none, as a redirect may have it
            raise StrongroomError(f"{url}: leads to no address: {_printable(str(error))}") from error

    def _again(self, url: str, attempt: Callable[[], T]) -> T:
        for number in range(1, self.tries + 1):
            try:
                return attempt()
            except _TransientError as error:
                if number == self.tries:
                    raise StrongroomError(
                        f"{url}: {error} ({self.tries} tries)", hint=_proxy_hint(self.proxies)
                    ) from error
                if error.after > self.patience:
                    raise StrongroomError(
                        f"{url}: {error}, and asks to be left alone for {error.after:.0f} seconds",
                        hint="try again after that time",
                    ) from error
                progress.say(f"{url}: {error}; trying again")
                self.sleep(max(self.delay * 2 ** (number - 1), error.after))
        raise AssertionError("tries is at least 1")

    def get(self, url: str, headers: Mapping[str, str] | None = None, limit: int = 8 << 20) -> tuple[bytes, Message]:
        """A small document, and the answer's headers.

        Raises:
            RefusedError: the server refuses.
            StrongroomError: it can't be reached, or the document is over ``limit`` bytes.
        """

        def attempt() -> tuple[bytes, Message]:
            with self._open(url, headers or {}) as response:
                body = response.read(limit + 1)
                if len(body) > limit:
                    raise StrongroomError(f"{url}: is more than {limit} bytes")
                _complete(response, len(body))
                return body, response.headers

        return self._again(url, attempt)

    def measure(self, url: str) -> tuple[str, int]:
        """SHA-256 and size of a remote file, without keeping it.

        Raises:
            StrongroomError: as :meth:`fetch`, or it is plainly no file: nothing at all, or a page for a browser, which proxies
                and portals send with 200 in a file's place.
        """

        def attempt() -> tuple[str, int]:
            with self._open(url, {}) as response:
                start = _Start()
                found = _receive(response, start, None, url, "")
            if start.kept.lstrip().lower().startswith((b"<!doctype html", b"<html")):
                raise StrongroomError(
                    f"{url}: is a page for a browser, and no file",
                    hint="does a proxy, or a portal, answer in its place?",
                )
            if not start.kept:
                raise StrongroomError(f"{url}: is empty")
            return found

        return self._again(url, attempt)

    def fetch(
        self,
        url: str,
        out: Path,
        sha256: str,
        size: int | None = None,
        headers: Mapping[str, str] | None = None,
        pinned_by: str = "the lock",
    ) -> int:
        """Download to ``out``, which appears only with the wanted digest (and size, when known).

        ``pinned_by`` is what says so, for the message.

        Returns:
            Its size in bytes.

        Raises:
            RefusedError: the server refuses.
            StrongroomError: unreachable or cut short after all tries, or another SHA-256 or size (not tried again).
        """

        def attempt() -> int:
            handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}-")
            try:
                with os.fdopen(handle, "wb") as file, self._open(url, headers or {}) as response:
                    found, received = _receive(response, file, size, url, pinned_by)
                if found != sha256:
                    raise StrongroomError(
                        f"{url}: its SHA-256 is {found}, and {pinned_by} wants {sha256}",
                        hint="the file upstream changed, or something between changes it: don't use it",
                    )
                os.chmod(name, 0o644)
                os.replace(name, out)
            finally:
                Path(name).unlink(missing_ok=True)
            return received

        return self._again(url, attempt)


class _Start:
    """What is written into it is gone, but for how it began."""

    def __init__(self) -> None:
        self.kept = b""

    def write(self, data: bytes) -> int:
        self.kept = self.kept or data[:256]
        return len(data)


def _receive(
    response: http.client.HTTPResponse, out: BinaryIO | _Start, size: int | None, url: str, pinned_by: str
) -> tuple[str, int]:
    hashed, received = hashlib.sha256(), 0
    while chunk := response.read(CHUNK):
        received += len(chunk)
        if size is not None and received > size:
            raise StrongroomError(f"{url}: is more than the {size} bytes that {pinned_by} wants")
        hashed.update(chunk)
        try:
            out.write(chunk)
        except OSError as error:  # a full disk is no trouble of the network's: another try doesn't help
            raise StrongroomError(f"{url}: cannot be written: {error.strerror}") from error
    _complete(response, received)
    if size is not None and received != size:
        raise StrongroomError(f"{url}: is {received} bytes, and {pinned_by} wants {size}")
    return hashed.hexdigest(), received


def _complete(response: http.client.HTTPResponse, received: int) -> None:
    """``read`` with a size doesn't tell that a connection ended early."""
    told = response.headers.get("Content-Length", "")
    # As text: a number of five thousand digits is none to int(), nor is a superscript two, which is a digit to isdigit().
    if told.isascii() and told.isdigit() and (told.lstrip("0") or "0") != str(received):
        raise _TransientError(f"the connection ended after {received} of {told[:20]} bytes")


def _printable(text: str) -> str:
    """A server's words on one line: neither line ends (urllib's own of a redirect in a circle) nor escapes of a terminal."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:300]


def _retry_after(headers: Message) -> float:
    """Seconds of ``Retry-After`` (RFC 9110, 10.2.3: a number of seconds or a date); 0 where it is neither."""
    text = (headers.get("Retry-After") or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _proxy_hint(given: Mapping[str, str] | None) -> str | None:
    proxies = urllib.request.getproxies() if given is None else given
    if "https" not in proxies:
        return "is HTTPS_PROXY needed here?"
    parts = urllib.parse.urlsplit(proxies["https"])
    return f"the proxy in use is {parts.scheme}://{parts.netloc.rpartition('@')[2]}"
