"""Registers a serving host and the public key of its agent."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actor import Actor
from apps.core.doors import durable
from apps.core.errors import DomainError
from apps.deployments import services
from apps.deployments.models import Host


class Command(BaseCommand):
    """Safe to repeat. The key file is the public one, `{"keys": [{"public": ..., "purpose": "agent"}]}`."""

    help = "Register a host: register_host --name local --public-key-file agent-public.json"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--name", required=True)
        key = parser.add_mutually_exclusive_group(required=True)
        key.add_argument("--public-key", help="base64 of the 32 bytes of the agent's public key")
        key.add_argument("--public-key-file", type=Path, help="JSON file of public keys; its first of purpose 'agent' is taken")
        parser.add_argument("--overlap", type=float, default=0.0, help="hours in which reports that the old key signed still count (0)")
        parser.add_argument("--replace-key", action="store_true", help="the host was set up anew and has another key")

    def handle(self, *args: Any, **options: Any) -> None:
        """Register it and say under which key id."""
        try:
            key = options["public_key"] or _read(options["public_key_file"])
            host = self._register(options["name"], key, options["replace_key"], options["overlap"])
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{host.name} reports with key {host.key_id}")

    @durable
    def _register(self, name: str, key: str, replace: bool, overlap: float) -> Host:
        return services.register_host(
            actor=Actor.system("command line"), name=name, public_key=key, replace_key=replace, overlap_hours=overlap
        )


def _read(path: Path) -> str:
    try:
        entries = json.loads(path.read_text())["keys"]
        return str(next(e["public"] for e in entries if e.get("purpose") == "agent"))
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise CommandError(f"{path} is no file of public keys with one of purpose 'agent'.") from error
