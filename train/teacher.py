"""Training of a network without a teacher: of the small teacher itself, or of a student directly.

accelerate launch -m train.teacher --config train/recipes/small.yaml [--output_dir runs/small] [--resume]
"""

from retinamatch.files import standard_output

from .data.store import read_splits
from .methods.supervision import Supervision, SupervisionConfig
from .run.models import build_model, check_view_size
from .run.trainer import Trainer, launch


def prepare(config: SupervisionConfig) -> Trainer:
    """Read the photographs and build the network of a run."""
    network = build_model(config.model)
    method = Supervision(config, *read_splits(config))
    check_view_size(network, config.views.size, "network")
    return Trainer(config, network, method, len(method.store))


if __name__ == "__main__":
    with standard_output():
        launch(SupervisionConfig, prepare)
