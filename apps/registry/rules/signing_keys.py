"""Keys and certificates whose signatures of models are trusted: what one may be, and whether one of them made a signature. Pure."""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from apps.core.errors import Invalid

HASHES: dict[str, hashes.HashAlgorithm] = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512()}
MOST_CHARACTERS = 16_000
ONE_OF = "an EC public key on P-256, P-384 or P-521, or a certificate of one, as PEM"


@dataclass(frozen=True, slots=True)
class Trusted:
    """A key or certificate that an administrator trusts."""

    name: str
    pem: str


@dataclass(frozen=True, slots=True)
class Judged:
    """What a signature is worth: state (rules.signatures.STATES), a sentence, and the name of the trusted key that made it."""

    state: str
    words: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """Who made a signature. broken: it claims a trusted key, which did not make it."""

    key: Trusted | None
    words: str
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Described:
    """What a PEM text is. fingerprint: SHA-256 in hex, of a key as model-signing names it, of a certificate as everybody does."""

    kind: str
    fingerprint: str
    about: str
    pem: str


def describe(pem: str) -> Described:
    """Read a public key or certificate; Invalid (`pem`) for anything else, private keys above all."""

    def refused(words: str) -> Invalid:
        return Invalid(f"pem: {words} Give {ONE_OF}.", errors={"pem": [words]})

    text = pem.strip()
    if len(text) > MOST_CHARACTERS:
        raise refused("It is too long.")
    if "PRIVATE KEY" in text:
        raise refused("It is a private key, which must never leave its owner. Treat it as lost.")
    try:
        if "BEGIN CERTIFICATE" in text:
            certificate = x509.load_pem_x509_certificate(text.encode())
            _curve(certificate.public_key())
            ends = certificate.not_valid_after_utc.date()
            plain = certificate.public_bytes(serialization.Encoding.PEM).decode()
            return Described(
                "certificate",
                certificate.fingerprint(hashes.SHA256()).hex(),
                f"{certificate.subject.rfc4514_string()}, until {ends}",
                plain,
            )
        key = serialization.load_pem_public_key(text.encode())
        curve = _curve(key)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise refused("It cannot be read.") from error
    data = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Described("key", hashlib.sha256(data).hexdigest(), f"EC key on {curve}", data.decode())


def signer(signature: Mapping[str, Any], trusted: Sequence[Trusted]) -> Found:
    """Which of the trusted made a signature that was kept by rules.signatures.read."""
    if signature["key"] == "certificate":
        return _by_chain(signature, trusted)
    for each in trusted:
        try:
            about = describe(each.pem)
        except Invalid:
            continue
        if about.kind != "key" or (signature["key"] and signature["key"] != about.fingerprint):
            continue
        if _made(serialization.load_pem_public_key(each.pem.encode()), signature):
            return Found(each, "")
        if signature["key"]:
            return Found(None, f"It names the key {each.name}, which did not make it. Do not trust these files.", broken=True)
    return Found(None, "It was made with a key that is not trusted here. An administrator can add the key.")


def _by_chain(signature: Mapping[str, Any], trusted: Sequence[Trusted]) -> Found:
    """By a certificate of ours that stands in, or has issued, the chain of the bundle.

    There is no witness of when it was signed, so that each certificate has to hold at the moment from which the signer's own holds, as the
    tool has it too.
    """
    try:
        chain = [x509.load_der_x509_certificate(base64.b64decode(raw, validate=True)) for raw in signature["chain"]]
        leaf = chain[0]
        if not _made(leaf.public_key(), signature):
            return Found(None, "Its own certificate did not make it. Do not trust these files.", broken=True)
        if not _may_sign(leaf):
            return Found(None, "Its certificate is not meant for signing. Sign with one that is.", broken=True)
        ours = {x509.load_pem_x509_certificate(t.pem.encode()): t for t in trusted if "BEGIN CERTIFICATE" in t.pem}
        moment = leaf.not_valid_before_utc
        below, at = leaf, 0
        while True:
            if below in ours:
                return Found(ours[below], "")
            issuer = next((c for c in [*ours, *chain[1:]] if _issued(c, below, at, moment)), None)
            if issuer is None or at > len(chain):
                return Found(None, "No trusted certificate stands behind the one that made it. An administrator can add its root.")
            below, at = issuer, at + 1
    except (ValueError, TypeError, IndexError, KeyError, UnsupportedAlgorithm, binascii.Error):
        return Found(None, "Its certificates cannot be read. Sign the folder again.", broken=True)


def _issued(issuer: x509.Certificate, below: x509.Certificate, between: int, moment: datetime) -> bool:
    """Whether a certificate that may issue others, with so many between it and the signer's, issued this one."""
    if issuer == below:
        return False
    try:
        below.verify_directly_issued_by(issuer)
        limits = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
        # What is not understood here must not be passed over.
        known = (x509.BasicConstraints, x509.KeyUsage)
        understood = all(isinstance(e.value, known) or not e.critical for e in issuer.extensions)
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    deep_enough = limits.path_length is None or limits.path_length >= between
    holds = issuer.not_valid_before_utc <= moment <= issuer.not_valid_after_utc
    return limits.ca and usage.key_cert_sign and deep_enough and understood and holds


def _may_sign(leaf: x509.Certificate) -> bool:
    """Whether a certificate is for signing, and where it says for what, for signing code: one of a web server is not."""
    usage, purposes = (_extension(leaf, kind) for kind in (x509.KeyUsage, x509.ExtendedKeyUsage))
    if usage is not None and not usage.digital_signature:
        return False
    if purposes is not None:
        return x509.ExtendedKeyUsageOID.CODE_SIGNING in purposes
    return usage is not None


def _extension(certificate: x509.Certificate, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _curve(key: Any) -> str:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise ValueError("not a key of these curves")
    return key.curve.name


def _made(key: Any, signature: Mapping[str, Any]) -> bool:
    algorithm = HASHES[_curve(key)]
    digest = bytes.fromhex(signature["signed"][algorithm.name])
    try:
        key.verify(base64.b64decode(signature["signature"]), digest, ec.ECDSA(Prehashed(algorithm)))
    except InvalidSignature:
        return False
    return True
