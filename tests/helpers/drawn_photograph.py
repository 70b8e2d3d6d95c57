"""A photograph of noise with keypoints, as a row of the data set is made from."""

import numpy as np

from datasets_scripts.format.rows import LabeledPhotograph


def photograph(number=0, labeled=True, size=(40, 48)):
    generator = np.random.default_rng(number)
    count, labels = number % 4, {}
    if labeled:
        labels = {
            "keypoints": generator.random((count, 2)) * 39,
            "types": generator.integers(0, 2, count).astype(np.int8),
            "widths": np.array([2.5, np.nan, 4.0])[:count],
            "directions": [np.array([-1.0, 0.5, 3.0]), np.zeros(0), np.array([0.0, 1.0, 2.0, 3.0])][:count],
            "labeled_by": "rendering",
        }
    return LabeledPhotograph(
        name=f"photograph_{number}",
        image=generator.integers(0, 256, (*size, 3), dtype=np.uint8),
        mask=generator.random(size) > 0.5,
        source="drawn",
        patient=f"{number:02d}",
        eye="left" if number % 2 else "",
        license="Apache-2.0",
        redistributable=True,
        **labels,
    )
