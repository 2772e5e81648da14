"""Pipelines with damaged or invented settings, weights and tokenizers are refused, or used."""

from __future__ import annotations

import json
import random
import shutil
import struct

import pytest
import torch
from tests.mutate import count_refusals, mutate
from tests.tiny_pipelines import make

import creditline as cl

WRONG = (None, True, -1, 0, 1.5, 10**9, 10**30, float("nan"), "", "x", "../../x", "/etc/passwd")
WRONG += ([], [1], [[]], {}, {"a": 1}, "évil\u202e", "cuda", "float8", ["os", "system"], [None] * 3)
DTYPES = ("F64", "F16", "I64", "BOOL", "X", "", None, 5)


def change_json(data, rng):
    """Change, remove or add a value of a JSON file."""
    values = json.loads(data)
    place = values
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        if not isinstance(place[key], (dict, list)) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    action = rng.randrange(8)
    if action == 0:
        del place[key]
    elif action == 1 and isinstance(place, dict):
        place[rng.choice(("further", "_class_name", "auto_map", "a" * 5000))] = rng.choice(WRONG)
    else:
        place[key] = rng.choice(WRONG)
    return json.dumps(values).encode()


def change_header(data, rng):
    """Change the header of a safetensors file: lengths, types, shapes and places."""
    size = struct.unpack("<Q", data[:8])[0]
    header, rest = json.loads(data[8 : 8 + size]), data[8 + size :]
    name = rng.choice([key for key in header if key != "__metadata__"])
    action = rng.randrange(7)
    if action == 0:
        header[name]["dtype"] = rng.choice(DTYPES)
    elif action == 1:
        header[name]["shape"] = rng.choice(([], [0], [2**62, 2**62], [-1], "x", [1.5], None))
    elif action == 2:
        header[name]["data_offsets"] = rng.choice(([0, 0], [5, 1], [0, 2**63], [-1, 4], [], "x"))
    elif action == 3:
        header[rng.choice(("further", "", "../x", "a\u0000", name + ".x"))] = header[name]
    elif action == 4:
        header[rng.choice(("further", "conv_in.bias"))] = header.pop(name)
    elif action == 5:
        header["__metadata__"] = rng.choice(({"format": "tf"}, {"format": 5}, [], "x", {}))
    text = json.dumps(header).encode()
    length = rng.choice((0, 2**40, 2**63)) if action == 6 else len(text)
    return struct.pack("<Q", length) + text + rest


def damage(path, data, rng):
    if rng.random() < 0.25:
        return mutate(data, rng)
    if path.suffix == ".json":
        return change_json(data, rng)
    return change_header(data, rng) if path.suffix == ".safetensors" else mutate(data, rng)


def pipeline_refusals(captioned, tmp_path, n, seed=6):
    """Change files of a Stable Diffusion pipeline, one at a time, and index with it."""
    rng, place = random.Random(seed), tmp_path / "model"
    pipeline, images = make("sd"), captioned.subset([0, 1])
    pipeline.save_pretrained(place)
    shutil.rmtree(place / "unet")
    pipeline.unet.save_pretrained(place / "unet", max_shard_size="20KB")
    files = sorted(path for path in place.rglob("*") if path.is_file())
    assert any(path.name.endswith(".index.json") for path in files)
    intact = {path: path.read_bytes() for path in files}
    queue = [files[i % len(files)] for i in range(n)]
    last = [files[0]]

    def read(damaged):
        path = queue.pop(0)
        last[0].write_bytes(intact[last[0]])
        last[0] = path
        path.write_bytes(damaged)
        shutil.rmtree(tmp_path / "index", ignore_errors=True)
        settings = {"method": "trak", "timesteps": 1, "dim": 8, "halves": False}
        cl.index(str(place), images, out=tmp_path / "index", **settings)

    return count_refusals((damage(path, intact[path], rng) for path in list(queue)), read)


@pytest.mark.slow
def test_damaged_pipelines_are_refused_or_used(captioned, tmp_path):
    assert pipeline_refusals(captioned, tmp_path, 12) > 4


@pytest.mark.long
def test_a_thousand_damaged_pipelines_are_refused_or_used(captioned, tmp_path, capsys):
    torch.set_num_threads(1)
    refused = pipeline_refusals(captioned, tmp_path, 1000)
    with capsys.disabled():
        print(f"\n1000 pipelines, {refused} refused")
    assert refused > 400
