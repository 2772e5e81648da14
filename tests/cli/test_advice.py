"""Advice in messages: every option and keyword that one names exists, and where is said."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import click
import pytest
from tests.test_bounds import settings_classes

import creditline as cl
from creditline import doctor, evaluation, methods
from creditline.cli import main
from creditline.cli.advice import OPTION, all_options, complete_advice
from creditline.cli.lazy import PATH

ROOT = Path(cl.__file__).parent.parent
FOREIGN = re.compile(r"(pip|ray|git|conda) [a-z]+[^`]*")
"""Commands of other programs, with their options."""
COMMAND = re.compile(r"creditline ([a-z][a-z-]*(?: [a-z][a-z-]*)?)`")
CALL = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\.\w+)*)\(")
KEYWORD = re.compile(r"(?<![\w.(])([a-z][a-z_]+)=(?=[ ,.)]|$)")


def context() -> click.Context:
    return click.Context(main, info_name="creditline")


def messages() -> list[tuple[str, str]]:
    """Place and text of every string in the sources that is no docstring."""
    listed = []
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        docstrings |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        inside = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        for node in ast.walk(tree):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "X" for p in node.values]
                listed.append((place, "".join(map(str, parts))))
            elif id(node) not in docstrings | inside and isinstance(node, ast.Constant):
                listed.append((place, str(node.value)))
    return listed


@pytest.mark.slow
def test_every_option_that_a_message_names_is_an_option_of_a_command():
    known = {option for _, options in all_options(main, context()) for option in options}
    known |= {"--debug", "--version", "--no-X"}
    unknown = [
        f"{place} {option}"
        for place, text in messages()
        for option in OPTION.findall(FOREIGN.sub("", text))
        if option not in known
    ]
    assert unknown == []


@pytest.mark.slow
def test_every_keyword_that_a_message_advises_is_one():
    known = {f.name for cls in settings_classes() for f in dataclasses.fields(cls)}
    functions = [cl.index, cl.open_index, cl.load_images, cl.load_model, cl.generate, cl.train]
    functions += [cl.Index.trace, cl.Index.extract, cl.Index.scores, cl.Index.search, cl.Runtime]
    for module in (evaluation, doctor):
        functions += [f for f in vars(module).values() if inspect.isfunction(f)]
    functions += [getattr(evaluation, name) for name in evaluation.__all__]
    for function in functions:
        if (callable(function) and not isinstance(function, type)) or function is cl.Runtime:
            known |= set(inspect.signature(function).parameters)
    unknown = [
        f"{place} {name}="
        for place, text in messages()
        for name in KEYWORD.findall(text)
        if "--" in text and name not in known
    ]
    assert unknown == []


def commands(group: click.Group) -> set[str]:
    """Paths of all commands and groups, such as `evaluate lds`."""
    paths = {path for path, _ in all_options(group, context())}
    return paths | {path.split()[0] for path in paths}


@pytest.mark.slow
def test_every_command_that_a_message_names_is_one():
    known = commands(main)
    unknown = [
        f"{place} creditline {name}"
        for place, text in messages()
        for name in COMMAND.findall(text)
        if name not in known and name.split()[0] not in known - {"evaluate"}
    ]
    assert unknown == []


@pytest.mark.slow
def test_every_call_that_a_message_advises_can_be_made():
    roots = {"creditline": cl, "ImageSet": cl.ImageSet, "Trace": cl.Trace, "Index": cl.Index}
    roots |= {name: getattr(evaluation, name) for name in evaluation.__all__}
    roots |= {name: getattr(methods, name) for name in methods.__all__}
    roots |= {name: getattr(cl, name) for name in cl.__all__}
    unknown = []
    for place, text in messages():
        for name in CALL.findall(text) if " " in text else ():
            root, *parts = name.split(".")
            value = roots.get(root)
            for part in parts:
                value = getattr(value, part, None)
            if root in roots and value is None:
                unknown.append(f"{place} {name}()")
    assert unknown == []


@pytest.mark.parametrize(
    ("command", "message", "note"),
    [
        ("trace", "Index with a smaller --dim.", "--dim is an option of `creditline index`."),
        ("trace", "Try --top 3.", ""),
        ("evaluate lds", "Give --ground-truth.", ""),
        ("info", "Say --no-keep.", "--no-keep is an option of `creditline trace`."),
        ("trace", "Run `creditline index` with --dim.", ""),
        ("trace", "See pip --nonsense.", ""),
        ("trace", "Nothing named.", ""),
    ],
)
def test_an_option_of_another_command_is_named_with_it(command, message, note):
    outer = context()
    outer.meta[PATH] = command
    assert complete_advice(message, main, outer) == f"{message} {note}".strip()


@pytest.mark.slow
def test_a_command_that_raises_advice_says_which_command_follows_it(refused, index, generated):
    message = refused("trace", index, generated, "--memory", "1000")
    assert "--memory" in message
    assert "--dim is an option of `creditline index`." in message
