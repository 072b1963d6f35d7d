"""Writes reference.safetensors with the reference implementation (pip install numpy safetensors).

Run it in this folder; the values are repeated in SafetensorsTests.swift.
"""

import numpy as np
from safetensors.numpy import save_file

save_file(
    {
        "tenths": np.array([0.1, -2.5], dtype=np.float64),
        "empty": np.zeros((0, 3), dtype=np.float32),
        "half": np.array([[1.5, -0.25], [65504.0, 6e-8]], dtype=np.float16),
        "indices": np.array([1, -2, 2**40], dtype=np.int64),
        "scalar": np.array(7.0, dtype=np.float32),
        "weight/ü": np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32),
    },
    "reference.safetensors",
    metadata={"writer": 'reference "0"'},
)
