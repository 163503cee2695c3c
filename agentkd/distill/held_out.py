"""`eval_fraction=`: the loss on questions that are held out of training, early stopping, and the best weights kept.

After each epoch the negative log-likelihood of the held-out targets is measured, for every method alike, in nats per
target token. It stands in the trainer's own log, which each checkpoint holds, so that a resumed run knows all of it.
The trained tensors of the best epoch lie in `checkpoints/best.safetensors` until the student is saved.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkd.distill.data.tokens import IGNORED, Row, pad_rows
from agentkd.distill.losses import LOGITS
from agentkd.errors import UserError, WorldError
from agentkd.inference.head import Head
from agentkd.runs.progress import say

LOSS = "eval_loss"  # as transformers calls it
BEST = "best.safetensors"


def measure_loss(model: Any, rows: Sequence[Row], *, pad: int, batch: int) -> float:
    """The mean negative log-likelihood of the rows' target tokens, in nats per token."""
    import torch

    try:
        head: Head | None = Head.of(model)
    except UserError:
        head, batch = None, 1  # all logits of a row are in memory
    device, training = model.get_input_embeddings().weight.device, model.training
    model.eval()
    total, count = 0.0, 0
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]["input_ids"]))
    try:
        with torch.no_grad():
            for first in range(0, len(order), batch):
                inputs = pad_rows([rows[place] for place in order[first : first + batch]], pad)
                inputs = {name: value.to(device) for name, value in inputs.items()}
                labels = inputs.pop("labels")[:, 1:]
                learned = labels != IGNORED
                targets = labels[learned]
                if head is None:
                    parts = [model(**inputs).logits[:, :-1][learned].float()]
                else:
                    hidden = head.states(model, **inputs, use_cache=False)[:, :-1][learned]
                    chunk = max(1, LOGITS // len(head.weight))
                    parts = [head.logits(some) for some in torch.split(hidden, chunk)]
                for logits, wanted in zip(parts, torch.split(targets, [len(part) for part in parts]), strict=True):
                    total += float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
                count += len(targets)
    finally:
        model.train(training)
    return total / count


def read_curve(history: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """The measured (step, loss) pairs of a trainer's log."""
    return [(int(entry["step"]), float(entry[LOSS])) for entry in history if LOSS in entry]


def best_of(curve: Sequence[tuple[int, float]]) -> tuple[int, float]:
    """The first pair of the smallest loss."""
    return min(curve, key=lambda pair: (pair[1], pair[0]))


def is_enough(curve: Sequence[tuple[int, float]], patience: int | None) -> bool:
    """Whether the last `patience` measurements were all no better than an earlier one."""
    if patience is None or len(curve) <= patience:
        return False
    return best_of(curve)[0] < curve[-patience][0]


def held_out_callback(model: Any, rows: Sequence[Row], folder: Path, *, pad: int, patience: int | None) -> Any:
    """A transformers callback that measures the loss after each epoch, keeps the best weights in `folder`, and stops
    the training once `patience` epochs in a row were no better."""
    from transformers import TrainerCallback

    class HeldOut(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # A checkpoint of an epoch's last step may be older than its measurement.
            epoch = state.epoch or 0.0
            if state.global_step and abs(epoch - round(epoch)) < 1e-6 and not self.has_measured(state):
                self.measure(args, state, control)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            stopped = control.should_training_stop and state.global_step < state.max_steps  # by ctrl-C
            if not stopped and not self.has_measured(state):
                self.measure(args, state, control)

        def has_measured(self, state: Any) -> bool:
            return any(step == state.global_step for step, _ in read_curve(state.log_history))

        def measure(self, args: Any, state: Any, control: Any) -> None:
            loss = measure_loss(model, rows, pad=pad, batch=args.train_batch_size)
            state.log_history.append({"epoch": state.epoch, "step": state.global_step, LOSS: loss})
            curve = read_curve(state.log_history)
            best = best_of(curve)
            mark = ", the best so far" if best[0] == state.global_step else ""
            say(f"held-out loss after step {state.global_step}: {loss:.4f} nats/token{mark}")
            if best[0] == state.global_step:
                keep_best(model, folder, state.global_step)
            if is_enough(curve, patience):
                say(f"{patience} epochs were no better than step {best[0]}: training stops")
                control.should_training_stop = True
            elif state.global_step < state.max_steps:
                control.should_save = True

    return HeldOut()


def keep_best(model: Any, folder: Path, step: int) -> None:
    """Write the tensors that are trained, replacing those of an earlier step. Raises WorldError if the disk refuses."""
    from safetensors.torch import save_file

    from agentkd.distill.health import guard_saving

    trained = {name: weight.detach().contiguous() for name, weight in model.named_parameters() if weight.requires_grad}
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".{BEST}.{os.getpid()}"
    with guard_saving(half):
        save_file(trained, half, metadata={"step": str(step)})
        half.replace(folder / BEST)


def load_best(model: Any, folder: Path, history: Sequence[Mapping[str, Any]]) -> int:
    """Put the tensors of the best measurement back into the model, and return its step.

    Raises WorldError where they are gone."""
    from safetensors import safe_open

    curve = read_curve(history)
    step, last = best_of(curve)[0], curve[-1][0]
    if step == last:
        return step
    try:
        with safe_open(folder / BEST, framework="pt") as stored:
            if (stored.metadata() or {}).get("step") != str(step):
                raise FileNotFoundError
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  it is no dict
    except FileNotFoundError:
        raise WorldError(
            f"{folder / BEST}, the weights of the best step {step}, is gone: remove {folder.parent} and train again"
        ) from None
    model.load_state_dict(tensors, strict=False)
    return step
