"""How downloads reach the world: proxies, mirrors of registries, and a private CA; the same for every tool that downloads."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictBool

from strongroom.model.bundle import Frozen
from strongroom.model.frozen import PathText

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Where a registry's API is when it is not at its name (Docker Hub's).
_SERVERS = {"docker.io": "registry-1.docker.io"}


def is_reference(text: str) -> bool:
    """Whether a setting names where a value is, in place of the value: ``env:NAME`` or ``file:PATH``."""
    return text.startswith(("env:", "file:"))


def proxy_problem(text: str) -> str | None:
    """Why a text, of an inventory or of what a reference led to, is no URL of a proxy; never has the text in it."""
    try:
        parts = urlsplit(text)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.path in ("", "/")
        good = good and not (parts.query or parts.fragment) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or re.search(r"[\s\"'\\\x00-\x1f\x7f]", text):
        return "http://HOST:PORT (proxies are spoken to by http, also for https)"
    return None


def _proxy(text: str) -> str:
    if is_reference(text):
        if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[^\s\0]+", text):
            raise ValueError("env:NAME of a variable, or file:PATH")
        return text
    if "@" in text:
        raise ValueError("http://HOST:PORT; one with a user name or password is given as env:NAME or file:PATH")
    if problem := proxy_problem(text):
        raise ValueError(f"{problem}, env:NAME or file:PATH")
    return text


def _mirror(url: str) -> str:
    try:
        parts = urlsplit(url)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        good = safe and bool(parts.hostname) and parts.username is None and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[A-Za-z0-9._~:/\[\]-]+", url):
        raise ValueError("https://HOST[:PORT][/PATH], without a user name (http on loopback only)")
    return url.rstrip("/")


def _bypass(name: str) -> str:
    if not re.fullmatch(r"\*|[A-Za-z0-9.:/\[\]_*-]+", name):
        raise ValueError("a host, .domain, address or network, each by itself")
    return name


def _registry(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?", name):
        raise ValueError("a registry, HOST or HOST:PORT in small letters, as docker.io")
    return name


ProxyUrl = Annotated[str, AfterValidator(_proxy)]
MirrorUrl = Annotated[str, AfterValidator(_mirror)]
Registry = Annotated[str, AfterValidator(_registry)]


class Proxy(Frozen):
    """Proxies; where they are set they take the place of the environment's."""

    http: ProxyUrl | None = Field(None, description="proxy for http; a URL, or env:NAME or file:PATH of one")
    https: ProxyUrl | None = Field(None, description="proxy for https; a URL, or env:NAME or file:PATH of one")
    no_proxy: tuple[Annotated[str, AfterValidator(_bypass)], ...] = Field(
        (), description="hosts, .domains, addresses and networks that are reached without a proxy"
    )


class Network(Frozen):
    """The ``network`` of an inventory's ``cluster``."""

    proxy: Proxy = Proxy()
    mirrors: dict[Registry, tuple[MirrorUrl, ...]] = Field(
        default_factory=dict, description="registry -> URLs to ask before it, in this order"
    )
    ca_file: PathText | None = Field(
        None, min_length=1, description="PEM file of a private CA on the controller, trusted besides the system's"
    )
    on_hosts: StrictBool = Field(
        False, description="whether containerd on the hosts uses all this too, for the images that your pods pull"
    )


def api_root(mirror: str) -> str:
    """The URL below which a mirror's registry API lies: one whose path begins with ``/v2`` names it itself."""
    return mirror if overrides(mirror) else f"{mirror}/v2"


def overrides(mirror: str) -> bool:
    """Whether a mirror's path is its API's root already, as Harbor's proxy projects have it."""
    return urlsplit(mirror).path.split("/")[1:2] == ["v2"]


def server(registry: str) -> str:
    """The URL of a registry itself."""
    return f"https://{_SERVERS.get(registry, registry)}"
