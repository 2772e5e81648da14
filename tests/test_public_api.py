"""The public API: what `creditline` exports is lazy, documented and typed."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import types

import pytest

import creditline as cl

ANYTHING = {"Runtime.map"}  # hands over whatever its function takes
ALIASES = {"ImageSource", "ModelSource"}
OBJECTS = {name: getattr(cl, name) for name in cl.__all__ if name != "__version__"}
FUNCTIONS = {name: x for name, x in OBJECTS.items() if inspect.isfunction(x)}
CLASSES = {name: x for name, x in OBJECTS.items() if inspect.isclass(x)}
METHODS = {
    f"{name}.{method}": x
    for name, cls in CLASSES.items()
    for method, x in inspect.getmembers(cls, callable)
    if not method.startswith("_") and getattr(x, "__module__", "").startswith("creditline")
}


def test_importing_the_package_imports_no_heavy_library():
    heavy = ("torch", "diffusers", "numpy", "pandas", "lance", "PIL")
    code = f"import sys, creditline; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_listed_and_reachable():
    assert set(dir(cl)) == set(cl.__all__)
    assert cl.__all__ == sorted(cl.__all__)
    kinds = (types.FunctionType, type, types.ModuleType)
    assert {name for name, x in OBJECTS.items() if not isinstance(x, kinds)} == ALIASES
    with pytest.raises(AttributeError, match="no attribute 'indexx'"):
        cl.indexx  # noqa: B018


@pytest.mark.parametrize("name", sorted({*OBJECTS, *METHODS} - ALIASES))
def test_every_name_is_documented(name):
    text = inspect.getdoc({**OBJECTS, **METHODS}[name]) or ""
    assert len(text.splitlines()[0]) > 10 if text else False


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_document_arguments_and_errors(name):
    text = inspect.getdoc(FUNCTIONS[name])
    for section in ("Args:", "Returns:", "Raises:"):
        assert section in text
    for parameter in inspect.signature(FUNCTIONS[name]).parameters:
        assert re.search(rf"\b{parameter}\b", text), parameter


@pytest.mark.parametrize("name", sorted({*FUNCTIONS, *METHODS} - ANYTHING))
def test_inputs_are_typed(name):
    """No input is a bare `Any`, except settings by name, which the method's class checks."""
    for parameter in inspect.signature({**FUNCTIONS, **METHODS}[name]).parameters.values():
        if parameter.name in ("self", "cls") or parameter.kind is parameter.VAR_KEYWORD:
            continue
        assert parameter.annotation not in (inspect.Parameter.empty, "Any", "Any | None"), parameter
