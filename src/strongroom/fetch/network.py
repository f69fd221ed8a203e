"""The inventory's network settings for whatever downloads: our own client, and programs by their environment.

References to proxies are resolved here, at the last moment; what they lead to goes into no message, argument or file.
"""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from strongroom import paths
from strongroom.errors import ConfigError
from strongroom.fetch.http import Client
from strongroom.model.network import Network, Proxy, is_reference, proxy_problem


def client(network: Network, ca_file: Path | None = None, *, tries: int = 4, delay: float = 1.0) -> Client:
    """Our client as an inventory wants it; a CA named on the command line takes the place of the inventory's.

    Raises:
        ConfigError: a reference leads nowhere, or to something that is no proxy's URL.
    """
    return Client(
        ca_file=ca_file or ca(network),
        tries=tries,
        delay=delay,
        proxies=proxies(network.proxy),
        mirrors=network.mirrors,
    )


def ca(network: Network) -> Path | None:
    """The private CA's file."""
    return paths.written(network.ca_file) if network.ca_file else None


def proxies(proxy: Proxy) -> dict[str, str] | None:
    """Scheme -> URL, and ``no`` -> what goes past them, as urllib has it; None where the environment's count."""
    found = {key: _resolve(text, key) for key in ("http", "https") if (text := getattr(proxy, key)) is not None}
    if not found and not proxy.no_proxy:
        return None
    return {**found, "no": ",".join(proxy.no_proxy)}


def _resolve(text: str, key: str) -> str:
    where = f"cluster: network.proxy.{key}: {text}"
    if not is_reference(text):
        return text
    kind, _, name = text.partition(":")
    if kind == "env":
        if not (found := os.environ.get(name, "").strip()):
            raise ConfigError(f"{where}: that variable is not set")
    else:
        path = paths.written(name)
        try:
            with path.open(encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                found = file.read(4096).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or 'is no text'}") from error
        if stat.S_IMODE(mode) & 0o007:
            raise ConfigError(
                f"{where}: can be read by everybody (mode {stat.S_IMODE(mode):04o})", hint=f"chmod 0600 {path}"
            )
    if problem := proxy_problem(found):
        raise ConfigError(f"{where}: what is there is not allowed; allowed is {problem}")
    return found


@contextmanager
def environment(network: Network) -> Iterator[Mapping[str, str]]:
    """Variables for a program that downloads (Go's toolchain); empty where the inventory asks for nothing.

    ``SSL_CERT_FILE`` takes the place of the system's CAs, so it names a file with both, which is there as long as this is.
    """
    found: dict[str, str] = {}
    for key, url in (proxies(network.proxy) or {}).items():
        found[f"{key}_proxy"] = found[f"{key.upper()}_PROXY"] = url
    if (own := ca(network)) is None:
        yield found
        return
    with TemporaryDirectory(prefix="strongroom-ca-") as folder:
        both = Path(folder, "ca.pem")
        system = ssl.get_default_verify_paths().cafile
        try:
            text = own.read_bytes()
            both.write_bytes((Path(system).read_bytes() + b"\n" if system else b"") + text)
        except OSError as error:
            raise ConfigError(f"cluster: network.ca_file: {own}: cannot be read: {error.strerror}") from error
        yield {**found, "SSL_CERT_FILE": str(both)}
