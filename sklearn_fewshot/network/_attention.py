"""What queries read of a support set."""

from __future__ import annotations

import numpy as np
import torch

from ..nn import EmbeddingModule
from ..nn.heads import Head
from ._network import FittedNetwork
from ._values import Representation


def attention(network: FittedNetwork, items: Representation, rows: np.ndarray) -> np.ndarray:
    """Return how much encoded queries read of the items of a support set.

    Parameters
    ----------
    network : FittedNetwork
        With a head that reads by attention.
    items : Representation
        The support set.
    rows : ndarray of shape (n_queries, *encoded_shape)
        Encoded queries.

    Returns
    -------
    attention : float64 ndarray of shape (n_queries, n_items)
        Rows add up to one.
    """
    module = network.module
    if not isinstance(module, EmbeddingModule) or type(module.head).attention is Head.attention:
        raise TypeError(
            "This network does not read the support set by attention. Take a learner that does: "
            "MatchingNetClassifier, InContextClassifier, MANNClassifier or MetaNetClassifier."
        )
    support, queries = network.to_support(items), network.to_tensor(rows)
    with torch.no_grad():
        read = module.head.attention(support, queries.unsqueeze(0))
    return read[0].double().cpu().numpy()
