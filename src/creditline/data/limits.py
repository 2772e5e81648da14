"""Limits on what is read from files of others, and the environment variables that change them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from creditline.errors import SettingsError


@dataclass(frozen=True)
class Limit:
    """A limit on one file. Worker processes inherit the variable, and every command reads it.

    Attributes:
        variable: environment variable that replaces the default.
        default: the limit without it.
    """

    variable: str
    default: int

    @property
    def value(self) -> int:
        """The limit in force.

        Raises:
            SettingsError: if the variable is not a positive integer.
        """
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0):
            raise SettingsError(
                f"The environment variable {self.variable} must be a positive integer; got "
                f"{text!r}. Unset it for the default {self.default:,}."
            )
        return int(text)

    def remedy(self, needed: int) -> str:
        """What to do about something that needs more."""
        return f"If you trust it, set the environment variable {self.variable}={needed}."


PIXELS = Limit("CREDITLINE_MAX_PIXELS", 100_000_000)
"""Width times height of an image, checked before it is decoded."""

FILE_BYTES = Limit("CREDITLINE_MAX_FILE_BYTES", 1 << 30)
"""Bytes of an image file, unpacked if it lies in a zip file."""

METADATA_BYTES = Limit("CREDITLINE_MAX_METADATA_BYTES", 1 << 28)
"""Bytes of a metadata file, unpacked."""

MAX_SIDE = 65_535
"""Pixels along one side of an image: the most that JPEG can hold. Memory grows with rows too."""
