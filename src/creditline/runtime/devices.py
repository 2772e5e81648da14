"""Which device each worker computes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from creditline.errors import SettingsError
from creditline.settings import require

T = TypeVar("T")


@dataclass(frozen=True)
class DeviceMap:
    """One device for each worker.

    Attributes:
        devices: names such as `"cpu"` or `"cuda:0"`; worker `i` uses `devices[i]`.
    """

    devices: tuple[str, ...] = ("cpu",)

    @classmethod
    def parse(cls, device: str, workers: int | None = None) -> DeviceMap:
        """Share devices out among workers, in turn.

        Args:
            device: one name, or several with commas between them: `"cuda:0,cuda:1"`.
            workers: number of workers; one for each device by default.

        Raises:
            SettingsError: if a name is empty, or there are fewer workers than devices or than 1.
        """
        names = tuple(name.strip() for name in device.split(","))
        if not all(names):
            raise SettingsError(
                f"A device has no name in {device!r}. Give names with commas between them, such "
                "as cuda:0,cuda:1."
            )
        workers = len(names) if workers is None else workers
        require(workers >= 1, "The number of workers must be at least 1", workers, "Use 1 or more.")
        require(
            workers >= len(names),
            f"{len(names)} devices need as many workers",
            workers,
            "Use more workers or name fewer devices.",
        )
        return cls(tuple(names[i % len(names)] for i in range(workers)))

    @property
    def workers(self) -> int:
        """The number of workers."""
        return len(self.devices)

    @property
    def first(self) -> str:
        """The device of the first worker, where models are loaded."""
        return self.devices[0]

    @property
    def is_uniform(self) -> bool:
        """Whether all workers share one device."""
        return len(set(self.devices)) == 1

    def target(self, worker: int) -> str | None:
        """Return the device that a worker moves the shared object to.

        Args:
            worker: its number; replacements of a killed worker may count on.

        Returns:
            None where all workers share one device: the object stays where the caller loaded it.
        """
        return None if self.is_uniform else self.devices[worker % len(self.devices)]


@runtime_checkable
class Placeable(Protocol):
    """A shared object that can compute on another device."""

    def to_device(self, device: str) -> Self:
        """Return this object, or a copy of it, on a device."""
        ...


def place(shared: T, device: str | None) -> T:
    """Move an object to a device, if it is `Placeable`; None leaves it where it is."""
    if device is None or not isinstance(shared, Placeable):
        return shared
    moved: Any = shared.to_device(device)
    return moved
