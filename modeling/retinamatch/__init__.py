"""Registration of retinal photographs: keypoints, descriptors, matches and transforms.

    import retinamatch
    registration = retinamatch.register("followup.jpg", "baseline.jpg")   # moving, fixed
    if registration.registered:
        aligned = registration.warp("followup.jpg")

Importing this package makes its models known to transformers' Auto classes and pipelines.
"""

from transformers import AutoConfig, AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching
from transformers.models.auto.image_processing_auto import (
    AutoImageProcessor,  # the top-level name needs torchvision in 5.17
)

from .configuration_lk_superretina import LKSuperRetinaConfig
from .configuration_swin_retina import SwinRetinaConfig
from .extractor import known_models
from .image_processing_retina import RetinaImageProcessor
from .memory import keep_freed_memory
from .modeling_lk_superretina import (
    LKSuperRetinaForKeypointDetection,
    LKSuperRetinaForKeypointMatching,
    LKSuperRetinaModel,
)
from .modeling_swin_retina import (
    SwinRetinaForKeypointDetection,
    SwinRetinaForKeypointMatching,
    SwinRetinaModel,
)
from .photographs import PhotographError, read_photograph
from .pipeline import RetinaKeypointMatchingPipeline
from .registrar import Registrar, register
from .registration import FailedRegistration, Registration
from .transforms import TRANSFORMS, Affine, Cubic, Homography, Quadratic, Similarity, Transform


for _config, _model, _detection, _matching in (
    (LKSuperRetinaConfig, LKSuperRetinaModel, LKSuperRetinaForKeypointDetection, LKSuperRetinaForKeypointMatching),
    (SwinRetinaConfig, SwinRetinaModel, SwinRetinaForKeypointDetection, SwinRetinaForKeypointMatching),
):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
    AutoModel.register(_config, _model, exist_ok=True)
    AutoModelForKeypointDetection.register(_config, _detection, exist_ok=True)
    AutoModelForKeypointMatching.register(_config, _matching, exist_ok=True)
    AutoImageProcessor.register(
        _config,
        image_processor_classes={"pil": RetinaImageProcessor, "torchvision": RetinaImageProcessor},
        exist_ok=True,
    )

__all__ = [
    "TRANSFORMS",
    "Affine",
    "Cubic",
    "FailedRegistration",
    "Homography",
    "LKSuperRetinaConfig",
    "LKSuperRetinaForKeypointDetection",
    "LKSuperRetinaForKeypointMatching",
    "LKSuperRetinaModel",
    "PhotographError",
    "Quadratic",
    "Registrar",
    "Registration",
    "RetinaImageProcessor",
    "RetinaKeypointMatchingPipeline",
    "Similarity",
    "SwinRetinaConfig",
    "SwinRetinaForKeypointDetection",
    "SwinRetinaForKeypointMatching",
    "SwinRetinaModel",
    "Transform",
    "keep_freed_memory",
    "known_models",
    "read_photograph",
    "register",
]
