"""Dropout with fast random numbers."""

import torch
from torch import Tensor, nn

N_LEVELS = 256  # of a random byte


class QuickDropout(nn.Dropout):
    """Dropout; on the CPU one random byte decides on an element.

    torch draws one random number per element there, sequentially, which takes longer than a small
    matrix product. Bytes cost an eighth. The dropped share is rounded to a multiple of 1/256, and
    the kept elements are scaled by the inverse of the rounded share that is kept.

    Parameters
    ----------
    p : float
        Share of the elements that are dropped.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of a tensor of any shape."""
        n_kept = round(N_LEVELS * (1.0 - self.p))
        if not self.training or x.device.type != "cpu" or n_kept in (0, N_LEVELS):
            return super().forward(x)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        is_kept = words.view(torch.uint8)[: x.numel()].view(x.shape) < n_kept
        return x * is_kept.to(x.dtype).mul_(N_LEVELS / n_kept)
