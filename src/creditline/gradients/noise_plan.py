"""The noise plan: the timesteps and the noise of each image.

Every random number is a function of (seed, role, image id, timestep, draw) through a counter-based
generator, so a feature does not depend on batch size, order, process or device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditline.bounds import COUNT, DRAWS, SEED
from creditline.errors import SettingsError
from creditline.fingerprint import key64
from creditline.settings import require, setting, validate_settings

Role = Literal["train", "query"]
"""Whether an image is a training image or a query image."""

Reduction = Literal["mean", "timesteps", "halves"]
"""What the evaluations of an image are averaged to: one gradient, one for each timestep, or one for
each of two halves that share no noise."""


@dataclass(frozen=True)
class NoisePlan:
    """Timesteps and noise draws of training images or of queries.

    Schedules over a process of `T` timesteps, `t` of which are used:

    - `uniform`: `0, T/t, 2T/t, ...`; without zero each is moved to the end of its interval,
      `T/t - 1, 2T/t - 1, ..., T - 1`.
    - `cumulative`: `0 .. t-1`, or `1 .. t` without zero.
    - `random`: `t` independent uniform timesteps per image.
    - `trajectory`: the sampler's own steps, with the predicted x0 of each step as the image
      (Journey-TRAK); queries only.

    Raises:
        SettingsError: on an unknown schedule or counts below 1.
    """

    schedule: Literal["uniform", "cumulative", "random", "trajectory"] = setting(
        "uniform", "how timesteps are chosen"
    )
    timesteps: int = setting(10, "timesteps per image", bounds=COUNT)
    include_zero: bool = setting(True, "let the timestep grid start at 0")
    draws: int = setting(1, "independent noise draws per timestep", bounds=DRAWS)
    noise_seed: int = setting(0, "seed of the noise (and of random timesteps)", bounds=SEED)
    shared_noise: bool = setting(
        False, "one noise per timestep for all images, training and query alike"
    )

    def __post_init__(self) -> None:
        validate_settings(self)

    @property
    def evaluations(self) -> int:
        """Forward and backward passes per image, `t * r`."""
        return self.timesteps * self.draws

    def grid(self, n_timesteps: int, role: Role, image_id: str) -> np.ndarray:
        """Return the timesteps of one image, int64 of shape `(t,)`.

        Args:
            n_timesteps: timesteps `T` of the process.
            role: training images and queries have independent random timesteps.
            image_id: content hash of the image.

        Raises:
            SettingsError: if more timesteps are asked for than the process has, or the schedule
                takes its timesteps from a trajectory.
        """
        t, first = self.timesteps, 0 if self.include_zero else 1
        available = n_timesteps - (first if self.schedule == "cumulative" else 0)
        require(
            t <= available,
            f"A {self.schedule} plan of a process with {n_timesteps} timesteps has at most "
            f"{available}",
            t,
            f"Ask for at most {available} timesteps.",
        )
        if self.schedule == "uniform":
            steps = np.arange(t, dtype=np.int64)
            if self.include_zero:
                return steps * n_timesteps // t
            return (steps + 1) * n_timesteps // t - 1
        if self.schedule == "cumulative":
            return np.arange(first, first + t, dtype=np.int64)
        if self.schedule == "random":
            key = key64("timesteps", self.noise_seed, role, "" if self.shared_noise else image_id)
            return np.random.Generator(np.random.Philox(key=key)).integers(first, n_timesteps, t)
        raise SettingsError(
            "A trajectory plan takes its timesteps from a recorded trajectory, and none was given. "
            "Generate with --trajectory and pass the trajectory with the query."
        )

    def noise(
        self, steps: Sequence[int] | np.ndarray, shape: tuple[int, ...], role: Role, image_id: str
    ) -> np.ndarray:
        """Draw standard normal noise of one image, float32 of shape `(t, r, *shape)`.

        Repeated timesteps (a random plan may repeat one) get independent noise.
        """
        owner = ("shared",) if self.shared_noise else (role, image_id)
        key = key64("noise", self.noise_seed, *owner)
        noise = np.empty((len(steps), self.draws, *shape), dtype=np.float32)
        seen: dict[int, int] = {}
        for i, step in enumerate(int(s) for s in steps):
            repeat = seen[step] = seen.get(step, -1) + 1
            for draw in range(self.draws):
                counter = np.array([0, repeat, draw, step], dtype=np.uint64)
                stream = np.random.Philox(key=key, counter=counter)
                np.random.Generator(stream).standard_normal(out=noise[i, draw], dtype=np.float32)
        return noise
