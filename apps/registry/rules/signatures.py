"""Signatures in OpenSSF's model-signing format: read with the files, judged against the keys that are trusted now. Pure.

A signature is a Sigstore bundle (`model.sig`) around an in-toto statement that lists the digest of each file
(https://github.com/sigstore/model-transparency, predicate https://model_signing/signature/v1.0). What is signed is DSSE's encoding of
the statement (https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md) with ECDSA on P-256, P-384 or P-521. `read` keeps its
digests, so that `judge` needs no file: a key that is trusted or retired later changes the answer at once.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from apps.registry.rules import signing_keys
from apps.registry.rules.signing_keys import Judged, Trusted

NAMES = ("model.sig", "claims.jsonl", "model.sigstore.json", "model.sigstore")
PREDICATES = ("https://model_signing/signature/v1.0",)
PAYLOAD_TYPE, STATEMENT_TYPE = "application/vnd.in-toto+json", "https://in-toto.io/Statement/v1"
MOST_BYTES, MOST_CERTIFICATES, MOST_CERTIFICATE_CHARACTERS = 20_000_000, 6, 16_000
MOST_NAMED = 50
STATES = ("verified", "partly", "differs", "invalid", "unknown", "unreadable", "none")


def signature_file(paths: Any) -> str:
    """The path of a signature among a version's files, or "". The one that lies highest covers most."""
    found = [p for p in paths if p.rsplit("/", 1)[-1] in NAMES]
    return min(found, key=lambda p: (p.count("/"), p), default="")


def read(text: str, path: str, files: Mapping[str, str]) -> dict[str, Any]:
    """{"state": "present" | "unreadable", ...} of a bundle. files: path -> SHA-256 in hex, of the version as it was digested.

    Of a present one: predicate; key (the hint of a public key, "certificate" or "keyless"); listed, differing (paths whose digest is
    another or cannot be compared) and unlisted (files the signature says nothing of), each with its number; sound (the statement's own
    digest agrees with its list); and what `judge` needs: signature, signed (digests of what was signed), chain.
    """
    unreadable = {"state": "unreadable", "path": path}
    try:
        bundle = json.loads(text)
        envelope, material = bundle["dsseEnvelope"], bundle.get("verificationMaterial") or {}
        payload = base64.b64decode(envelope["payload"], validate=True)
        statement = json.loads(payload)
        predicate = str(statement["predicateType"])
        resources = statement["predicate"]["resources"] if predicate in PREDICATES else statement["subject"]
        folder = path.rpartition("/")[0]
        listed = {f"{folder}/{r['name']}".lstrip("/"): _digest(r) for r in resources}
        signature, signatures = str(envelope["signatures"][0]["sig"])[:400], len(envelope["signatures"])
        base64.b64decode(signature, validate=True)
        chain = [str(c["rawBytes"]) for c in (material.get("x509CertificateChain") or {}).get("certificates", [])]
        hint = str((material.get("publicKey") or {}).get("hint") or "")
        sound = (
            envelope["payloadType"] == PAYLOAD_TYPE and statement["_type"] == STATEMENT_TYPE and len(listed) == len(resources)
            and predicate in PREDICATES and _root(resources) == statement["subject"][0]["digest"]["sha256"]
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, binascii.Error, RecursionError):
        return unreadable
    if len(chain) > MOST_CERTIFICATES or any(len(c) > MOST_CERTIFICATE_CHARACTERS for c in chain):
        return unreadable
    differing = sorted(p for p, d in listed.items() if files.get(p) != d)
    unlisted = sorted(set(files) - set(listed) - {path})
    return {
        "state": "present", "path": path, "predicate": predicate[:200], "signatures": signatures, "sound": sound, "listed": len(listed),
        "key": "certificate" if chain else "keyless" if "certificate" in material else hint[:200],
        "differing": differing[:MOST_NAMED], "differs": len(differing), "unlisted": unlisted[:MOST_NAMED], "unsaid": len(unlisted),
        "signature": signature, "signed": _signed(payload), "chain": chain,
    }  # fmt: skip


def judge(signature: Mapping[str, Any], trusted: Iterable[Trusted]) -> Judged:
    """What a signature, as `read` kept it, is worth with these keys: one of STATES, in words, and the key that made it.

    partly: a trusted key signed, and said nothing of some files. unknown: none of the keys made it. invalid: it names a trusted key, which
    did not make it, or it is not sound in itself.
    """
    state = signature.get("state", "none")
    if state == "none":
        return Judged("none", "No signature is among the files.")
    if state == "present" and "signed" not in signature:
        return Judged("unknown", "It was read before signatures were verified here. Ask for a scan.")
    if state != "present":
        return Judged(
            "unreadable", f"{signature.get('path', 'The signature')} cannot be read as a signature of models. Sign the folder again."
        )
    if signature["key"] == "keyless":
        return Judged(
            "unknown", "It was made without a key of its own (Sigstore's identities), which is not verified here. Sign with a key."
        )
    found = signing_keys.signer(signature, list(trusted))
    if found.key is None:
        return Judged("invalid" if found.broken else "unknown", found.words)
    name = found.key.name
    if not signature["sound"]:
        return Judged("invalid", f"{name} signed a statement that does not agree with itself. Sign the folder again.", name)
    if signature["differs"]:
        first = signature["differing"][0]
        return Judged(
            "differs", f"{name} signed other files: {signature['differs']} of {signature['listed']} differ, such as {first}.", name
        )
    if signature["unsaid"]:
        first = signature["unlisted"][0]
        return Judged(
            "partly", f"{name} signed {signature['listed']} files and says nothing of {signature['unsaid']}, such as {first}.", name
        )
    return Judged("verified", f"{name} signed all {signature['listed']} files, and they are as they were signed.", name)


def _signed(payload: bytes) -> dict[str, str]:
    """Digests of what DSSE signs, one for each curve."""
    encoded = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    return {name: hashlib.new(name, encoded).hexdigest() for name in ("sha256", "sha384", "sha512")}


def _root(resources: Any) -> str:
    """The statement's digest of its list: over the digests, in their order."""
    return hashlib.sha256(b"".join(bytes.fromhex(str(r["digest"])) for r in resources)).hexdigest()


def _digest(resource: Mapping[str, Any]) -> str:
    digest = resource["digest"]
    if isinstance(digest, Mapping):
        return str(digest.get("sha256", ""))
    return str(digest) if str(resource.get("algorithm", "sha256")) == "sha256" else ""
