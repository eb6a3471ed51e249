"""The words of which the client's commands are made."""

import urllib.parse
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gatehouse_cli.client import Client


@dataclass(frozen=True)
class Option:
    """`--name VALUE`, sent as `key` of the body (or of the query, for a GET). `kind` turns the text into a value, `expand` the
    value into what is sent where one key is not enough."""

    name: str
    help: str
    key: str = ""
    kind: Callable[[str], Any] = str
    needed: bool = False
    choices: tuple[str, ...] = ()
    expand: Callable[[Client, Any], dict[str, Any]] | None = None

    @property
    def sent_as(self) -> str:
        """Its name in the body."""
        return self.key or self.name.replace("-", "_")


@dataclass(frozen=True)
class Command:
    """A verb. `path` holds the positional arguments in braces; `many` follows pages; `password` asks for one;
    `end_states` maps the values of `state` that end a `--wait` to exit codes."""

    verb: str
    method: str
    path: str
    help: str
    options: tuple[Option, ...] = ()
    many: bool = False
    password: bool = False
    document: bool = False
    end_states: dict[str, int] = field(default_factory=dict)
    # For --wait: where the thing is read again, `{id}` being the answer's.
    watch: str = ""
    # Sent with every call of this verb.
    fixed: dict[str, Any] = field(default_factory=dict)
    # Positional arguments that may be left out.
    optional: tuple[str, ...] = ()
    # For what is more than one call: does it all, returns exit code and what is printed.
    run: Callable[[Client, Namespace], tuple[int, Any]] | None = None

    @property
    def positionals(self) -> list[str]:
        """Names in braces, in order."""
        return [part.partition("}")[0] for part in self.path.split("{")[1:]]


def usecase_id(key: str) -> Callable[[Client, Any], dict[str, Any]]:
    """The trail knows use cases by id alone."""
    return lambda client, ref: {key: client.call("GET", f"usecases/{urllib.parse.quote(ref, safe='')}/")["id"]}
