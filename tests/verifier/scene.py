"""A sealed trail and the means of an attacker: superuser of the database, perhaps with the sealing key; never where the witness is."""

import io
import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import connections

from apps.audit.gateways.witness import FileWitness
from apps.audit.seal import Sealer
from apps.audit.sealing import leaf_hash, public_key_document, read_checkpoint, sign_checkpoint
from apps.core.actor import Actor
from gatehouse_cli.postgres import wheel_bin
from tests.audit.conftest import TABLES, settle, url_of

EVENTS = "events.jsonl"


@dataclass
class Scene:
    """Twelve events under three checkpoints, all witnessed."""

    connection: Any
    superuser_url: str
    sealer: Sealer
    seal_key: Ed25519PrivateKey
    happen: Callable[..., list[Any]]
    folder: Path
    witness: Path
    trail: list[Any] = field(default_factory=list)
    # What the verifier is asked about, when it is not the database.
    bundle: Path | None = None

    def begin(self) -> None:
        """Let the events happen, and keep the copies that an auditor keeps; an older copy of the database is the attacker's."""
        self.folder.mkdir()
        for number in range(3):
            self.trail += self.happen(4, reason="as it was")
            settle(self.sealer)
            if number == 1:
                self.older = self._copied()
        (self.folder / "auditors-key.json").write_text((self.witness / "seal-public-key.json").read_text())

    @property
    def subject(self) -> list[str]:
        """What the verifier is to look at, and whose signatures it is to believe."""
        what = ["--bundle", str(self.bundle)] if self.bundle else ["--database-url", url_of(self.connection), "--wait", "0"]
        return [*what, "--public-key", str(self.folder / "auditors-key.json")]

    # the attacker's means

    def sql(self, *statements: str) -> None:
        """As superuser, triggers out of the way and left so."""
        with psycopg.connect(self.superuser_url) as conn:
            for table in TABLES:
                conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
            for statement in statements:
                conn.execute(statement.replace("{database}", self._name))  # type: ignore[arg-type]

    def behind_the_triggers(self, statement: str) -> None:
        """Neither being superuser nor being a replica is enough; switching triggers off is, and leaves no trace when they are on again."""
        for before in ("SELECT 1", "SET session_replication_role = replica"):
            with psycopg.connect(self.superuser_url) as conn:
                conn.execute(before)  # type: ignore[arg-type]
                try:
                    conn.execute(statement)  # type: ignore[arg-type]
                except psycopg.errors.InsufficientPrivilege:
                    continue
            raise AssertionError("the triggers let it through")
        with psycopg.connect(self.superuser_url) as conn:
            conn.execute("ALTER TABLE audit_event DISABLE TRIGGER ALL")
            conn.execute(statement)  # type: ignore[arg-type]
            for trigger in ("audit_event_append_only", "audit_event_true"):
                conn.execute(f"ALTER TABLE audit_event ENABLE ALWAYS TRIGGER {trigger}")  # type: ignore[arg-type]

    def another_key(self) -> Ed25519PrivateKey:
        """A key that nobody knows."""
        return Ed25519PrivateKey.generate()

    def seal_again(self, key: Ed25519PrivateKey, *, replace_witness: bool = False) -> None:
        """Seal what the tables hold now, with a witness of the thief's own."""
        thiefs = self.folder / "thief"
        sealer = Sealer(private_key=key, origin=self.sealer.origin, witnesses=[FileWitness(thiefs)])
        sealer.start()
        settle(sealer)
        for name in ("latest", "checkpoints.jsonl", "seal-public-key.json") if replace_witness else ():
            (self.witness / name).write_text((thiefs / name).read_text())

    def hide_an_event(self) -> None:
        """An event under a transaction id that the sealer has passed long ago."""
        (event,) = self.happen(1)
        self.sql(f"UPDATE audit_event SET xid = '3' WHERE id = '{event.id}'")
        assert self.sealer.seal() == 0

    def change_before_the_seal(self) -> None:
        """An event that nobody has signed for yet."""
        (event,) = self.happen(1, reason="as it was")
        self.sql(f"UPDATE audit_event SET payload = replace(payload, 'as it was', 'as we like') WHERE id = '{event.id}'")
        settle(self.sealer)

    def invent_an_event(self) -> None:
        """As the application's role may."""
        text = self.trail[0].payload.replace(str(self.trail[0].id), "01900000-0000-7000-8000-00000000dead")
        with psycopg.connect(url_of(self.connection, os.environ["GATEHOUSE_WEB_DATABASE_URL"])) as conn:
            conn.execute("INSERT INTO audit_event (id, payload) VALUES ('01900000-0000-7000-8000-00000000dead', %s)", [text])
        settle(self.sealer)

    # copies of the database

    @property
    def _name(self) -> str:
        return str(self.connection.settings_dict["NAME"])

    def _server(self) -> Any:
        """The superuser, outside the database in question."""
        connections.close_all()
        return psycopg.connect(urlunsplit(urlsplit(self.superuser_url)._replace(path="/postgres")), autocommit=True)

    def _copied(self) -> str:
        name = f"{self._name}_older"
        with self._server() as conn:
            conn.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._name}" OWNER "{self.connection.settings_dict["USER"]}"')
        return name

    def _put_in_place(self, name: str) -> None:
        with self._server() as conn:
            conn.execute(f'DROP DATABASE "{self._name}" WITH (FORCE)')
            conn.execute(f'ALTER DATABASE "{name}" RENAME TO "{self._name}"')

    def restore_older_copy(self) -> None:
        """As it was after eight events."""
        self._put_in_place(self.older)

    def restore_rewritten_dump(self) -> None:
        """Everything out, one reason changed, the seal left out, everything in again."""
        connections.close_all()
        dumped = subprocess.run(
            [str(wheel_bin() / "pg_dump"), "--exclude-table-data=audit_leaf", "--exclude-table-data=audit_subtree",
             "--exclude-table-data=audit_checkpoint", self.superuser_url], capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert dumped.count('"reason":"as it was"') == 12
        name = f"{self._name}_rewritten"
        with self._server() as conn:
            conn.execute(f'CREATE DATABASE "{name}" OWNER "{self.connection.settings_dict["USER"]}" TEMPLATE template0')
        url = urlunsplit(urlsplit(self.superuser_url)._replace(path=f"/{name}"))
        subprocess.run(
            [str(wheel_bin() / "psql"), "--quiet", "--set=ON_ERROR_STOP=1", url],
            input=dumped.replace('"reason":"as it was"', '"reason":"as we like"', 1), capture_output=True, text=True, check=True,
        )  # fmt: skip
        self._put_in_place(name)

    def tidy(self) -> None:
        """Drop the attacker's copies."""
        with self._server() as conn:
            for name in (f"{self._name}_older", f"{self._name}_rewritten"):
                conn.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    # exports

    def _honest(self, usecase_id: str | None = None) -> dict[str, bytes]:
        from apps.audit.services import export

        target = io.BytesIO()
        export(actor=Actor.system("tests"), target=target, usecase_id=usecase_id)
        with zipfile.ZipFile(target) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def _write(self, files: dict[str, bytes]) -> None:
        manifest = json.loads(files["manifest.json"])
        manifest["events"] = files[EVENTS].count(b"\n")
        manifest["files"] = {name: sha256(files[name]).hexdigest() for name in manifest["files"]}
        self.bundle = self.folder / "export.zip"
        with zipfile.ZipFile(self.bundle, "w") as archive:
            for name, data in (files | {"manifest.json": json.dumps(manifest).encode()}).items():
                archive.writestr(name, data)

    def export(self, *, changed: int | None = None, without: int | None = None, key: Ed25519PrivateKey | None = None) -> None:
        """The whole trail with one event changed or left out, and a manifest that agrees."""
        files = self._honest()
        lines = files[EVENTS].splitlines()
        if changed is not None:
            lines[changed] = lines[changed].replace(b"as it was", b"as we like")
        if without is not None:
            del lines[without]
        files[EVENTS] = b"".join(line + b"\n" for line in lines)
        if key:
            from apps.audit.sealing import Frontier

            tree, was = Frontier(), read_checkpoint(files["checkpoint"].decode(), [self.seal_key.public_key()])
            for line in lines:
                tree.append(leaf_hash(line.decode()))
            signed = sign_checkpoint(origin=was.origin, tree_size=tree.size, root=tree.root(), sealed_at=was.sealed_at, private_key=key)
            files |= {
                "checkpoint": signed.note.encode(),
                "seal-public-key.json": json.dumps(public_key_document([key.public_key()])).encode(),
            }
        self._write(files)

    def export_part(self, *, without: int) -> None:
        """The events of one use case but one."""
        usecase = "01900000-0000-7000-8000-0000000000aa"
        self.happen(7, usecase_id=usecase)
        settle(self.sealer)
        files = self._honest(usecase)
        for name in (EVENTS, "proofs.jsonl"):
            lines = files[name].splitlines(keepends=True)
            files[name] = b"".join(lines[:without] + lines[without + 1 :])
        self._write(files)
