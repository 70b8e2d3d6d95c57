"""Registration of retinal photographs: keypoints, descriptors, matches and transforms.

    import retinamatch
    registration = retinamatch.register("followup.jpg", "baseline.jpg")   # moving, fixed
    if registration.registered:
        aligned = registration.warp("followup.jpg")

Importing this package makes its models known to transformers' Auto classes and pipelines, where these are installed.
Without torch and transformers ONNX Runtime runs the networks; what cannot be done then says so.

The files in the order to read them:

    photographs               any file, array or PIL image becomes an upright RGB photograph, or one clear error
    dicom                     photographs in DICOM files, without what tells whose they are
    field_of_view, rim        where in the picture the retina is, on any surround; not_retina: why it shows none
    canvas                    what the networks see: the field of view, its green channel, locally normalized
    local_normalization       that, for an array; enhancement: for tensors, in training
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
    network_extractor, peaks  by a network, whatever runs it: dense maps to keypoints, on arrays
    torch_extractor           torch runs it; onnx_extractor: ONNX Runtime does; engines: which one
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
    hub, publishing           repositories of the Hub; auto_classes: names for transformers; conversion: checkpoints of
                              others; onnx_export: networks as ONNX files
    files, processes, memory  no input touched, no result half-written; pools that end; freed memory, kept
    commands/, cli            words on the command line to the functions above
"""

from typing import TYPE_CHECKING, Any

from .engines import MissingTorchError, has_torch, require_torch
from .extractor import known_models
from .memory import keep_freed_memory
from .photographs import PhotographError, read_photograph
from .registrar import Registrar, register
from .registration import FailedRegistration, Registration
from .transforms import TRANSFORMS, Affine, Cubic, Homography, Quadratic, Similarity, Transform


if TYPE_CHECKING or has_torch():
    from .auto_classes import (
        LKSuperRetinaConfig,
        LKSuperRetinaForKeypointDetection,
        LKSuperRetinaForKeypointMatching,
        LKSuperRetinaModel,
        RetinaImageProcessor,
        RetinaKeypointMatchingPipeline,
        SwinRetinaConfig,
        SwinRetinaForKeypointDetection,
        SwinRetinaForKeypointMatching,
        SwinRetinaModel,
    )
else:

    def __getattr__(name: str) -> Any:
        if name in __all__:
            require_torch(f"retinamatch.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
    "MissingTorchError",
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
