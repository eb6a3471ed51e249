"""The `seal` process: runs until it is told to stop."""

import json
import logging
import os
import signal
import stat
import threading
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.audit.gateways.witness import FileWitness, WitnessConflict
from apps.audit.seal import INTERVAL_S, Sealer, SealRefused
from apps.audit.sealing import SealBroken, read_public_keys

log = logging.getLogger(__name__)


def load_seal_key(path: str) -> Ed25519PrivateKey:
    """The sealing key (PEM, PKCS 8); refuses a file that others may read."""
    if not path:
        raise CommandError("GATEHOUSE_SEAL_KEY is not set. Only the seal process has it; ./gatehouse makes one at the first start.")
    try:
        with Path(path).open("rb") as handle:
            if stat.S_IMODE(os.fstat(handle.fileno()).st_mode) & 0o077:
                raise CommandError(f"{path} can be read by others. Run chmod 600 on it.")
            key = load_pem_private_key(handle.read(), password=None)
    except OSError as error:
        raise CommandError(f"The sealing key cannot be read: {error.strerror} ({path}). Point GATEHOUSE_SEAL_KEY at it.") from error
    except ValueError as error:
        raise CommandError(f"{path} is not a PEM private key.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise CommandError(f"{path} is not an Ed25519 key.")
    return key


def known_keys(path: str) -> list[Ed25519PublicKey]:
    """The public sealing keys of the installation, retired ones too; none when the file is not there."""
    if not path or not Path(path).exists():
        return []
    try:
        return read_public_keys(json.loads(Path(path).read_text()))
    except (OSError, ValueError, SealBroken) as error:
        raise CommandError(f"{path} cannot be used: {error}") from error


class Command(BaseCommand):
    """Runs under the database role gatehouse_seal, the only one that may write leaves and checkpoints."""

    help = "Seal the audit trail: number committed events, sign checkpoints, hand them to the witnesses."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Offer one round for scripts."""
        parser.add_argument("--once", action="store_true", help="seal what is ready, then end")
        parser.add_argument("--interval", type=float, default=INTERVAL_S, metavar="SECONDS", help="pause between rounds")

    def handle(self, *args: Any, **options: Any) -> None:
        """Seal until SIGTERM or SIGINT."""
        sealer = Sealer(
            private_key=load_seal_key(settings.SEAL_KEY),
            keys=known_keys(settings.SEAL_PUBLIC_KEY),
            origin=settings.SEAL_ORIGIN,
            witnesses=[FileWitness(Path(settings.WITNESS_DIR))],
        )
        try:
            if options["once"]:
                sealer.start()
                self.stdout.write(f"sealed {sealer.seal()} events")
                return
            stop = threading.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stop.set())
            sealer.run(stop, interval_s=options["interval"])
        except (SealRefused, WitnessConflict, SealBroken) as error:
            log.critical("sealing is refused", extra={"event": {"error": str(error)}})
            raise CommandError(str(error)) from error
