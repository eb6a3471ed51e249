"""The client's vocabulary against the portal's real addresses."""

from typing import Any

import pytest
from django.urls import Resolver404, resolve

from gatehouse_cli.client_commands import NOUNS, Command

SOME = "01900000-0000-7000-8000-000000000000"
ROWS = [pytest.param(command, id=f"{noun} {command.verb}") for noun, (_, commands) in NOUNS.items() for command in commands]


def view_of(path: str) -> Any:
    for values in ({"number": "1"}, {"number": "1", "ref": "slug"}):
        filled = path.format(**dict.fromkeys(("ref", "id", "name"), SOME) | values)
        try:
            return resolve(f"/api/v1/{filled}").func
        except Resolver404:
            continue
    pytest.fail(f"no view answers /api/v1/{path}")


@pytest.mark.parametrize("command", ROWS)
def test_every_command_names_an_operation_of_the_api(command: Command):
    view = view_of(command.path)
    allowed = getattr(view, "view_class", None) or view.cls
    assert hasattr(allowed, command.method.lower()), f"{command.method} {command.path}"
