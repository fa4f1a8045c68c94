"""What `--help` says: every argument and option of every command, in words."""

from collections.abc import Iterator

import click
import pytest
import typer
from typer.testing import CliRunner

from silosynth.simulations import cli


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


def tree(app: typer.Typer) -> dict[str, click.Command]:
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    return {" ".join(path): command for path, command in commands(group)}


ALL = tree(cli.app)


@pytest.mark.parametrize("name", ALL)
def test_every_argument_and_option_is_explained(name):
    command = ALL[name]
    unexplained = [parameter.name for parameter in command.params if not getattr(parameter, "help", None)]
    assert (command.help, unexplained) == (command.help, [])
    assert command.help


def test_help_shows_what_an_argument_is():
    shown = CliRunner().invoke(cli.app, ["verify", "--help"], env={"COLUMNS": "160", "TERM": "dumb"})
    assert "or its .zip" in shown.output
