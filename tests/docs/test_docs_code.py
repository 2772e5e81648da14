"""Code and commands on the pages of the docs run."""

from __future__ import annotations

import click
import pytest
from tests.docs.blocks import PAGES, blocks, command_lines, page_module, run

from creditline.cli import main


def runnable(page: str) -> bool:
    return any(block.reason is None for block in blocks(page))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)])
def test_blocks_run_in_order(page, workspace):
    module = page_module(page)
    for block in blocks(page):
        if block.reason is None:
            run(block, module)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page):
    for line in command_lines(page):
        tokens, command = line.split()[1:], main
        context = click.Context(command)
        while isinstance(command, click.Group) and tokens:
            name, *tokens = tokens
            subcommand = command.get_command(context, name)
            assert subcommand is not None, f"{page}: {line}: there is no command {name}"
            command = subcommand
        options = {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
        for token in tokens:
            if token.startswith("-"):
                assert token in options | {"--help"}, f"{page}: {line}: there is no option {token}"


def test_a_block_that_is_skipped_has_a_reason():
    reasons = [block.reason for page in PAGES for block in blocks(page) if block.reason]
    assert reasons
    assert all(len(reason.split()) >= 1 for reason in reasons)
