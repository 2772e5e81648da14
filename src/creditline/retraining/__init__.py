"""Methods that learn from retrained models, by name."""

from __future__ import annotations

from creditline.errors import unknown
from creditline.retraining.base import RetrainingMethod
from creditline.retraining.datamodel import LassoDatamodel, RidgeDatamodel
from creditline.retraining.empirical_influence import EmpiricalInfluence
from creditline.retraining.leave_one_out import LeaveOneOut

RETRAINING: dict[str, type[RetrainingMethod]] = {
    method.name: method
    for method in (EmpiricalInfluence, RidgeDatamodel, LassoDatamodel, LeaveOneOut)
}


def get(name: str) -> type[RetrainingMethod]:
    """The method class registered as `name`.

    Raises:
        SettingsError: if there is none; the message suggests the nearest.
    """
    if name not in RETRAINING:
        raise unknown("retraining method", name, RETRAINING)
    return RETRAINING[name]


__all__ = ["RETRAINING", "RetrainingMethod", "get"]
