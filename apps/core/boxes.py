"""Secrets that have to be read again (a webhook's key, a TOTP seed): kept encrypted under a key that is not in the database."""

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class BoxBroken(Exception):
    """The text was not made here under this key: GATEHOUSE_SECRET_KEY was changed, or the row was."""


def _box(purpose: str) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"gatehouse {purpose}".encode()).derive(settings.SECRET_KEY.encode())
    return Fernet(base64.urlsafe_b64encode(key))


def lock(secret: str, *, purpose: str) -> str:
    """Encrypted text of a secret (Fernet: AES-128-CBC with HMAC-SHA256). `purpose` separates the keys of different uses."""
    return _box(purpose).encrypt(secret.encode()).decode("ascii")


def unlock(text: str, *, purpose: str) -> str:
    """The secret; raises BoxBroken."""
    try:
        return _box(purpose).decrypt(text.encode("ascii")).decode()
    except (InvalidToken, ValueError) as error:
        raise BoxBroken(f"a {purpose} secret cannot be opened with this GATEHOUSE_SECRET_KEY") from error
