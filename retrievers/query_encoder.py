"""Encode one query with a sentence-transformers model, fast on a CPU.

Most time there goes into reading the weights and into Python around many small operations. So the weights are kept in
half precision and the transformer is traced. Where either is impossible, the model runs as it is.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt


@contextlib.contextmanager
def use_one_thread() -> Iterator[None]:
    """Context manager: torch uses one thread.

    On busy cores the threads of a small operation wait for each other.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class QueryEncoder:
    """Unit vectors [1, width] of single texts."""

    def __init__(self, model: Any) -> None:
        self.model, self.body = model, None
        if model.device.type == "cpu":
            with warnings.catch_warnings(), use_one_thread():
                warnings.simplefilter("ignore")  # torch says that these functions have successors, or will have
                self.model = store_half_precision(model)
                self.body = trace_transformer(self.model[0].auto_model)

    def __call__(self, text: str) -> npt.NDArray[np.float32]:
        import torch
        from sentence_transformers.util import batch_to_device

        with torch.inference_mode(), use_one_thread():
            features = batch_to_device(self.model.preprocess([text]), self.model.device)
            if self.body is None:
                features = self.model(features)
            else:
                features["token_embeddings"] = self.body(features["input_ids"], features["attention_mask"])
                for module in list(self.model)[1:]:
                    features = module(features)
            vector = features["sentence_embedding"].float().cpu().numpy()
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def store_half_precision(model: Any) -> Any:
    """Return a copy with float16 weights in its linear layers, or the model itself where that is impossible."""
    import torch

    try:
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.float16)  # type: ignore[no-untyped-call]
    except (AttributeError, RuntimeError):
        return model


def trace_transformer(transformer: Any) -> Any:
    """Return a TorchScript trace of the transformer, from ids and mask to states [1, L, width].

    None where a trace of one length does not give the model's own states at other lengths."""
    import torch

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            states: torch.Tensor = self.transformer(input_ids=ids, attention_mask=mask).last_hidden_state
            return states

    def example(length: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.arange(1, length + 1)[None], torch.ones(1, length, dtype=torch.long)

    states = States().eval()
    transformer.loss_type = "ForCausalLM"  # tracing reads every attribute; transformers warns where it finds no loss
    try:
        with torch.inference_mode():
            trace = torch.jit.trace(states, example(7), check_trace=False)  # type: ignore[no-untyped-call]
            trace = torch.jit.freeze(trace.eval())
            same = all(torch.allclose(trace(*example(n)), states(*example(n)), atol=1e-5) for n in (3, 20, 64))
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return None
    return trace if same else None
