"""Exact likelihoods of many continuations of one prompt, in a single forward pass over their trie.

Continuations that begin alike share their tokens, and each token of the trie sees only the prompt and its own ancestors
(the attention of SpecInfer's token trees, arXiv 2305.09781, section 4.2). So a language model weighs all paths of a
knowledge base around a topic by reading the prompt and the trie once, and nothing outside the trie can be chosen
(decoding in a KG-trie: graph-constrained reasoning, arXiv 2410.13080).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Trie:
    """A prompt and its continuations as rows of tokens.

    Rows below `prompt` are the tokens of the prompt. Each row has its `parent` row, so that a row's next tokens are its
    children and, where a continuation ends, that end."""

    ids: list[int]
    prompt: int
    parent: list[int]
    ends: list[list[tuple[int, int]]] = field(default_factory=list)

    @classmethod
    def build(cls, prompt: Sequence[int], continuations: Sequence[Sequence[int]]) -> Trie:
        """Build the trie of a prompt and its continuations.

        `ends` holds for each continuation the (predicting row, predicted token) of all its tokens. The last token of a
        continuation is predicted, never read. Raises ValueError for an empty prompt or continuation."""
        if not prompt or not all(continuations):
            raise ValueError("a prompt and every continuation need a token")
        trie = cls(list(prompt), len(prompt), list(range(-1, len(prompt) - 1)))
        children: dict[tuple[int, int], int] = {}
        for tokens in continuations:
            row, steps = len(prompt) - 1, []
            for number, token in enumerate(tokens):
                steps.append((row, token))
                if number == len(tokens) - 1:
                    break
                if (row, token) not in children:
                    children[row, token] = len(trie.ids)
                    trie.ids.append(token)
                    trie.parent.append(row)
                row = children[row, token]
            trie.ends.append(steps)
        return trie

    @property
    def depth(self) -> list[int]:
        """Each row's position in its own text."""
        depth: list[int] = []
        for parent in self.parent:
            depth.append(0 if parent < 0 else depth[parent] + 1)
        return depth


def log_likelihoods(model: Any, tries: Sequence[Trie], pad: int) -> list[Tensor]:
    """Log-probabilities in nats of every continuation given its prompt.

    Returns a tensor [continuations] for each trie. One forward pass for all tries; float32 whatever the model's dtype.
    Differentiable."""
    import torch

    device = model.get_output_embeddings().weight.device
    size = max(len(trie.ids) for trie in tries)
    ids = torch.full((len(tries), size), pad)
    positions = torch.zeros(len(tries), size, dtype=torch.long)
    seen = torch.zeros(len(tries), size, size, dtype=torch.bool)
    for number, trie in enumerate(tries):
        length = len(trie.ids)
        ids[number, :length] = torch.tensor(trie.ids)
        positions[number, :length] = torch.tensor(trie.depth)
        for row, parent in enumerate(trie.parent):
            if parent >= 0:
                seen[number, row] = seen[number, parent]
            seen[number, row, row] = True
        seen[number, length:, 0] = True  # a row of padding that sees nothing would give NaN
    mask = torch.zeros(seen.shape, dtype=model.dtype).masked_fill(~seen, torch.finfo(model.dtype).min)[:, None]
    hidden = model.base_model(
        input_ids=ids.to(device), position_ids=positions.to(device), attention_mask=mask.to(device), use_cache=False
    ).last_hidden_state
    found = []
    for number, trie in enumerate(tries):
        # Each row's logits are made once, however many continuations pass through it.
        rows = sorted({row for steps in trie.ends for row, _ in steps})
        place = {row: n for n, row in enumerate(rows)}
        log_q = model.get_output_embeddings()(hidden[number, rows]).float().log_softmax(-1)
        where = [(place[row], token) for steps in trie.ends for row, token in steps]
        each = log_q[[row for row, _ in where], [token for _, token in where]]
        found.append(torch.stack([part.sum() for part in each.split([len(steps) for steps in trie.ends])]))
    return found
