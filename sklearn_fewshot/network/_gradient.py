"""Derivatives of functions of the logits by what represents the classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..nn import EmbedsRows
from ._network import FittedNetwork
from ._values import Representation, as_writeable_tensor


def differentiate(
    network: FittedNetwork,
    items: Representation,
    rows: np.ndarray,
    slope: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Differentiate a function of the logits of embedded queries by what classes are.

    Parameters
    ----------
    network : FittedNetwork
        A network that embeds rows.
    items : Representation
        What represents the classes, such as means.
    rows : ndarray of shape (n_queries, *embedding_shape)
        Embedded queries.
    slope : callable
        From logits, uncorrected, to the derivative of the function by each of them; both of
        shape (n_queries, n_classes).

    Returns
    -------
    gradient : float64 ndarray of shape (n_items, *embedding_shape)
    """
    module = network.module
    assert isinstance(module, EmbedsRows)
    support = network.to_support(items)
    inputs = support.inputs.detach().requires_grad_()
    with torch.enable_grad():
        state = module.adapt_embedded(support._replace(inputs=inputs))
        logits = module.predict_embedded(state, network._rows(rows).unsqueeze(0))[0]
    by_logits = as_writeable_tensor(slope(logits.detach().double().cpu().numpy())).to(logits)
    (found,) = torch.autograd.grad(logits, inputs, by_logits)
    return found[0].double().cpu().numpy()
