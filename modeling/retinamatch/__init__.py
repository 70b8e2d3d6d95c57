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
from .image_processing_retina import RetinaImageProcessor
from .modeling_lk_superretina import (
    LKSuperRetinaForKeypointDetection,
    LKSuperRetinaForKeypointMatching,
    LKSuperRetinaModel,
)
from .photographs import PhotographError, read_photograph
from .pipeline import RetinaKeypointMatchingPipeline
from .registration import Registrar, Registration, known_models, register
from .transforms import TRANSFORMS, Affine, Cubic, Homography, Quadratic, Similarity, Transform


AutoConfig.register("lk_superretina", LKSuperRetinaConfig, exist_ok=True)
AutoModel.register(LKSuperRetinaConfig, LKSuperRetinaModel, exist_ok=True)
AutoModelForKeypointDetection.register(LKSuperRetinaConfig, LKSuperRetinaForKeypointDetection, exist_ok=True)
AutoModelForKeypointMatching.register(LKSuperRetinaConfig, LKSuperRetinaForKeypointMatching, exist_ok=True)
AutoImageProcessor.register(
    LKSuperRetinaConfig,
    image_processor_classes={"pil": RetinaImageProcessor, "torchvision": RetinaImageProcessor},
    exist_ok=True,
)

__all__ = [
    "TRANSFORMS",
    "Affine",
    "Cubic",
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
    "Transform",
    "known_models",
    "read_photograph",
    "register",
]
