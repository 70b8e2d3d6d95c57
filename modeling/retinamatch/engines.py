"""What runs a network: torch, or ONNX Runtime where torch is not installed or not wanted."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from .extractor import (
    AUTO,
    BFLOAT16,
    DTYPES,
    ENGINES,
    FLOAT32,
    INT8,
    ONNX,
    ONNX_FILES,
    ROOTSIFT,
    TORCH,
    Extractor,
    RootSiftExtractor,
    UnknownNameError,
    find_model,
)


if TYPE_CHECKING:
    import torch


class MissingTorchError(ModuleNotFoundError):
    """Something needs torch or transformers, which are not installed; the sentence says which extra brings them."""


def find_extractor(
    model: str | Path, device: "torch.device | str | None" = None, dtype: str = AUTO, engine: str = AUTO
) -> Extractor:
    """Open the extractor of a name.

    Args:
        model: "rootsift"; a name of `known_models`, a folder, or a repository of the Hub; or a file *.onnx.
        device: Where torch runs the network; a GPU when there is one by default.
        dtype: Precision of the network, a name of `DTYPES`.
        engine: A name of `ENGINES`. "auto" is torch where it is installed and ONNX Runtime elsewhere, for files *.onnx
            and for int8.

    Raises:
        UnknownNameError: There is no such model, precision or engine, or not of them together.
        MissingTorchError: torch was asked for and is not installed.
    """
    for kind, name, known in (("dtype", dtype, DTYPES), ("engine", engine, ENGINES)):
        if name not in known:
            raise UnknownNameError(f"Unknown {kind} {name!r}; known are: {', '.join(known)}.")
    if str(model) == ROOTSIFT:
        return RootSiftExtractor()
    is_file = Path(model).suffix == ".onnx"
    if engine == AUTO:
        engine = ONNX if is_file or dtype == INT8 or not (has_torch() or dtype == BFLOAT16) else TORCH
    if engine == TORCH:
        if is_file:
            raise UnknownNameError(f"{model} is a file for the engine {ONNX}, not for {TORCH}.")
        require_torch(f"The engine {TORCH}")
        from .torch_extractor import ModelExtractor

        return ModelExtractor(model, device, dtype=dtype)
    if dtype == BFLOAT16:
        raise UnknownNameError(f"The engine {ONNX} runs networks in {FLOAT32} and {INT8}, not in {BFLOAT16}.")
    from .onnx_extractor import OnnxExtractor

    return OnnxExtractor(find_onnx(model, INT8 if dtype == INT8 else FLOAT32))


def find_onnx(model: str | Path, dtype: str = FLOAT32) -> Path:
    """Find the ONNX file of a model in a precision.

    Raises:
        UnknownNameError: There is no such model, or no such file beside it.
    """
    if Path(model).suffix == ".onnx":
        if not Path(model).is_file():
            raise UnknownNameError(f"{model} does not exist.")
        return Path(model)
    source, name = find_model(model), ONNX_FILES[dtype]
    if isinstance(source, str):
        source = _download(source, name)
    if not (source / name).is_file():
        command = f"retinamatch export {model} FOLDER --format onnx" + (" --int8 PHOTOGRAPHS" if dtype == INT8 else "")
        raise UnknownNameError(f"{model} has no {name}; `{command}` writes it (that needs retinamatch[torch]).")
    return source / name


def has_torch() -> bool:
    """Say whether torch and transformers are installed."""
    return all(find_spec(name) is not None for name in ("torch", "transformers"))


def require_torch(what: str) -> None:
    """Raise an error about what needs torch, where it is not installed.

    Raises:
        MissingTorchError: The sentence names the extra that installs it.
    """
    if not has_torch():
        raise MissingTorchError(
            f"{what} needs torch, the extra `torch`: "
            "pip install 'retinamatch[torch]', or pip install '.[torch]' in a clone."
        )


def _download(repository: str, name: str) -> Path:
    """Fetch a file of the Hub into its cache and return the folder of the repository there."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
    except ModuleNotFoundError:
        raise UnknownNameError(
            f"{repository} lies on the Hub: pip install huggingface_hub, or download it and name its folder."
        ) from None
    try:
        return Path(hf_hub_download(repository, name)).parents[1]
    except EntryNotFoundError:
        raise UnknownNameError(f"{repository} has no {name}.") from None
    except (OSError, ValueError) as error:
        raise UnknownNameError(f"{repository} cannot be fetched: {str(error).splitlines()[0]}") from error


__all__ = ["MissingTorchError", "find_extractor", "find_onnx", "has_torch", "require_torch"]
