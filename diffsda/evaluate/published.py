"""What the papers report, to print beside what was measured here.

Shares are in 0 to 1 where the papers print per cent. Another judge, another split or another number of clips gives
another scale: the rows are there to be compared with only where all of these are the paper's. DBSE's gap on LibriSpeech
is as printed, though the two rates beside it are 0.0586 apart.
Source: DiffSDA Tables 2-5 and 9-17; DiViD Table 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Published:
    """One number of a paper's table."""

    protocol: str
    table: str
    data: str
    system: str
    metric: str
    value: float
    spread: float | None = None
    """What stands behind the plus-minus sign."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, fit for JSON."""
        return asdict(self)


def published(protocol: str, data: str | None = None) -> list[Published]:
    """Return the rows of a protocol, those of one data set where it is named."""
    return [row for row in ROWS if row.protocol == protocol and data in (None, row.data)]


def _rows(
    protocol: str, table: str, data: str, systems: tuple[str, ...], metrics: dict[str, tuple[float | None, ...]]
) -> list[Published]:
    return [
        Published(protocol, table, data, system, metric, value)
        for metric, values in metrics.items()
        for system, value in zip(systems, values, strict=True)
        if value is not None
    ]


def _spread(
    protocol: str, table: str, data: str, metric: str, values: dict[str, tuple[float, float]]
) -> list[Published]:
    return [Published(protocol, table, data, system, metric, *pair) for system, pair in values.items()]


_VIDEO = ("SPYL", "DBSE", "DiffSDA")
_SWAP = {
    "mug": ((0.766, 0.773, 0.751), (1.132, 1.118, 0.802)),
    "voxceleb": ((1.058, 1.026, 0.846), (4.705, 10.96, 2.793)),
    "celebv_hq": ((0.631, 0.751, 0.540), (39.16, 28.69, 6.932)),
    "taichi": ((0.443, 0.325, 0.326), (7.681, 6.312, 2.143)),
}
_BACK = {
    "mug": ((0.49, 0.49, 0.11), (0.47, 0.48, 0.06), (1e-3, 1e-3, 3e-7)),
    "voxceleb": ((0.99, 1.03, 0.37), (2.27, 2.43, 1.09), (5e-3, 3e-3, 5e-4)),
    "celebv_hq": ((0.70, 0.78, 0.29), (15.0, 13.8, 1.26), (0.012, 6e-3, 6e-4)),
    "taichi": ((0.32, 0.29, 1e-3), (4.31, 3.83, 0.10), (0.018, 7e-3, 2e-7)),
}

ROWS: tuple[Published, ...] = (
    *(
        row
        for data, (aed, akd) in _SWAP.items()
        for row in _rows(
            "swap-video", "2", data, _VIDEO, {"aed_static_frozen": aed, "akd_dynamics_frozen": akd}
        )
    ),
    *_rows("swap-video", "17", "mug", ("C-DSVAE",), {"aed_static_frozen": (0.774,), "akd_dynamics_frozen": (1.170,)}),
    *(
        row
        for data, (aed, akd, error) in _BACK.items()
        for row in _rows("reconstruction", "3", data, _VIDEO, {"aed": aed, "akd": akd, "mse": error})
    ),
    *_rows("reconstruction", "17", "mug", ("C-DSVAE",), {"aed": (0.56,), "akd": (0.50,), "mse": (1e-3,)}),
    *_rows(
        "eer", "4, 16", "timit",
        ("FHVAE", "DSVAE", "R-WAE", "S3VAE", "SKD", "C-DSVAE", "SPYL", "DBSE", "DiffSDA"),
        {
            "eer_static": (0.0506, 0.0564, 0.0473, 0.0502, 0.0446, 0.0403, 0.0341, 0.0350, 0.0443),
            "eer_dynamic": (0.2277, 0.1920, 0.2341, 0.2551, 0.2678, 0.3181, 0.3322, 0.3462, 0.4672),
            "eer_gap": (0.1771, 0.1356, 0.1868, 0.2049, 0.2232, 0.2778, 0.2981, 0.3111, 0.4229),
        },
    ),
    *_rows(
        "eer", "4", "librispeech", ("DSVAE", "SPYL", "DBSE", "DiffSDA"),
        {
            "eer_static": (0.1506, 0.2487, 0.1675, 0.1102),
            "eer_dynamic": (0.2894, 0.4976, 0.2261, 0.4594),
            "eer_gap": (0.1387, 0.2489, 0.0558, 0.3493),
        },
    ),
    *_spread("prediction", "14", "physionet", "auprc", {
        "VAE": (0.157, 0.05), "GP-VAE": (0.282, 0.09), "C-DSVAE": (0.158, 0.01), "GLR": (0.365, 0.09),
        "SPYL": (0.367, 0.02), "DBSE": (0.473, 0.02), "DiffSDA": (0.50, 0.006), "random forest": (0.446, 0.04),
    }),
    *_spread("prediction", "14", "physionet", "auroc", {
        "VAE": (0.564, 0.04), "GP-VAE": (0.699, 0.02), "C-DSVAE": (0.565, 0.01), "GLR": (0.752, 0.01),
        "SPYL": (0.764, 0.04), "DBSE": (0.858, 0.01), "DiffSDA": (0.87, 0.004), "random forest": (0.802, 0.04),
    }),
    *_spread("prediction", "14", "etth1", "mae", {
        "VAE": (13.66, 0.20), "GP-VAE": (14.98, 0.41), "C-DSVAE": (12.53, 0.88), "GLR": (12.27, 0.03),
        "SPYL": (12.22, 0.03), "DBSE": (11.21, 0.01), "DiffSDA": (9.89, 0.280), "random forest": (10.19, 0.20),
    }),
    *_spread("classification", "15", "physionet", "accuracy_icu_type", {
        "VAE": (0.3471, 0.0023), "GP-VAE": (0.4247, 0.0202), "C-DSVAE": (0.3254, 0.0), "GLR": (0.3893, 0.0248),
        "SPYL": (0.4698, 0.0304), "DBSE": (0.5687, 0.0034), "DiffSDA": (0.646, 0.0035),
        "random forest": (0.62, 0.021),
    }),
    *_spread("classification", "15", "airq", "accuracy_month", {
        "VAE": (0.2717, 0.0003), "GP-VAE": (0.3673, 0.014), "C-DSVAE": (0.4707, 0.012), "GLR": (0.5032, 0.0387),
        "SPYL": (0.5793, 0.0353), "DBSE": (0.6587, 0.0001), "DiffSDA": (0.692, 0.015),
        "random forest": (0.6243, 0.0054),
    }),
    *_rows(
        "judge", "9", "mug",
        ("MoCoGAN", "DSVAE", "R-WAE", "S3VAE", "SKD", "C-DSVAE", "SPYL", "DBSE", "DiffSDA"),
        {
            "accuracy": (0.6312, 0.5429, 0.7125, 0.7051, 0.7745, 0.8116, 0.8571, 0.8690, 0.8115),
            "inception_score": (4.332, 3.608, 5.149, 5.136, 5.569, 5.341, 5.548, 5.598, 5.382),
            "conditional_entropy": (0.183, 0.374, 0.131, 0.135, 0.052, 0.092, 0.066, 0.041, 0.090),
            "marginal_entropy": (1.721, 1.657, 1.771, 1.760, 1.769, 1.775, 1.779, 1.782, 1.773),
            "reconstruction_mse": (None, None, None, None, None, None, 1.311e-3, 1.286e-3, 2.669e-7),
        },
    ),
    *_rows(
        "verification", "10", "voxceleb",
        ("d 16, s shared", "d 128, s shared", "d 16, s not shared", "d 128, s not shared"),
        {
            "verification_static_frozen": (0.6436, 0.1803, 0.5675, 0.4841),
            "aed_static_frozen": (0.925, 1.054, 0.898, 0.980),
            "akd_dynamics_frozen": (2.882, 2.077, 12.64, 12.28),
        },
    ),
    *_rows(
        "verification", "11", "mug",
        ("d 64, s shared", "d 256, s shared", "d 64, s not shared", "d 256, s not shared"),
        {
            "verification_static_frozen": (0.9559, 0.9212, 0.9969, 0.9983),
            "action_accuracy_dynamics_frozen": (0.8008, 0.8128, 0.1671, 0.1818),
        },
    ),
    *_rows(
        "speech-quality", "12", "librispeech", ("reference", "DSVAE", "SPYL", "DBSE", "DiffSDA"),
        {
            "spectrogram_mse": (None, 5.53e-2, 4.40e-1, 6.72e-3, 1.83e-4),
            "dnsmos": (3.9, 3.13, 2.21, 2.88, 3.41),
        },
    ),
    *_spread("fvd", "13", "voxceleb", "fvd", {
        "SPYL": (582.28, 1.15), "DBSE": (1076.44, 2.22), "DiffSDA": (65.23, 0.81),
    }),
    *_rows("fvd", "G.1", "voxceleb", ("DiffSDA, s and d drawn apart",), {"fvd": (75.03,)}),
    *_rows(
        "swap-labels", "DiViD 1", "mhad", ("DBSE", "SPYL", "DiViD"),
        {
            "static_accuracy": (0.9851, 0.4059, 0.9851),
            "dynamic_accuracy": (0.1634, 0.4554, 0.3119),
            "joint_accuracy": (0.1634, 0.1683, 0.3020),
            "leakage": (0.8454, 0.9947, 0.7007),
        },
    ),
)  # fmt: skip
