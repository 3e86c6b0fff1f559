"""Attention made for training on a CPU, right on any device: causal, in blocks of queries.

In:     queries, keys and values of whole documents, padded on the right.
Out:    what transformers' own functions give.
Source: ours. With heads as narrow as ours, PyTorch's fused attention for the CPU takes half of a training step.
"""

from typing import Any

import torch
from transformers import AttentionInterface

BLOCKED = "ditto_blocked"
"""Name of it, for `set_attn_implementation`."""
_BLOCK = 128


# Compiled layers call it as it is: its loop would be compiled anew for each number of blocks.
@torch.compiler.disable  # type: ignore[untyped-decorator]
def _blocked(
    _module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, _mask: None, scaling: float, **_: Any
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attention over (documents, heads, tokens, width); a block sees the keys up to its own end only."""
    found, query = [], query * scaling
    for start in range(0, query.shape[2], _BLOCK):
        block = query[:, :, start : start + _BLOCK]
        end = start + block.shape[2]
        scores = block @ key[:, :, :end].transpose(-1, -2)
        later = torch.ones(block.shape[2], block.shape[2], dtype=torch.bool, device=scores.device).triu(1)
        scores[..., start:].masked_fill_(later, float("-inf"))
        found.append(torch.softmax(scores, -1) @ value[:, :, :end])
    return torch.cat(found, 2).transpose(1, 2), None


AttentionInterface.register(BLOCKED, _blocked)
