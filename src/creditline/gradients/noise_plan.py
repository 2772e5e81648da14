"""The noise plan: the timesteps and the noise of each image.

Every random number is a function of (seed, role, image id, timestep, draw) through a counter-based
generator, so a feature does not depend on batch size, order, process or device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditline.bounds import COUNT, DRAWS, NOT_NEGATIVE, SEED
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
    - `list`: the timesteps in `timestep_list`, the same for all images.
    - `trajectory`: the sampler's own steps, with the predicted x0 of each step as the image
      (Journey-TRAK); queries only.

    Raises:
        SettingsError: on an unknown schedule, counts below 1, or given timesteps that another
            schedule ignores or that are not as many as `timesteps`.
    """

    schedule: Literal["uniform", "cumulative", "random", "list", "trajectory"] = setting(
        "uniform", "how timesteps are chosen"
    )
    timesteps: int = setting(10, "timesteps per image", bounds=COUNT)
    include_zero: bool = setting(True, "let the timestep grid start at 0")
    timestep_list: tuple[int, ...] = setting(
        (), "timesteps of the schedule `list`, as many as `timesteps`", bounds=NOT_NEGATIVE
    )
    draws: int = setting(1, "independent noise draws per timestep", bounds=DRAWS)
    noise_seed: int = setting(0, "seed of the noise (and of random timesteps)", bounds=SEED)
    shared_noise: bool = setting(
        False, "one noise per timestep for all images, training and query alike"
    )

    mirror: bool = setting(
        False, "mirror training images in half of their evaluations, as train --flip does"
    )

    def __post_init__(self) -> None:
        validate_settings(self)
        require(
            not self.mirror or self.timesteps > 2 or self.draws > 1,
            "Mirrored and plain evaluations need three timesteps or two draws",
            f"{self.timesteps} x {self.draws}",
            "Ask for more, or for mirror=False (--no-mirror).",
        )
        is_list, different = self.schedule == "list", len(set(self.timestep_list))
        require(
            is_list or not self.timestep_list,
            "A timestep_list needs the schedule 'list'",
            self.schedule,
            "Use schedule='list', or leave it out.",
        )
        require(
            not is_list or self.timesteps == len(self.timestep_list) == different,
            f"With the {different} different timesteps of timestep_list, timesteps = {different}",
            self.timesteps,
            "Make both equal, as in timesteps=2, timestep_list=(100, 500).",
        )

    @property
    def evaluations(self) -> int:
        """Forward and backward passes per image, `t * r`."""
        return self.timesteps * self.draws

    def mirrored(self, evaluations: int) -> np.ndarray:
        """Which evaluations of a training image see it mirrored, bool of shape `(u,)`."""
        return (take_turns(evaluations, self.draws, 2) == 1) & self.mirror

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
        if self.schedule == "list":
            require(
                max(self.timestep_list) < n_timesteps,
                f"Timesteps of this process are below {n_timesteps}",
                max(self.timestep_list),
                "Give smaller ones.",
            )
            return np.array(self.timestep_list, dtype=np.int64)
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


def take_turns(evaluations: int, draws: int, kinds: int, first: int = 0) -> np.ndarray:
    """Number the kind of each evaluation, of which there are a few in turn.

    Each kind is used equally often, give or take one, and as far as possible within either half
    of a split-half noise estimate too. Halves alternate over timesteps and draws, or over timesteps
    alone. So evaluations are sorted by the parity of their timestep and draw, and the kinds take
    turns in that order.

    Args:
        evaluations: number of evaluations `u`, timestep-major.
        draws: evaluations per timestep.
        kinds: number of kinds.
        first: number of the kind that begins.

    Returns:
        Numbers from 0, int64 of shape `(u,)`.
    """
    u = np.arange(evaluations)
    step, draw = u // draws % 2, u % draws % 2
    # Neighbors in this order, (0, 1), (0, 0), (1, 1), (1, 0), form the halves of either kind.
    order = np.argsort(2 * step + 1 - draw, kind="stable")
    turns = np.empty(evaluations, np.int64)
    turns[order] = (first % kinds + u) % kinds
    return turns
