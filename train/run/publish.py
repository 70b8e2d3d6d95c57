"""Trained weights on the Hugging Face Hub: model, processor, code and card, in one commit."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
import yaml
from huggingface_hub import HfApi, ModelCard, ModelCardData
from transformers import AutoModelForKeypointMatching

from retinamatch.hub import save_repository
from retinamatch.image_processing_retina import RetinaImageProcessor
from retinamatch.publishing import hub_errors

from .log import last_validation


TEMPLATE = Path(__file__).with_name("card_template.md")


def publish(weights: str | os.PathLike, config, folder: str | os.PathLike, log_file: str | os.PathLike) -> str:
    """Write a repository and send it; what the Hub has already is not sent again.

    Args:
        weights: Folder of saved weights with their processor.
        config: The run; `push_to_hub` and `hub_private` name the repository.
        folder: Where the repository is put together; it stays.
        log_file: Of the run; its last validation goes into the card.

    Returns:
        Address of the commit.

    Raises:
        PublishError: The Hub rejects the push or cannot be reached; nothing is half-written there.
    """
    name, folder = config.push_to_hub, Path(folder)
    model = AutoModelForKeypointMatching.from_pretrained(weights, dtype=torch.float32, trust_remote_code=False)
    save_repository(model, RetinaImageProcessor.from_pretrained(weights), folder)
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag="keypoint-detection",
        tags=["retina", "fundus", "image-registration", "keypoint-matching"],
    )
    card = ModelCard.from_template(
        data,
        template_path=TEMPLATE,
        name=name,
        parameters=f"{model.num_parameters():,}",
        steps=config.steps,
        figures=json.dumps(last_validation(Path(log_file)), indent=2),
        recipe=yaml.safe_dump(asdict(config, dict_factory=_given), sort_keys=False).strip(),
    )
    (folder / "README.md").write_text(f"{card}\n", encoding="utf-8")
    api = HfApi()
    with hub_errors(name, again="--resume pushes again"):
        api.create_repo(name, private=config.hub_private, exist_ok=True)
        return api.upload_folder(
            repo_id=name, folder_path=folder, commit_message=f"Weights of {config.steps} steps"
        ).commit_url


def _given(items: list[tuple]) -> dict:
    return {name: value for name, value in items if value is not None}


__all__ = ["publish"]
