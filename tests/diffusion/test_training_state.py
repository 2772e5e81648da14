"""A training state comes back as it was saved, or not at all."""

from __future__ import annotations

import pytest
import torch

from creditline.diffusion.training_state import NAME, TrainingState
from creditline.errors import CreditlineError


def make(seed=0, ema=0.9, unused=False):
    torch.manual_seed(seed)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.SiLU(), torch.nn.Linear(4, 2))
    if unused:
        module.register_parameter("unused", torch.nn.Parameter(torch.ones(2)))
    return TrainingState(module, torch.optim.AdamW(module.parameters(), lr=0.1), ema)


def step(state, seed):
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
    state.optimizer.zero_grad()
    state.module(x).square().mean().backward()
    state.advance()


def everything(state):
    values = dict(state.module.named_parameters())
    return [
        *(p.detach().clone() for p in values.values()),
        *(value.clone() for value in state.average.values()),
        *(
            torch.as_tensor(moment).clone()
            for p in values.values()
            for moment in state.optimizer.state[p].values()
        ),
    ]


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("unused", [False, True])
def test_going_on_from_a_saved_state_is_going_on(tmp_path, ema, unused):
    reference = make(ema=ema, unused=unused)
    for i in range(3):
        step(reference, i)
    reference.scale = 8.0
    reference.save(tmp_path)
    other = make(seed=1, ema=ema, unused=unused)
    assert other.load(tmp_path)
    assert (other.step, other.scale) == (3, 8.0)
    for state in (reference, other):
        step(state, 3)
        step(state, 4)
    pairs = list(zip(everything(reference), everything(other), strict=True))
    assert len(pairs) >= 4 * (4 if ema else 3)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_before_the_first_step(tmp_path):
    first, second = make(), make(seed=1)
    assert not second.load(tmp_path)
    first.save(tmp_path)
    assert second.load(tmp_path)
    assert second.step == 0
    step(first, 0)
    step(second, 0)
    assert all(
        torch.equal(a, b) for a, b in zip(everything(first), everything(second), strict=True)
    )


def test_the_average_is_what_its_formula_says():
    state = make(ema=0.3)
    expected = {n: p.detach().clone() for n, p in state.module.named_parameters()}
    for i in range(6):
        step(state, i)
        decay = min(0.3, (i + 1) / (10 + i))
        for name, parameter in state.module.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * parameter.detach()
    for name, value in state.average.items():
        torch.testing.assert_close(value, expected[name])


def test_half_a_step_is_not_whole(monkeypatch):
    state = make()
    assert state.is_consistent
    monkeypatch.setattr(state.optimizer, "step", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        step(state, 0)
    assert not state.is_consistent
    monkeypatch.undo()
    step(state, 0)
    assert state.is_consistent


@pytest.mark.parametrize("keep", [0, 7, 200, -1])
def test_a_damaged_file_is_named(tmp_path, keep):
    state = make()
    step(state, 0)
    state.save(tmp_path)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CreditlineError, match=r"state\.safetensors is damaged.*Delete it"):
        make().load(tmp_path)


def test_a_state_of_another_network_is_refused(tmp_path):
    make().save(tmp_path)
    module = torch.nn.Linear(3, 4)
    other = TrainingState(module, torch.optim.AdamW(module.parameters()))
    with pytest.raises(CreditlineError, match="damaged"):
        other.load(tmp_path)


def test_a_failed_save_keeps_the_last_one(tmp_path, monkeypatch):
    from creditline.diffusion import training_state as module

    state = make()
    step(state, 0)
    state.save(tmp_path)
    before = (tmp_path / NAME).read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    step(state, 1)
    with pytest.raises(OSError, match="No space"):
        state.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).read_bytes() == before
