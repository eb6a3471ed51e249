"""Secrets made on first start: passwords and ports (env.json) and signing keys, each readable by the owner only.

    python -m gatehouse_cli.keyring FOLDER      makes the keys of a production installation
"""

import base64
import hashlib
import json
import secrets
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gatehouse_cli.paths import DataDir
from gatehouse_cli.roles import LOGIN_ROLES
from gatehouse_cli.say import Refusal
from gatehouse_cli.services import write_secret

KEY_PURPOSES = ("order", "seal", "agent")


def load_or_make_env(data: DataDir) -> dict[str, Any]:
    """`env.json`: `{"secret_key", "passwords": {role: ...}, "valkey_password", "mlflow_token", "ports": {name: int}}`."""
    if data.env_file.exists():
        try:
            known: dict[str, Any] = json.loads(data.env_file.read_text())
        except ValueError as error:
            raise RuntimeError(f"{data.env_file} is not JSON. Restore it, or remove {data.root} to begin anew.") from error
    else:
        known = {}
    before = json.dumps(known, sort_keys=True)
    known.setdefault("secret_key", secrets.token_urlsafe(48))
    known.setdefault("valkey_password", secrets.token_urlsafe(24))
    known.setdefault("mlflow_token", secrets.token_urlsafe(24))
    passwords = known.setdefault("passwords", {})
    for role in ("postgres", *LOGIN_ROLES):
        passwords.setdefault(role, secrets.token_urlsafe(24))
    known.setdefault("ports", {})
    if json.dumps(known, sort_keys=True) != before:
        save_env(data, known)
    return known


def save_env(data: DataDir, env: dict[str, Any]) -> None:
    """Write env.json whole, 0600."""
    write_secret(data.env_file, json.dumps(env, indent=1, sort_keys=True) + "\n")


def public_key_entry(private: Ed25519PrivateKey, purpose: str) -> dict[str, str]:
    """`{"key_id", "public", "purpose"}` as every reader of public keys expects it."""
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {
        "key_id": hashlib.sha256(raw).hexdigest()[:16],
        "public": base64.b64encode(raw).decode(),
        "purpose": purpose,
    }


def private_key_path(data: DataDir, purpose: str) -> Path:
    """PEM (PKCS8) of the private key with this purpose."""
    return data.keys / f"{purpose}.pem"


def public_keys_path(data: DataDir, purpose: str) -> Path:
    """JSON `{"keys": [...]}` of the public key with this purpose."""
    return data.keys / f"{purpose}-public.json"


def ensure_keys(folder: Path) -> None:
    """Make the order, seal and agent keys that are missing in a folder; never replaces one. Raises Refusal for one that is not its public file's."""
    for purpose in KEY_PURPOSES:
        path = folder / f"{purpose}.pem"
        if path.exists():
            loaded = serialization.load_pem_private_key(path.read_bytes(), password=None)
            if not isinstance(loaded, Ed25519PrivateKey):
                raise RuntimeError(f"{path} is not an Ed25519 key. Restore the right one from a backup.")
            private = loaded
        else:
            private = Ed25519PrivateKey.generate()
            pem = private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_secret(path, pem.decode())
        path.chmod(0o600)
        public = folder / f"{purpose}-public.json"
        if not public.exists():
            made = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
            public.write_text(json.dumps({"keys": [public_key_entry(private, purpose) | {"created_at": made}]}, indent=1) + "\n")
        _check_listed(public, path, public_key_entry(private, purpose)["key_id"])


def _check_listed(public: Path, private: Path, key_id: str) -> None:
    """Others believe what the public file lists: registered with another key in it, a key that was thrown away would go on counting."""
    remedy = f"Put both files, {private.name} and {public.name}, there from one folder: of a backup, or a new empty one (python -m gatehouse_cli.keyring)."
    try:
        listed = [entry["key_id"] for entry in json.loads(public.read_text())["keys"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal(f"{public} is no file of public keys. {remedy}") from error
    if key_id not in listed:
        raise Refusal(f"{public} does not list key {key_id} of {private}. {remedy}")


@dataclass(frozen=True)
class KeyAge:
    """A key as doctor and `keys list` show it. `accepted_until` is None while it is the one that signs."""

    purpose: str
    key_id: str
    created_at: datetime | None
    accepted_until: datetime | None


def ages(folder: Path) -> list[KeyAge]:
    """Every public key in a folder, those that sign first. Files that are not there, or not ours, are left out."""
    found = []
    for purpose in KEY_PURPOSES:
        try:
            document = json.loads((folder / f"{purpose}-public.json").read_text())
            entries = [*document["keys"], *document.get("retired", [])]
            found += [KeyAge(purpose, e["key_id"], _moment(e.get("created_at")), _moment(e.get("accepted_until"))) for e in entries]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        ensure_keys(target)
    except Refusal as refusal:
        sys.exit(f"gatehouse: {refusal}")
