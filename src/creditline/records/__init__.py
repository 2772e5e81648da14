"""Plain values that describe a traced image: no tensors, no open files."""

from __future__ import annotations

from creditline.records.hit import NOISE_FLOOR, Hit
from creditline.records.method_card import MethodCard
from creditline.records.query_trace import QueryTrace
from creditline.records.region import Region
from creditline.records.removal import Removal
from creditline.records.trace_record import TraceRecord

__all__ = ["NOISE_FLOOR", "Hit", "MethodCard", "QueryTrace", "Region", "Removal", "TraceRecord"]
