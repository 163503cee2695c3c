"""`--method sft`: the student learns the trace's own tokens. Also the trainer of all methods with a scoring pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentkd.distill.data.forms import Example
from agentkd.distill.data.tokens import IGNORED, Inputs, Row, TrainingData
from agentkd.distill.health import with_health_checks
from agentkd.distill.lessons import mixup
from agentkd.distill.lessons.teacher_signal import TeacherSignal, read_targets, with_batch_loss
from agentkd.distill.lessons.trl_head import trl_knows_head
from agentkd.distill.resolve import Stage
from agentkd.errors import UserError
from agentkd.inference.padding import keeps_packed_apart
from agentkd.runs.progress import say

PACK = 1024  # tokens of a packed row, as TRL has it


def make_inputs(stage: Stage, tokenizer: Any, examples: Sequence[Example], rows: Sequence[Row]) -> Inputs:
    """The rows themselves, numbered; with `packing` several in one."""
    if stage.config.packing:
        packs = pack_rows(rows, stage.config.max_length or PACK)
        say(f"packing: {len(rows)} examples in {len(packs)} rows, the longest of {max(map(_size, packs))} tokens")
        return Inputs(packs, list(map(_size, packs)))
    return Inputs([{**row, "row": number} for number, row in enumerate(rows)], [len(row["input_ids"]) for row in rows])


def pack_rows(rows: Sequence[Row], most: int) -> list[dict[str, Any]]:
    """Join rows into rows of at most `most` tokens by best-fit decreasing; a longer one stays alone.

    `seq_lengths` are the lengths of the parts, by which TRL's collator makes their positions."""
    packs: list[list[Row]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: -len(row["input_ids"])):
        size = len(row["input_ids"])
        fits = [place for place, left in enumerate(room) if left >= size]
        if fits:
            place = min(fits, key=lambda place: room[place])
            packs[place].append(row)
            room[place] -= size
        else:
            packs.append([row])
            room.append(most - size)
    return [
        {
            **{name: [token for part in pack for token in part[name]] for name in ("input_ids", "labels")},
            "seq_lengths": [len(part["input_ids"]) for part in pack],
        }
        for pack in packs
    ]


def _size(pack: dict[str, Any]) -> int:
    return len(pack["input_ids"])


def make_trainer(
    stage: Stage,
    data: TrainingData,
    arguments: Mapping[str, Any],
    parts: Mapping[str, Any],
    signal: TeacherSignal | None,
) -> Any:
    """TRL's SFTTrainer over batches of similar length; with a signal, its loss and collator."""
    from trl import SFTConfig, SFTTrainer

    kind, collator = with_health_checks(with_length_groups(SFTTrainer)), {}
    if stage.config.packing:
        refuse_to_pack(parts["model"])
    read = mixup.read_mixed(stage.config.mixup, stage.config.seed) if stage.config.mixup else read_targets
    if signal is not None:
        kind, collator = with_batch_loss(kind, signal.loss, read), {"data_collator": signal.collator}
    elif stage.config.mixup:
        kind = with_batch_loss(kind, mixup.own_loss, read)
    elif not trl_knows_head(parts["model"]):
        say(f"TRL does not know how {type(parts['model']).__name__} makes its logits: all of them are kept in memory")
        kind = with_own_logits(kind)
    # Lengths were checked before, so that nothing is cut; the rows hold token ids already. The loss is that of the
    # target tokens alone, for a mixture of experts, too.
    plain: dict[str, Any] = {
        "max_length": None,
        "packing": stage.config.packing,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }
    plain |= {"router_aux_loss_coef": 0.0}
    return kind(args=SFTConfig(**arguments, **plain), **parts, **collator)


def refuse_to_pack(model: Any) -> None:
    """Raise UserError for a model that would read examples of one row as one text, or whose logits TRL cannot make."""
    kind = type(model).__name__
    if not keeps_packed_apart(model):
        raise UserError(f"packing: {kind} does not keep examples of one row apart: leave packing out")
    if not trl_knows_head(model):
        raise UserError(f"packing: TRL does not know how {kind} makes its logits: leave packing out")


def with_own_logits(trainer: Any) -> Any:
    """The trainer class with the loss of the logits that the model itself makes."""

    class Trainer(trainer):  # type: ignore[misc]
        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            import torch

            read = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            logits = model(**read, use_cache=False).logits[:, :-1].float().flatten(0, 1)
            targets = inputs["labels"][:, 1:].flatten()
            total = torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
            loss = total / ((targets != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch)
            if num_items_in_batch is not None and self.args.average_tokens_across_devices:
                loss = loss * self.accelerator.num_processes  # the count is of all processes, and DDP takes the mean
            return (loss, None) if return_outputs else loss

    return Trainer


def with_length_groups(trainer: Any) -> Any:
    """The trainer class with steps of examples of similar length, which need little padding.

    transformers' own "group_by_length" draws from the global generator, so that a resumed run would see another order.
    A step holds the same examples however they are divided among processes and accumulated batches."""
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    class LengthGroupedSampler(torch.utils.data.Sampler[int]):
        def __init__(self, lengths: list[int], batch: int, seed: int) -> None:
            self.lengths, self.batch, self.seed, self.epoch = lengths, batch, seed, 0

        def __len__(self) -> int:
            return len(self.lengths)

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self) -> Iterator[int]:
            generator = torch.Generator().manual_seed(self.seed + self.epoch)
            return iter(get_length_grouped_indices(self.lengths, self.batch, generator=generator))

    class Trainer(trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            lengths = [len(ids) for ids in self.train_dataset["input_ids"]]
            step = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
            return LengthGroupedSampler(lengths, step, self.args.seed)

    return Trainer
