"""What several tests of the evaluation share."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def fire(tmp_path_factory, visits):
    """The rendered pair in FIRE's layout."""
    root = tmp_path_factory.mktemp("fire")
    for folder in ("Images", "Ground Truth"):
        (root / folder).mkdir()
    Image.fromarray(visits.fixed.image).save(root / "Images" / "P01_1.png")
    Image.fromarray(visits.moving.image).save(root / "Images" / "P01_2.png")
    moving, fixed = (points[:10] for points in visits.shared_keypoints())
    np.savetxt(root / "Ground Truth" / "control_points_P01_1_2.txt", np.hstack([fixed, moving]))
    return root
