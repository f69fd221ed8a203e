"""Collateral of TDX from Intel's provisioning certification service, version 4, or from a PCCS that caches it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from email.message import Message
from urllib.parse import unquote_to_bytes, urlsplit

from strongroom.attest import certificates, crl, forms, pck, registry, tdx, tdx_collateral, tdx_quote
from strongroom.attest.base import refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.errors import ConfigError
from strongroom.fetch import collateral_seen, collateral_store
from strongroom.fetch.collateral_amd import found_der, pem
from strongroom.fetch.collateral_services import Service, services

_API = "/sgx/certification/v4"
_STRICT = timedelta(0)


def address(option: str, url: str) -> str:
    """The base address of a service, without a slash at its end.

    Raises:
        ConfigError: it is no https address (http is for this machine alone).
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    schemes = ("http", "https") if host in ("localhost", "127.0.0.1", "::1") else ("https",)
    if not host or parts.scheme not in schemes or parts.query or parts.fragment:
        raise ConfigError(f"{option}: found {url!r}, allowed is an https address, as https://pccs.example.org:8081")
    return url.rstrip("/")


def pccs(url: str) -> str:
    """The base address of a PCCS, given with or without the path of its API; errors as :func:`address`."""
    return address("--pccs", url).removesuffix(_API)


def fetch(evidence: Iterable[bytes], service: Service, now: datetime) -> dict[str, dict[str, bytes]]:
    """What the platforms of these quotes need; it is in the cache then, too.

    Args:
        evidence: quotes in any form; their own signatures have to hold, so that nobody makes us ask for anything.
        service: Intel's, or a PCCS.
        now: the controller's time.

    Returns:
        Files by set.

    Raises:
        Refused: a quote is not genuine, an answer doesn't hold or is another platform's, or collateral goes back.
        StrongroomError: the service refuses or can't be reached.
    """
    found: dict[str, dict[str, bytes]] = {}
    for fmspc, ca in dict.fromkeys(_platform(one, now) for one in evidence):
        got = admit(_collateral(fmspc, ca, service), now)
        wanted = _set(fmspc, ca)
        if wanted not in got:
            refuse("tcb_info.fmspc", f"{', '.join(got)} was answered, asked was for {wanted}")
        found |= got
    return found


def admit(collateral: Collateral, now: datetime) -> dict[str, dict[str, bytes]]:
    """Verify one platform's collateral as the verifier does, keep its numbers, and put it into the cache.

    Returns:
        The files that were put there, by the set's name.

    Raises:
        Refused: something doesn't hold at this time, is missing, or goes back.
    """
    known = certificates.load_all(collateral.certificates)
    lists = [crl.load(blob, "crls") for blob in collateral.crls]
    authority, root = _authority(known, lists, now)
    checked = tdx_collateral.check((authority, root), known, collateral, now, _STRICT)
    fmspc = checked.info.fmspc.hex()
    files = {f"{name}.json": collateral.documents[name] for name in ("tcb_info", "qe_identity")}
    for issuer, name in ((root, "root_crl"), (authority, "pck_crl")):
        newest = crl.of_issuer(lists, issuer)
        assert newest is not None  # it was checked
        files[f"{name}.crl"] = found_der(newest, collateral.crls)
    signers = [one for one in known if one.name == tdx_collateral.TCB_SIGNER]
    files["chain.pem"] = pem((*signers, authority, root))
    collateral_seen.advance(checked.marks)
    name = _set(fmspc, _ca(authority))
    collateral_store.write(collateral_store.root() / name, files)
    return {name: files}


def _set(fmspc: str, ca: str) -> str:
    return f"tdx-{fmspc}-{ca}"


def _ca(authority: Certificate) -> str:
    names = services()["intel"]["cas"]
    if authority.name not in names:
        refuse("pck.issuer", f"{authority.name or 'nameless'}, allowed is {' or '.join(names)}")
    return str(names[authority.name])


def _platform(data: bytes, now: datetime) -> tuple[str, str]:
    quote = tdx_quote.parse(registry.unwrap("tdx", data, NOTHING)[0])
    path = tdx.signatures(quote, now)
    return pck.parse(path[0]).fmspc.hex(), _ca(path[1])


def _authority(
    known: Iterable[Certificate], lists: Iterable[crl.Crl], now: datetime
) -> tuple[Certificate, Certificate]:
    """The CA of PCK certificates whose list is here, and Intel's root."""
    issuers, known = {one.issuer for one in lists}, tuple(known)
    mine = [one for one in known if one.subject in issuers and one.subject != one.issuer]
    if len(mine) != 1:
        names = ", ".join(one.name for one in mine) or "none"
        refuse("pck_crl", f"lists of {names} with their CAs' certificates, needed is that of one PCK CA")
    path = certificates.chain(mine[0], known, tdx_collateral.INTEL_ROOTS, now, "pck.issuer")
    require(len(path) == 2, "pck.issuer", f"{mine[0].name} is not the root's own")
    return path[0], path[1]


def _collateral(fmspc: str, ca: str, service: Service) -> Collateral:
    root_crl = service.get("pccs_root_crl" if service.base else "root_crl")[0]
    pck_crl, pck_headers = service.get("pck_crl", ca=ca)
    info, info_headers = service.get("tcb_info", fmspc=fmspc)
    identity, identity_headers = service.get("qe_identity")
    chains = (
        _chain(service, "pck_crl", pck_headers),
        _chain(service, "tcb_info", info_headers),
        _chain(service, "qe_identity", identity_headers),
    )
    return Collateral(chains, (_list(root_crl), _list(pck_crl)), {"tcb_info": info, "qe_identity": identity})


def _chain(service: Service, name: str, headers: Message) -> bytes:
    wanted = service.facts[name]["chain"]
    value = next((headers[header] for header in wanted if headers.get(header)), None)
    if value is None:
        refuse(f"{name}.signer", f"the answer has no header {' or '.join(wanted)}")
    return unquote_to_bytes(value)


def _list(body: bytes) -> bytes:
    """A CRL in DER or PEM, out of the hex that some PCCS answer."""
    return body if body[:1] == b"\x30" or b"-----BEGIN" in body else forms.binary(body)
