"""Benchmarks that ship with their ground truth: methods are judged without any retraining."""

from __future__ import annotations

from creditline.benchmarks.benchmark import BENCHMARKS, Benchmark, get

__all__ = ["BENCHMARKS", "Benchmark", "get"]
