"""A tiny language model that writes relation paths word by word, and the likelihood that it gives to candidates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from agentkd.reproduce.fit import Plan, epochs

PAD, END, UNKNOWN = 0, 1, 2
IGNORED = -100
Pair = tuple[str, str]  # a question's text, and the label of a path


def split_words(text: str) -> list[str]:
    """Words and signs in lower case."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


class PathModel:
    """A Llama of random weights over the words of some texts. Other words are one unknown word."""

    def __init__(self, texts: Sequence[str], *, width: int = 64, layers: int = 2) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        words = sorted({word for text in texts for word in split_words(text)})
        self.ids = {word: number + UNKNOWN + 1 for number, word in enumerate(words)}
        shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers}
        size = len(words) + UNKNOWN + 1
        settings = LlamaConfig(vocab_size=size, num_attention_heads=4, tie_word_embeddings=True, **shape)
        self.net: Any = LlamaForCausalLM(settings)

    def encode(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        """Token ids and labels [N, L] of questions followed by paths; labels outside path and end are IGNORED."""
        ids, labels = [], []
        for text, label in pairs:
            prompt, target = self._ids(text), [*self._ids(label), END]
            ids.append(torch.tensor(prompt + target))
            labels.append(torch.tensor([IGNORED] * len(prompt) + target))
        return pad_sequence(ids, True, PAD), pad_sequence(labels, True, IGNORED)

    def _ids(self, text: str) -> list[int]:
        return [*(self.ids.get(word, UNKNOWN) for word in split_words(text)), END]

    def learn(self, pairs: Sequence[Pair], plan: Plan) -> None:
        """Learn the paths of questions, by AdamW with a cosine schedule."""
        ids, labels = self.encode(pairs)
        steps = plan.epochs * (len(pairs) // plan.batch)
        optimiser = torch.optim.AdamW(self.net.parameters(), plan.lr, weight_decay=plan.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        self.net.train()
        for rows in epochs(len(pairs), plan):
            for picks in rows:
                optimiser.zero_grad()
                self._nll(ids[picks], labels[picks], "mean").backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
        self.net.eval()

    @torch.no_grad()
    def weigh(self, pairs: Sequence[Pair], batch: int = 512) -> list[float]:
        """The log-likelihood of each path after its question, in nats."""
        order = sorted(range(len(pairs)), key=lambda place: len(pairs[place][0]) + len(pairs[place][1]))
        found = [0.0] * len(pairs)
        for start in range(0, len(order), batch):
            picks = order[start : start + batch]
            ids, labels = self.encode([pairs[place] for place in picks])
            nll = self._nll(ids, labels, "rows")
            for place, value in zip(picks, nll.tolist(), strict=True):
                found[place] = -value
        return found

    def _nll(self, ids: Tensor, labels: Tensor, reduction: str) -> Tensor:
        """The negative log-likelihood of labels: their mean, or one value for each row's sum."""
        hidden = self.net.model(input_ids=ids).last_hidden_state[:, :-1]  # padding is on the right: nothing reads it
        targets = labels[:, 1:]
        told = targets != IGNORED
        nll = cross_entropy(self.net.lm_head(hidden[told]), targets[told], reduction="none")
        return nll.mean() if reduction == "mean" else torch.zeros(told.shape).masked_scatter(told, nll).sum(-1)
