"""Metrics, one a file: arrays in, numbers out; and the protocols that use them.

``diffsda.evaluate.equal_error_rate(scores, same)`` and so on: each is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

WHERE = {
    "equal_error_rate": "eer",
    "equal_error_rate_bisection": "eer",
    "pair_scores": "eer",
    "verification_eer": "eer",
    "inception_score": "inception",
    "conditional_entropy": "inception",
    "marginal_entropy": "inception",
    "balanced": "inception",
    "judged_accuracy": "inception",
    "swap_accuracy": "swap_shares",
    "standard_error": "intervals",
    "wilson_interval": "intervals",
    "cross_leakage": "leakage",
    "multifactor_swap_score": "multifactor",
    "consistency_with_label": "multifactor",
    "consistency_with_clip": "multifactor",
    "consistency_over_time": "multifactor",
    "dci": "informativeness",
    "average_keypoint_distance": "keypoints",
    "average_euclidean_distance": "identity",
    "verification_accuracy": "identity",
    "mse": "reconstruction",
    "mse_by_clip": "reconstruction",
    "psnr": "pixels",
    "psnr_by_clip": "pixels",
    "spectrogram_mse": "spectrogram",
    "frechet_distance": "frechet",
    "precision_recall": "prior_quality",
    "maximum_mean_discrepancy": "prior_quality",
    "average_precision": "classification",
    "area_under_roc": "classification",
    "accuracy": "classification",
    "balanced_accuracy": "classification",
    "mean_absolute_error": "regression",
    "constant_predictor": "regression",
    "month_of_year_predictor": "regression",
    "Measured": "measured",
}
"""Public name: the file it is in."""

__all__ = [*WHERE]


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *WHERE])
