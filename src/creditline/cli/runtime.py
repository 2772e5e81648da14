"""Options that say where and how work runs, and the runtime that they make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from creditline.bounds import COUNT
from creditline.cli.options import NumberType
from creditline.runtime import Runtime
from creditline.runtime.executor import executor_names

F = TypeVar("F", bound=Callable[..., Any])


def device_option(command: F) -> F:
    """Decorate a command with `--device`."""
    return click.option(
        "--device",
        default="cpu",
        show_default=True,
        callback=_check_devices,
        help="cpu, cuda, mps, ...; several for as many workers: cuda:0,cuda:1",
    )(command)


def executor_options(command: F) -> F:
    """Decorate a command with `--workers`, `--executor` and `--ray-address`."""
    for option in (
        click.option("--ray-address", help="Ray cluster to join  [default: start one here]"),
        click.option(
            "--executor",
            help=f"what runs the workers: {', '.join(executor_names())}  "
            "[default: processes, or local for one worker]",
        ),
        click.option(
            "--workers",
            type=NumberType(COUNT),
            help="workers  [default: one per CPU core, or per GPU named]",
        ),
    ):
        command = option(command)
    return command


def runtime() -> Runtime:
    """Make the runtime that the options of the current command describe.

    Without `--workers` there is one worker for each CPU core, or for each device that is no CPU.
    """
    values = click.get_current_context().params
    workers, executor = values.get("workers"), values.get("executor")
    if "workers" in values and workers is None and executor != "local":
        import joblib

        workers = joblib.cpu_count() if values["device"] == "cpu" else None
    return Runtime(
        workers=workers,
        device=values["device"],
        executor=executor,
        ray_address=values.get("ray_address"),
        threads=values.get("threads"),
    )


def _check_devices(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuse a device that this machine does not have, before anything is loaded."""
    if value != "cpu":
        from creditline.diffusion.denoiser import find_device

        for device in Runtime(device=value).devices.devices:
            find_device(device)
    return value
