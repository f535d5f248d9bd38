"""Networks that take another number of gradient steps."""

from __future__ import annotations

import copy
from typing import Any

from ._network import FittedNetwork


def step_options(network: FittedNetwork) -> dict[str, Any]:
    """Return the options of the gradient steps that a network was built with."""
    options: dict[str, Any] = network.recipe.options[_part(network)]
    return options


def with_steps(network: FittedNetwork, n_steps: int) -> FittedNetwork:
    """Return a network with the same weights that takes another number of gradient steps.

    Step sizes of each step are cut to the first ones. Scores of another number of steps are not
    calibrated.
    """
    recipe = network.recipe
    options = step_options(network)
    if options["n_steps"] == n_steps:
        return network
    recipe = recipe.with_option(**{_part(network): options | {"n_steps": n_steps}})
    module = recipe.build()
    weights, wanted = network.module.state_dict(), module.state_dict()
    module.load_state_dict(
        {k: v if v.shape == wanted[k].shape else v[:n_steps] for k, v in weights.items()}
    )
    changed = copy.copy(network)
    device = next(network.module.parameters()).device
    changed.module = module.to(device).eval().requires_grad_(False)
    changed.recipe, changed.calibration = recipe, None
    return changed


def _part(network: FittedNetwork) -> str:
    return "adaptation" if "adaptation" in network.recipe.options else "head_options"
