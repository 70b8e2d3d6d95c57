"""The networks that a recipe can name, and what a run must know about them before it begins."""

import inspect
from dataclasses import dataclass, make_dataclass
from typing import Literal

import torch
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from retinamatch.configuration_lk_superretina import LKSuperRetinaConfig
from retinamatch.configuration_swin_retina import SwinRetinaConfig
from retinamatch.extractor import UnknownNameError, find_model
from retinamatch.modeling_lk_superretina import LKSuperRetinaModel
from retinamatch.modeling_swin_retina import SwinRetinaModel


FAMILIES = {
    "lk_superretina": (
        LKSuperRetinaModel,
        {
            "published": LKSuperRetinaConfig,
            "superretina": LKSuperRetinaConfig.superretina,
            "small": LKSuperRetinaConfig.small,
        },
    ),
    "swin_retina": (
        SwinRetinaModel,
        {
            "published": SwinRetinaConfig,
            "fine": SwinRetinaConfig.fine,
            "large": SwinRetinaConfig.large,
            "tiny": SwinRetinaConfig.tiny,
        },
    ),
}


def _names(config_class: type[PreTrainedConfig]) -> dict:
    """Return names and types of a configuration."""
    known = inspect.get_annotations(config_class)
    return {name: kind for name, kind in known.items() if name != "model_type"}


def _optional(config_class: type[PreTrainedConfig]) -> type:
    """Make a dataclass of the names of a configuration, each of them null by default."""
    names = [(name, kind | None, None) for name, kind in _names(config_class).items()]
    made = make_dataclass(config_class.__name__, names)
    made.__doc__ = config_class.__doc__
    return made


@dataclass
class ModelSettings(_optional(SwinRetinaConfig), _optional(LKSuperRetinaConfig)):
    """A network with random weights; beside the two names below, any name of the configuration of its family.

    Attributes:
        family: Which networks.
        variant: Of the family: "published", "superretina" or "small" of lk_superretina; "published", "fine", "large" or
            "tiny" of swin_retina. It gives the values of the names that are null.
    """

    family: Literal["lk_superretina", "swin_retina"] = "lk_superretina"
    variant: str = "published"


def build_model(settings: ModelSettings) -> PreTrainedModel:
    """Build the dense network of a recipe's `model` section, with random weights.

    Raises:
        ValueError: The family does not know the variant or one of the names, or no network can be built from them.
    """
    model_class, variants = FAMILIES[settings.family]
    if settings.variant not in variants:
        raise ValueError(
            f'Unknown model variant "{settings.variant}" of {settings.family}; known are {sorted(variants)}.'
        )
    given = {name: value for name, value in vars(settings).items() if value is not None}
    given = {name: value for name, value in given.items() if name not in ("family", "variant")}
    known = _names(model_class.config_class)
    if unknown := sorted(set(given) - set(known)):
        raise ValueError(f"Unknown names {unknown} in the model section; {settings.family} knows {sorted(known)}.")
    return model_class(variants[settings.variant](**given))


def load_model(name: str) -> PreTrainedModel:
    """Load the dense network of a model of the package, a folder, or a repository of the Hub.

    Raises:
        ValueError: It does not exist, or is no network of this package.
    """
    try:
        model = AutoModel.from_pretrained(find_model(name), dtype=torch.float32, trust_remote_code=False)
    except UnknownNameError:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(f"{name} cannot be loaded as a model: {str(error).splitlines()[0]}") from error
    if not isinstance(model, tuple(model_class for model_class, _ in FAMILIES.values())):
        raise ValueError(f"{name} holds a {type(model).__name__}; a network of {sorted(FAMILIES)} is wanted.")
    return model


def take_weights(network: PreTrainedModel, name: str) -> None:
    """Let a network begin with the weights of another one of the same shape.

    Raises:
        ValueError: There is no such model, or its weights have other names or shapes.
    """
    other = load_model(name)
    try:
        network.load_state_dict(other.state_dict())
    except RuntimeError as error:
        raise ValueError(f"The weights of {name} do not fit the network of the recipe's model section.") from error


def smallest_input(network: PreTrainedModel) -> int:
    """Return the smallest side of an image that a network takes."""
    if isinstance(network, SwinRetinaModel):
        return 16 * network.config.window_size + 1
    return network.descriptor_head.smallest_input


def check_view_size(network: PreTrainedModel, size: int, who: str) -> None:
    """Refuse views that are too small for a network.

    Raises:
        ValueError: They are.
    """
    if size < (smallest := smallest_input(network)):
        raise ValueError(f"Views of {size} pixels are too small for the {who}, which wants at least {smallest}.")


__all__ = [
    "FAMILIES",
    "ModelSettings",
    "build_model",
    "check_view_size",
    "load_model",
    "smallest_input",
    "take_weights",
]
