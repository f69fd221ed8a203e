"""Collateral of SEV-SNP from AMD's key distribution service: a chip's VCEK at a TCB, its chain, the revocation list."""

from __future__ import annotations

import base64
import textwrap
from collections.abc import Iterable
from datetime import datetime

from strongroom.attest import amd, certificates, crl, registry, roots, snp, snp_report
from strongroom.attest.amd import Leaf, Product
from strongroom.attest.base import Refused, refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.pem import blocks
from strongroom.attest.snp_policy import SnpPolicy
from strongroom.attest.snp_report import Report
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import collateral_seen, collateral_store
from strongroom.fetch.collateral_services import Service

SET = "snp"


def fetch(
    evidence: Iterable[bytes], service: Service, now: datetime, product: str | None = None
) -> dict[str, dict[str, bytes]]:
    """What these reports need, from the cache or the service; it is in the cache then, too.

    Args:
        evidence: reports in any form.
        service: AMD's; it is asked once for a chip and TCB that the cache hasn't, once for each product's list.
        now: the controller's time.
        product: of reports of version 2, which don't name theirs.

    Returns:
        Files of the set.

    Raises:
        Refused: a report is none, an answer doesn't hold or is another chip's, or collateral goes back.
        StrongroomError: the service refuses or can't be reached; a VLEK was asked for.
        ConfigError: a product has to be named.
    """
    reports = [_report(one) for one in evidence]
    pairs = {(one.chip_id, one.reported_tcb): (one, _product(one, product)) for one in reports}  # before any request
    leaves, lists = [], []
    for report, line in pairs.values():
        leaves.append(_vcek(report, line, service))
    products = sorted({line.name for _, line in pairs.values()})
    chains = [_chain(name, service) for name in products]
    for name in products:
        lists.append(service.get("crl", product=name)[0])
    return admit(Collateral((*leaves, *chains), tuple(lists)), now)


def admit(collateral: Collateral, now: datetime) -> dict[str, dict[str, bytes]]:
    """Verify certificates and lists as the verifier does, keep the lists' numbers, and put all of it into the cache.

    Returns:
        The files that were put there, by the set's name.

    Raises:
        Refused: something doesn't hold at this time, is not AMD's, or goes back.
    """
    loaded = certificates.load_all(collateral.certificates)
    others = tuple(one for one in loaded if not amd.role_of(one))
    leaves = [amd.leaf(one) for one in loaded if amd.role_of(one)]
    lists, files, marks = [crl.load(blob) for blob in collateral.crls], {}, []
    require(bool(loaded or lists), "collateral", "neither a certificate nor a revocation list is in it")
    require(not collateral.documents, "collateral", f"{', '.join(collateral.documents)}: AMD has no such documents")
    for one in others:
        known = amd.ROOTS.get(one.spki_sha256) or amd.INTERMEDIATES.get(one.spki_sha256)
        require(known == one.name, "certificate.chain", f"{one.name or 'a nameless certificate'} is none of AMD's")
        certificates.valid_at(one, now, "certificate.chain")
    for found in lists:
        root = _root(found.issuer, now)
        crl.check(found, root, now, "crl")
        marks.append(found.mark(root, "crl"))
        files[f"{root.name}.crl"] = found_der(found, collateral.crls)
    for leaf in leaves:
        path = amd.chain(leaf, others, now)
        snp.revocation(path, collateral, SnpPolicy(), now)
        files[_name(leaf)] = leaf.certificate.der
        files[f"{path[1].name}.pem"] = pem(path[1:])
    collateral_seen.advance(marks)
    collateral_store.write(collateral_store.root() / SET, files)
    return {SET: files}


def found_der(found: crl.Crl, blobs: Iterable[bytes]) -> bytes:
    """The bytes that a list was loaded from, in DER."""
    for blob in blobs:
        if crl.load(blob).tbs == found.tbs:
            return blob if blob[:1] == b"\x30" else blocks(blob, "X509 CRL", "crl")[0]
    raise AssertionError("a list that was loaded of none of them")


def _report(data: bytes) -> Report:
    report = snp_report.parse(registry.unwrap(snp.NAME, data, NOTHING)[0])
    role = snp_report.SIGNERS.get(report.signing_key, "reserved")
    if role == "VLEK":
        raise StrongroomError(
            "the report is signed by a VLEK, which AMD gives to the cloud's provider alone",
            hint="have the guest ask for an extended report: its certificate table holds the VLEK",
        )
    require(role == "VCEK", "report.signer.key", f"signing key is {role}, allowed is VCEK")
    require(any(report.chip_id), "report.chip_id", "the chip id is masked, so there is no VCEK to ask for")
    return report


def _product(report: Report, named: str | None) -> Product:
    if named is not None:
        found = next((one for one in amd.PRODUCTS.values() if one.name.lower() == named.lower()), None)
        if found is None:
            raise ConfigError(f"--product: found {named!r}, allowed are {', '.join(amd.PRODUCTS)}")
        return found
    if not any(report.cpuid):
        raise ConfigError(
            f"the report is of version {report.version}, which does not say what CPU it is of",
            hint=f"name it by --product, as {' or '.join(amd.PRODUCTS)}",
        )
    product = snp_report.guessed_product(report)
    if product.family != report.cpuid[0]:
        refuse("report.cpuid.family", f"CPU family {report.cpuid[0]:#x}, which is of none of {', '.join(amd.PRODUCTS)}")
    return product


def _vcek(report: Report, product: Product, service: Service) -> bytes:
    hwid, levels = report.chip_id[: product.hwid].hex(), report.tcb("reported_tcb", product)
    name = f"{product.name}-{hwid}-{report.reported_tcb.hex()}.der"
    blob = collateral_store.read(SET, name)
    if blob is None:
        asked = "&".join(
            f"{key}={levels[level]:02d}" for level, key in service.facts["levels"].items() if level in levels
        )
        blob = service.get("vcek", product=product.name, hwid=hwid, levels=asked)[0]
    leaf = amd.leaf(certificates.parse(blob))
    snp.bound(report, leaf)
    require(leaf.product is product, "certificate.product", f"a {leaf.product.name}'s, asked was for {product.name}'s")
    return blob


def _chain(product: str, service: Service) -> bytes:
    blob = collateral_store.read(SET, f"SEV-{product}.pem")
    return service.get("cert_chain", product=product)[0] if blob is None else blob


def _root(issuer: bytes, now: datetime) -> Certificate:
    for one in roots.shipped("amd"):
        if one.subject == issuer and one.spki_sha256 in amd.ROOTS:
            certificates.valid_at(one, now, "crl")
            return one
    raise Refused(
        f"a revocation list of {certificates.common_name(issuer, 'crl') or 'nobody'}, who is no root of AMD's", "crl"
    )


def _name(leaf: Leaf) -> str:
    who = leaf.hwid.hex() or "".join(one if one.isalnum() else "-" for one in leaf.csp_id)[:64]
    return f"{leaf.product.name}-{who}-{leaf.tcb_version().hex()}.der"


def pem(path: Iterable[Certificate]) -> bytes:
    """Certificates as PEM blocks."""

    def block(one: Certificate) -> str:
        lines = "\n".join(textwrap.wrap(base64.b64encode(one.der).decode(), 64))
        return f"-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n"

    return "".join(block(one) for one in path).encode()
