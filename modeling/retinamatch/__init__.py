"""Registration of retinal photographs: keypoints, descriptors, matches and transforms.

    import retinamatch
    registration = retinamatch.register("followup.jpg", "baseline.jpg")   # moving, fixed
    if registration.registered:
        aligned = registration.warp("followup.jpg")

Importing this package makes its models known to transformers' Auto classes and pipelines.

The files in the order to read them:

    photographs               any file, array or PIL image becomes an upright RGB photograph, or one clear error
    dicom                     photographs in DICOM files, without what tells whose they are
    field_of_view, rim        where in the picture the retina is, on any surround; not_retina: why it shows none
    enhancement               what the networks see: the green channel, locally normalized
    image_processing_retina   photographs to `pixel_values`, and coordinates back
    keypoints                 dense maps to keypoints, descriptors and mutual matches
    keypoint_heads            what both networks share: their heads; losses: what trains them
    modeling_lk_superretina   the small CNN, the teacher; its sizes stand in configuration_lk_superretina
    modeling_swin_retina      the transformer, its student; configuration_swin_retina
    pipeline                  matches by `transformers.pipeline`
    keypoint_set              the keypoints of one photograph in its own pixels
    dense_descriptors         the descriptors at any place of it
    normalized_picture        what is kept of a photograph beside them: small, gray, to compare it place by place
    extractor, rootsift       photographs to keypoint sets, by a network or by RootSIFT
    keypoint_cache            a folder in which those of each photograph are found once
    matching                  two keypoint sets to matches
    transforms, polynomials   similarity, affine, homography, quadratic, cubic: fit, apply, invert, warp
    estimation/               matches to the transform that the evidence supports, and whether to believe it
    photograph_views          a photograph seen otherwise, and coordinates back; view_search: which views to try
    registration, registrar   the answer for a pair; one pair, many, step by step
    drawing, results, series  pictures, files, a history of visits
    transfer, itk             a registration that was kept: carry images, masks, points; for ITK
    change                    what has changed between two visits, beyond the noise of photographs
    study/                    thousands of visits: a table of them to a table of registrations, resumable
    evaluation/               figures: FIRE, harder conditions, identity, impostors
    hub, publishing           repositories of the Hub; conversion: checkpoints of others
    files, processes, memory  no input touched, no result half-written; pools that end; freed memory, kept
    commands/, cli            words on the command line to the functions above
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
