"""Errors of libraries become ours, with the cause kept; others pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from creditline.errors import CreditlineError, DataError, ModelError, ResourceError, SettingsError
from creditline.explain import explain, explained


def raised(work) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the class is what is tested)
        work()
    return caught.value


def differentiate_in_inference_mode() -> None:
    with torch.inference_mode():
        layer = torch.nn.Linear(2, 1)
    layer(torch.ones(1, 2, requires_grad=True)).sum().backward()


@pytest.mark.parametrize(
    ("work", "kind"),
    [
        (lambda: np.empty(2**58, np.uint8), ResourceError),
        (lambda: torch.empty(2**55), ResourceError),
        (lambda: torch.empty(2**62, 2**10), ResourceError),
        (lambda: np.zeros((2**40, 2**40)), (SettingsError, ResourceError)),
        (lambda: torch.cat([torch.ones(1, 2, 4, 4), torch.ones(1, 2, 3, 3)], 1), ModelError),
        (lambda: torch.ones(2, 3) + torch.ones(2, 4), ModelError),
        (lambda: torch.empty(1, device="meta").to("cpu"), ModelError),
        (differentiate_in_inference_mode, SettingsError),
        (lambda: "\ud800".encode(), DataError),
        (lambda: torch.manual_seed(2**80), SettingsError),
    ],
)
def test_errors_that_a_mistake_causes_are_explained(work, kind):
    assert isinstance(explain(raised(work)), kind)


def test_too_deep_nesting_is_explained():
    assert isinstance(explain(RecursionError("maximum recursion depth")), DataError)


@pytest.mark.parametrize("error", [ZeroDivisionError(), IndexError("x"), RuntimeError("odd")])
def test_unexpected_errors_are_not_guessed_at(error):
    assert explain(error) is None


def test_an_explained_function_keeps_cause_name_and_our_own_errors():
    @explained
    def ask(error: Exception) -> None:
        """Ask."""
        raise error

    cause = MemoryError("11 TiB")
    with pytest.raises(ResourceError, match="11 TiB") as caught:
        ask(cause)
    assert caught.value.__cause__ is cause
    assert (ask.__name__, ask.__doc__) == ("ask", "Ask.")
    ours = CreditlineError("x")
    assert raised(lambda: ask(ours)) is ours
    assert isinstance(raised(lambda: ask(ZeroDivisionError())), ZeroDivisionError)


def test_gradients_in_inference_mode_are_refused():
    from creditline.diffusion.inference_mode import require_gradients

    with torch.inference_mode():
        layer = torch.nn.Linear(2, 1)
        with pytest.raises(SettingsError, match="outside of it"):
            require_gradients()
    with pytest.raises(SettingsError, match="Load it again"):
        require_gradients(layer)
    require_gradients(torch.nn.Linear(2, 1))
