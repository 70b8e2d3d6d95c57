"""Make the models of the package known to transformers' Auto classes and pipelines; importing this does it."""

from transformers import AutoConfig, AutoModel, AutoModelForKeypointDetection, AutoModelForKeypointMatching
from transformers.models.auto.image_processing_auto import (
    AutoImageProcessor,  # the top-level name needs torchvision in 5.17
)

from .configuration_lk_superretina import LKSuperRetinaConfig
from .configuration_swin_retina import SwinRetinaConfig
from .image_processing_retina import RetinaImageProcessor
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
from .pipeline import RetinaKeypointMatchingPipeline


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
    "LKSuperRetinaConfig",
    "LKSuperRetinaForKeypointDetection",
    "LKSuperRetinaForKeypointMatching",
    "LKSuperRetinaModel",
    "RetinaImageProcessor",
    "RetinaKeypointMatchingPipeline",
    "SwinRetinaConfig",
    "SwinRetinaForKeypointDetection",
    "SwinRetinaForKeypointMatching",
    "SwinRetinaModel",
]
