"""The networks that a recipe can name, and what a run must know about them before it begins."""

import inspect

import torch
from transformers import AutoModel, PreTrainedModel

from retinamatch.configuration_lk_superretina import LKSuperRetinaConfig
from retinamatch.configuration_swin_retina import SwinRetinaConfig
from retinamatch.modeling_lk_superretina import LKSuperRetinaModel
from retinamatch.modeling_swin_retina import SwinRetinaModel
from retinamatch.registration import UnknownNameError, find_model


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


def build_model(settings: dict) -> PreTrainedModel:
    """Build the dense network of a recipe's `model` section, with random weights.

    Args:
        settings: `family` ("lk_superretina" or "swin_retina"), `variant` of it, and any names of its configuration.

    Raises:
        ValueError: When the family, the variant or a name is unknown.
    """
    settings = {"family": "lk_superretina", "variant": "published", **settings}
    family, variant = settings.pop("family"), settings.pop("variant")
    if family not in FAMILIES:
        raise ValueError(f'Unknown model family "{family}"; known are {sorted(FAMILIES)}.')
    model_class, variants = FAMILIES[family]
    if variant not in variants:
        raise ValueError(f'Unknown model variant "{variant}" of {family}; known are {sorted(variants)}.')
    # transformers takes any name and keeps it: a misspelt one would go unnoticed.
    known = set(inspect.get_annotations(model_class.config_class)) - {"model_type"}
    if unknown := sorted(set(settings) - known):
        raise ValueError(f"Unknown names {unknown} in the model section; {family} knows {sorted(known)}.")
    return model_class(variants[variant](**settings))


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


__all__ = ["FAMILIES", "build_model", "check_view_size", "load_model", "smallest_input", "take_weights"]
