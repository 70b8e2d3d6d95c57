"""What both families of networks do with weights in float16 on a CPU."""

import pytest
import torch


def check_float16_on_a_cpu(half, exact):
    """Check that a model is computed in float32, with a warning, and can be trained still.

    Args:
        half: A model in float32, which is brought to float16 here.
        exact: The same model once more.
    """
    half, image = half.half(), torch.rand(2, 1, 96, 96)
    exact = exact.half().float()  # what the weights in float16 say
    with torch.inference_mode():
        with pytest.warns(UserWarning, match="A CPU takes minutes in float16: the weights are brought to float32"):
            found = half(image.half())
        wanted = exact(image.half().float())
    for value, other in zip(found.to_tuple(), wanted.to_tuple()):
        torch.testing.assert_close(value, other)
    assert not any(parameter.is_inference() for parameter in half.parameters()), "it can be trained still"
