"""A runtime checks its settings before any work, and hands devices to workers in turn."""

from __future__ import annotations

import pytest
import torch

from creditline.errors import SettingsError
from creditline.runtime import DeviceMap, Runtime
from creditline.runtime.devices import place
from creditline.runtime.threads import cpu_threads, single_thread


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"workers": -1}, "workers must be at least 1; got -1"),
        ({"threads": 0}, "threads must be at least 1; got 0"),
        ({"device": "cuda:0,"}, "A device has no name"),
        ({"device": "cuda:0,cuda:1", "workers": 1}, "2 devices need as many workers; got 1"),
        ({"executor": "process"}, "Unknown executor 'process'. Did you mean 'processes'"),
        ({"executor": "local", "workers": 2}, "The local executor has one worker; got 2"),
        ({"ray_address": "auto"}, "ray_address is for executor='ray'"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        Runtime(**settings)


def test_devices_are_shared_out_in_turn():
    assert DeviceMap.parse("cpu").devices == ("cpu",)
    assert DeviceMap.parse("cuda:0, cuda:1").devices == ("cuda:0", "cuda:1")
    assert DeviceMap.parse("cuda:0,cuda:1", 3).devices == ("cuda:0", "cuda:1", "cuda:0")
    assert Runtime(device="cuda:1,cuda:0").main_device == "cuda:1"


def test_workers_move_objects_only_where_devices_differ():
    assert DeviceMap.parse("cuda:0", 2).target(1) is None
    assert DeviceMap.parse("cuda:0,cuda:1").target(1) == "cuda:1"
    assert DeviceMap.parse("cuda:0,cuda:1").target(2) == "cuda:0"  # replaces a killed worker
    plain = [1, 2]
    assert place(plain, "cuda:1") is plain


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    with cpu_threads(3):
        assert torch.get_num_threads() == 3
        with single_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        with cpu_threads(None):
            assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
