"""Exact likelihoods of many continuations of one prompt, in a single forward pass over their trie.

Continuations that begin alike share their tokens, and each token of the trie sees only the prompt and its own ancestors
(the attention of SpecInfer's token trees, arXiv 2305.09781, section 4.2). So a language model weighs all paths of a
knowledge base around a topic by reading the prompt and the trie once, and nothing outside the trie can be chosen
(decoding in a KG-trie: graph-constrained reasoning, arXiv 2410.13080).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agentkd.errors import UserError
from agentkd.inference.head import Head
from agentkd.inference.model_folder import context_length
from agentkd.runs.progress import say

if TYPE_CHECKING:
    from torch import Tensor

TEXTS = 16  # read at once where no trie can be read
ASIDE = 100  # tokens that stand between a prompt and its continuation when it is tried whether a model reads tries


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


class Weigher:
    """Log-likelihoods of continuations by a causal model: in one pass over their tries where the model reads a trie as
    it reads a text, else text by text.

    A model does not if its positions or its state follow the order of the rows (ALiBi in Bloom and MPT, Mamba). Whether
    it does is tried out once, on short tries."""

    def __init__(self, model: Any, pad: int) -> None:
        self.model, self.pad = model, pad
        try:
            self.head: Head | None = Head.of(model)
        except UserError:  # an unusual one: then the model makes its logits itself
            self.head = None
        self.reach = trie_reach(model.config.get_text_config())
        self.by_trie = self.head is not None and reads_tries(model, self.head)
        if not self.by_trie:
            say(
                f"{type(model).__name__} cannot read continuations as a trie: it reads them one by one, which is slower"
            )

    def __call__(self, tries: Sequence[Trie]) -> list[Tensor]:
        """Log-probabilities in nats [continuations] of every trie's continuations given its prompt."""
        longest = max(len(trie.ids) for trie in tries)
        if self.head is not None and self.by_trie and longest <= self.reach:
            return log_likelihoods(self.model, self.head, tries, self.pad)
        return [read_one_by_one(self.model, self.head, trie, self.pad) for trie in tries]


def log_likelihoods(model: Any, head: Head, tries: Sequence[Trie], pad: int) -> list[Tensor]:
    """Log-probabilities in nats of every continuation given its prompt.

    Returns a tensor [continuations] for each trie. One forward pass for all tries; float32 whatever the model's dtype.
    Differentiable."""
    import torch

    device = head.weight.device
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
    hidden = head.states(
        model,
        input_ids=ids.to(device),
        position_ids=positions.to(device),
        attention_mask=mask.to(device),
        use_cache=False,
    )
    found = []
    for number, trie in enumerate(tries):
        # Each row's logits are made once, however many continuations pass through it.
        rows = sorted({row for steps in trie.ends for row, _ in steps})
        place = {row: n for n, row in enumerate(rows)}
        log_q: Any = head.logits(hidden[number, rows]).log_softmax(-1)
        where = [(place[row], token) for steps in trie.ends for row, token in steps]
        each = log_q[[row for row, _ in where], [token for _, token in where]]
        found.append(torch.stack([part.sum() for part in each.split([len(steps) for steps in trie.ends])]))
    return found


def read_one_by_one(model: Any, head: Head | None, trie: Trie, pad: int) -> Tensor:
    """What `log_likelihoods` gives for one trie, from plain texts of prompt and continuation.

    Without a head the model's own logits of all positions are taken."""
    import torch

    prompt, device = trie.ids[: trie.prompt], model.get_input_embeddings().weight.device
    found = []
    for first in range(0, len(trie.ends), TEXTS):
        targets = [[token for _, token in steps] for steps in trie.ends[first : first + TEXTS]]
        longest = len(prompt) + max(map(len, targets)) - 1
        ids = torch.full((len(targets), longest), pad, device=device)
        mask = torch.zeros_like(ids)
        for number, tokens in enumerate(targets):
            text = [*prompt, *tokens[:-1]]
            ids[number, : len(text)] = torch.tensor(text)
            mask[number, : len(text)] = 1
        read = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
        states = model(**read).logits if head is None else head.states(model, **read)
        for number, tokens in enumerate(targets):
            own = states[number, len(prompt) - 1 : len(prompt) - 1 + len(tokens)]
            log_q = (own.float() if head is None else head.logits(own)).log_softmax(-1)
            found.append(log_q.gather(-1, torch.tensor(tokens, device=device)[:, None]).sum())
    return torch.stack(found)


def reads_tries(model: Any, head: Head) -> bool:
    """Whether a model gives a continuation in a trie what it gives it in a plain text, wherever it stands in the trie
    and whatever stands before it there."""
    import torch

    size = len(head.weight)
    prompt, asked = [number % size for number in range(1, 10)], [number % size for number in range(10, 17)]
    aside, other = ([(factor * number) % size for number in range(1, ASIDE)] for factor in (7, 11))
    tries = [[Trie.build(prompt, [aside, asked])], [Trie.build(prompt, [other, asked])], [Trie.build(prompt, [asked])]]
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()
            one, two, alone = (float(log_likelihoods(model, head, trie, 0)[0][-1]) for trie in tries)
            plain = float(read_one_by_one(model, head, tries[2][0], 0)[0])
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError, NotImplementedError):
        return False  # it knows no mask of two dimensions, or no positions
    finally:
        model.train(training)
    rough = (1e-3 if head.weight.dtype == torch.float32 else 2e-2) * (1 + abs(plain))
    # What is masked has no weight at all, so that other tokens there change nothing, in any precision.
    return abs(one - two) < rough / 100 and abs(one - plain) < rough and abs(alone - plain) < rough


def trie_reach(settings: Any) -> float:
    """The number of rows up to which a model sees all before it and has a place for each: the least of its context and
    of its windows of attention, which a mask of our own would take away."""
    names = [name for name in settings.to_dict() if re.search(r"window(_size)?$|attention_chunk_size$", name)]
    sizes = [getattr(settings, name) for name in names] + [context_length(settings)]
    return min((size for size in sizes if isinstance(size, int) and size > 0), default=math.inf)
