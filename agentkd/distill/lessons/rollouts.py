"""How rollouts teach in `--method on-policy`, besides GKD: `rollouts=sod`, `trd` or `skew-pair`.

- sod: a step after a strange one teaches less (`agentkd/methods/tokens/stepwise.py`). A step of a path is a relation,
  of other forms a line
- trd: the teacher writes on from the first token that it finds strange (`agentkd/methods/tokens/refined.py`), and the
  mended rollout is learned
- skew-pair: forward skew on the trace, reverse skew on the rollout (DistiLLM-2, `agentkd/methods/tokens/distillm.py`)

Generation and the loop stay TRL's. Losses here keep the logits of a batch's rollouts in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from agentkd.distill.data.forms import Example
from agentkd.distill.data.tokens import IGNORED, Row, target_tokens
from agentkd.inference.head import Head
from agentkd.methods.divergences import Divergence, log_probs
from agentkd.methods.tokens.distillm import contrastive_loss, sequence_divergences
from agentkd.methods.tokens.refined import first_fault, splice
from agentkd.methods.tokens.stepwise import number_steps, step_weights

BREAKS = (">", "\n", "Ċ")  # signs in a token that end a step; Ċ is a line break in byte-level vocabularies


@dataclass(frozen=True)
class RolloutLesson:
    """What the trainer needs: the divergence, which tokens end a step [V], and the traces' targets by prompt."""

    kind: str
    divergence: Divergence
    alpha: float
    breaks_V: Tensor
    targets: Mapping[str, list[int]]
    pad: int


def find_breaks(tokenizer: Any, size: int) -> Tensor:
    """Which tokens end a step [V], of an output layer of `size` tokens."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(min(size, len(tokenizer)))))
    found = [any(sign in (token or "") for sign in BREAKS) for token in tokens]
    return torch.tensor(found + [False] * (size - len(found)))


def prompt_key(prompt: Any) -> str:
    """A prompt as TRL has it, a text or messages, as a key."""
    return json.dumps(prompt, sort_keys=True)


def find_targets(prompts: Sequence[Any], examples: Sequence[Example], rows: Sequence[Row]) -> dict[str, list[int]]:
    """The target's tokens for each prompt; of several targets the first."""
    first: dict[Any, list[int]] = {}
    for example, row in zip(examples, rows, strict=True):
        first.setdefault(example.prompt, target_tokens(row))
    return {prompt_key(row["prompt"]): target for row, target in zip(prompts, first.values(), strict=True)}


def with_rollouts(trainer: Any, lesson: RolloutLesson) -> Any:
    """The trainer class whose rollouts teach as `lesson` says."""

    class Trainer(trainer):  # type: ignore[misc]
        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
            if lesson.kind == "trd":
                batch = mend(self.accelerator.unwrap_model(self.teacher_model), batch, lesson.pad, self.args)
                if batch["num_items_in_batch"] is not None:
                    batch["num_items_in_batch"] = self.accelerator.gather(batch["completion_mask"].sum()).sum()
            if lesson.kind == "skew-pair":
                targets = [lesson.targets[prompt_key(row["prompt"])] for row in inputs]
                ids, mask = pad_targets(targets, lesson.pad, batch["prompt_ids"].device)
                batch |= {"target_ids": ids, "target_mask": mask}
            return batch

        def _compute_loss(self, student: Any, inputs: dict[str, Any], count: Any) -> tuple[Tensor, Tensor, Tensor]:
            if lesson.kind == "trd":
                found: tuple[Tensor, Tensor, Tensor] = super()._compute_loss(student, inputs, count)
                return found
            ids, mask = inputs["completion_ids"], inputs["completion_mask"].bool()
            own, other = self._both_logits(student, inputs, ids, mask)
            if lesson.kind == "skew-pair":
                target, kept = inputs["target_ids"], inputs["target_mask"].bool()
                chosen = measure(*self._both_logits(student, inputs, target, kept), target, kept, lesson.alpha)
                rejected = measure(own, other, ids, mask, lesson.alpha)
                loss = contrastive_loss(chosen, rejected).mean() / self.args.gradient_accumulation_steps
            else:
                loss = weigh_steps(lesson, own, other, ids, mask) / (mask.sum() if count is None else count)
            log_q = log_probs(own.detach())
            entropy = torch.where(mask, -(log_q.exp() * log_q).sum(-1), 0.0).sum()
            return loss, entropy, mask.sum()

        def _both_logits(
            self, student: Any, inputs: dict[str, Any], ids: Tensor, mask: Tensor
        ) -> tuple[Tensor, Tensor]:
            """Logits of both models [B, K, V] for the tokens `ids` [B, K] after the prompts, at the temperature."""
            whole = torch.cat([inputs["prompt_ids"], ids], 1)
            seen = torch.cat([inputs["prompt_mask"], mask.to(inputs["prompt_mask"].dtype)], 1)
            teacher = self.accelerator.unwrap_model(self.teacher_model)
            hidden = self._get_last_hidden_state(student, whole, seen, ids.shape[1])
            with torch.no_grad():
                told = self._get_last_hidden_state(teacher, whole, seen, ids.shape[1])
                other = heads["teacher"].logits(told) / self.temperature
            return heads["student"].logits(hidden) / self.temperature, other

        def __init__(self, *args: Any, **options: Any) -> None:
            heads.update(student=Head.of(options["model"]), teacher=Head.of(options["teacher_model"]))
            super().__init__(*args, **options)

    heads: dict[str, Head] = {}
    return Trainer


def weigh_steps(lesson: RolloutLesson, own: Tensor, other: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The sum over tokens of the divergence times the weight of the token's step."""
    log_q, log_p = log_probs(own), log_probs(other)
    picked = ids[..., None]
    student, teacher = (values.gather(-1, picked)[..., 0].detach() for values in (log_q, log_p))
    steps = number_steps(lesson.breaks_V.to(ids.device)[ids] & mask)
    weights = step_weights(student, teacher, steps, mask)
    return torch.where(mask, weights * lesson.divergence(log_p, log_q), 0.0).sum()


def measure(own: Tensor, other: Tensor, ids: Tensor, mask: Tensor, alpha: float) -> Any:
    """DistiLLM-2's divergences of the tokens `ids` from logits that stand at the tokens they predict."""
    labels = torch.where(mask, ids, IGNORED)
    shifted = torch.cat([torch.full_like(labels[:, :1], IGNORED), labels], 1)
    student, teacher = (torch.cat([logits, logits[:, -1:]], 1) for logits in (own, other))  # the last predicts nothing
    return sequence_divergences(student, teacher, shifted, alpha=alpha)


def pad_targets(targets: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Tensor, Tensor]:
    """Token ids and their mask [B, K], padded on the right."""
    longest = max(map(len, targets))
    ids = torch.tensor([[*target, *[pad] * (longest - len(target))] for target in targets], device=device)
    mask = torch.tensor([[1] * len(target) + [0] * (longest - len(target)) for target in targets], device=device)
    return ids, mask


@torch.no_grad()
def mend(teacher: Any, batch: dict[str, Any], pad: int, settings: Any) -> dict[str, Any]:
    """The batch with rollouts that the teacher has continued from the first token that it finds strange."""
    teacher.eval()
    ids, mask = batch["completion_ids"], batch["completion_mask"].bool()
    whole = torch.cat([batch["prompt_ids"], ids], 1)
    seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = ids.shape[1]
    logits = teacher(input_ids=whole, attention_mask=seen, use_cache=False).logits[:, -width - 1 : -1].float()
    places = first_fault(log_probs(logits).gather(-1, ids[..., None])[..., 0], mask)
    rollouts = [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]
    for number, place in enumerate(places.tolist()):
        if place >= len(rollouts[number]):
            continue
        prompt = batch["prompt_ids"][number][batch["prompt_mask"][number].bool()]
        start = torch.cat([prompt, ids[number, :place]])[None]
        room = settings.max_completion_length - place
        written = teacher.generate(
            start, attention_mask=torch.ones_like(start), max_new_tokens=room, do_sample=False, pad_token_id=pad
        )
        rest = written[0, start.shape[1] :].tolist()
        rollouts[number] = splice(rollouts[number], place, rest, settings.max_completion_length)
    mended, kept = pad_targets(rollouts, pad, ids.device)
    return batch | {"completion_ids": mended, "completion_mask": kept.to(batch["completion_mask"].dtype)}
