"""Benchmarks that ship with their ground truth, so that methods are judged without retraining."""

from __future__ import annotations

from creditline.benchmarks.benchmark import BENCHMARKS, Benchmark, get

__all__ = ["BENCHMARKS", "Benchmark", "get"]
