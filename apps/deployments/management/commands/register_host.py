"""Registers a serving host and the public key of its agent, or takes up the hand-over to its next one."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actor import Actor
from apps.core.doors import durable
from apps.core.errors import DomainError
from apps.deployments import services
from apps.deployments.models import Host
from celery_worker.orders import OrderRefused


class Command(BaseCommand):
    """Safe to repeat. The key file is the public one, `{"keys": [{"public": ..., "purpose": "agent"}]}`."""

    help = "Register a host: register_host --name local --public-key-file agent-public.json"

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--name", required=True)
        key = parser.add_mutually_exclusive_group(required=True)
        key.add_argument("--public-key", help="base64 of the 32 bytes of the agent's public key")
        key.add_argument("--public-key-file", type=Path, help="JSON file of public keys; its first of purpose 'agent' is taken, and the hand-overs in it")
        parser.add_argument("--overlap", type=float, default=0.0, help="hours in which reports that the old key signed still count (0)")
        parser.add_argument("--replace-key", action="store_true", help="the host was set up anew and has another key")

    def handle(self, *args: Any, **options: Any) -> None:
        """Register it and say under which key id."""
        try:
            key, handovers = (options["public_key"], []) if options["public_key"] else _read(options["public_key_file"])
            for handover in handovers:
                self._take(handover)
            host = self._register(options["name"], key, options["replace_key"], options["overlap"])
        except DomainError as error:
            raise CommandError(error.detail) from error
        self.stdout.write(f"{host.name} reports with key {host.key_id}")

    def _take(self, handover: Any) -> None:
        try:
            durable(services.take_handover)(handover=handover)
        except OrderRefused:
            # Its old key is not the registered one: a new host, or one that was set up anew. What follows says what to do.
            return

    @durable
    def _register(self, name: str, key: str, replace: bool, overlap: float) -> Host:
        return services.register_host(
            actor=Actor.system("command line"), name=name, public_key=key, replace_key=replace, overlap_hours=overlap
        )


def _read(path: Path) -> tuple[str, list[Any]]:
    """The host's public key, and the hand-overs that led to it."""
    try:
        document = json.loads(path.read_text())
        return str(next(e["public"] for e in document["keys"] if e.get("purpose") == "agent")), list(document.get("handovers", []))
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise CommandError(f"{path} is no file of public keys with one of purpose 'agent'.") from error
