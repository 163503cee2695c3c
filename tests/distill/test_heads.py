"""A model's own output layer, wherever logits are made by hand: scales, caps, biases, ties and padded vocabularies."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from agentkd.distill.data import teacher_scores  # noqa: E402 (torch is optional)
from agentkd.distill.lessons.on_policy import fit_vocabulary  # noqa: E402
from agentkd.distill.lessons.teacher_signal import chunked_loss  # noqa: E402
from agentkd.distill.lessons.trl_head import refuse_unknown_head, trl_knows_head  # noqa: E402
from agentkd.distill.lora import lora_config, merge_adapters, transposed_layers  # noqa: E402
from agentkd.distill.publish.gguf import export  # noqa: E402
from agentkd.distill.stages import distill  # noqa: E402
from agentkd.distill.student import load_model, open_student  # noqa: E402
from agentkd.errors import UserError  # noqa: E402
from agentkd.inference.head import Head  # noqa: E402
from agentkd.inference.model_folder import load_weights  # noqa: E402
from agentkd.inference.trie import Trie, Weigher, read_one_by_one  # noqa: E402
from tests.support.families import family_model, family_student  # noqa: E402
from tests.support.students import sft_config  # noqa: E402

FOUND = {
    "llama": (1.0, None),
    "opt": (1.0, None),  # its last hidden states are projected first
    "minicpm3": (1.0, None),  # and here they are scaled
    "granite": (1 / 8, None),
    "cohere": (0.25, None),
    "hyperclovax": (4.0, None),  # a `logits_scaling` by which it multiplies
    "gemma2": (1.0, 3.0),
    "recurrent_gemma": (1.0, 3.0),  # by another name
    "phi": (1.0, None),  # with a bias
}
IDS = torch.arange(20, 50)[None]


def log_p(model: Any, ids: Any = IDS) -> Any:
    with torch.no_grad():
        return model(input_ids=ids).logits.float().log_softmax(-1)


@pytest.mark.parametrize("name", FOUND)
def test_the_head_is_found_on_the_model_itself(name: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        model = family_model(name).to(dtype)
        head = Head.of(model)
        assert (head.scale, head.cap) == FOUND[name] and (head.bias is None) == (name != "phi")
        with torch.no_grad():
            states = head.states(model, input_ids=IDS)
            ours = head.logits(states).log_softmax(-1)
        close = 1e-5 if dtype == torch.float32 else 0.1
        torch.testing.assert_close(ours, log_p(model), rtol=0, atol=close)
        assert states.shape[:2] == IDS.shape and len(model(input_ids=IDS).logits[0]) == 30  # nothing is left behind


def test_a_head_that_does_something_else_is_refused() -> None:
    from transformers import LlamaForCausalLM

    class Squared(LlamaForCausalLM):  # type: ignore[misc]
        def forward(self, *args: Any, **options: Any) -> Any:
            out = super().forward(*args, **options)
            out.logits = out.logits * out.logits.abs()
            return out

    class Doubled(LlamaForCausalLM):  # type: ignore[misc]
        def forward(self, *args: Any, **options: Any) -> Any:
            out = super().forward(*args, **options)
            out.logits = out.logits * 1.7  # a number that its config does not have
            return out

    for kind in (Squared, Doubled):
        model = kind(family_model("llama").config).eval()
        with pytest.raises(UserError, match=rf"{kind.__name__} \(llama\) makes its logits in a way .*: take another"):
            Head.of(model)
        assert not trl_knows_head(model)
        with pytest.raises(UserError, match="--method preference is TRL's, which does not know how"):
            refuse_unknown_head(model, "preference")
        weigher = Weigher(model, 0)  # from the model's own logits
        trie = Trie.build([5, 6, 7], [[8, 9, 256], [8, 256]])
        with torch.inference_mode():
            own = log_p(model, torch.tensor([[5, 6, 7, 8, 9, 256]]))[0]
            assert float(weigher([trie])[0][0]) == pytest.approx(float(own[2, 8] + own[3, 9] + own[4, 256]), abs=1e-4)


def test_an_unknown_head_is_refused_before_a_directory_is_made_and_before_a_first_stage(
    traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import GraniteForCausalLM

    forward = GraniteForCausalLM.forward

    def squared(self: Any, *args: Any, **options: Any) -> Any:
        out = forward(self, *args, **options)
        out.logits = out.logits * out.logits.abs()
        return out

    monkeypatch.setattr(GraniteForCausalLM, "forward", squared)
    odd, plain = family_student(tmp_path / "odd", "granite"), family_student(tmp_path / "plain", "llama")
    for student, teacher, method in ((odd, plain, "logits"), (plain, odd, "sft,logits")):
        with pytest.raises(UserError, match=r"GraniteForCausalLM .granite. makes its logits in a way that"):
            distill(sft_config(student, traces, tmp_path / "out", method=method, teacher=str(teacher), limit=2))
        assert not (tmp_path / "out").exists()


def test_trl_knows_most_heads_and_the_others_are_seen() -> None:
    assert trl_knows_head(family_model("granite")) and trl_knows_head(family_model("gemma2"))
    model = family_model("recurrent_gemma")
    assert not trl_knows_head(model) and "forward" not in vars(model)


@pytest.mark.parametrize("name", ["granite", "gemma2", "phi"])
def test_chunks_have_the_gradients_of_the_models_own_loss(name: str) -> None:
    model = family_model(name)
    labels = torch.arange(60, 89)
    expected = torch.nn.functional.cross_entropy(model(input_ids=IDS).logits[0, :-1], labels, reduction="sum")
    weights = [model.get_output_embeddings().weight, *model.get_output_embeddings().parameters(), *model.parameters()]
    gradients = torch.autograd.grad(expected, weights)
    head = Head.of(model)

    def nll(logits: Any, target: Any) -> Any:
        return torch.nn.functional.cross_entropy(logits, target, reduction="none")

    ours = chunked_loss(nll, head.states(model, input_ids=IDS)[0, :-1], head, labels, chunk=7)
    torch.testing.assert_close(ours, expected.detach(), rtol=1e-5, atol=1e-4)
    for mine, other in zip(torch.autograd.grad(ours, weights, allow_unused=True), gradients, strict=True):
        assert mine is not None
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["granite", "gemma2"])
def test_a_teacher_is_scored_by_its_own_log_likelihoods_and_padding_is_no_token(name: str, tmp_path: Path) -> None:
    model = family_model(name, vocab_size=400)
    with torch.no_grad():
        model.get_output_embeddings().weight[300] += 3.0  # a padding row that would be likely
    ids = IDS[0].tolist()
    rows = [{"input_ids": ids, "labels": [-100] * 10 + ids[10:]}]
    scores = teacher_scores.score_rows(model, range(258), rows, tmp_path, 258)
    own = log_p(model)[0, 9:-1]
    assert (own.argmax(-1) > 258).any()
    torch.testing.assert_close(
        torch.from_numpy(scores.target_log_p(0)), own.gather(-1, IDS[0, 10:, None])[:, 0], rtol=1e-4, atol=1e-4
    )
    known, values = map(torch.from_numpy, scores.top_k_of(0))
    assert known.max() < 258
    torch.testing.assert_close(values, own.gather(-1, known), rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="top_k is 259: the teacher knows 258 tokens"):
        teacher_scores.score_rows(model, range(258), rows, tmp_path / "other", 259)


@pytest.mark.parametrize(
    ("name", "by_trie"),
    [("llama", True), ("granite", True), ("gemma2", True), ("mpt", False), ("bloom", False), ("mamba", False)],
)
def test_continuations_are_weighed_as_the_model_does(name: str, by_trie: bool) -> None:
    """No trie is read where positions or states follow the rows (MPT, Bloom, Mamba), nor, though Gemma 2 could, one
    that is longer than a window of attention."""
    model = family_model(name, **({"sliding_window": 24} if name == "gemma2" else {}))
    weigher = Weigher(model, 256)
    assert weigher.by_trie == by_trie and weigher.reach == {"gemma2": 24, "bloom": math.inf, "mamba": math.inf}.get(
        name, 2048
    )
    ends = [[5, 6, 7, 256], [5, 6, 8, 9, 256], [10, 11, 256], [5, 256], *([number, 12, 256] for number in range(20))]
    prompts = [list(range(30, 60)), [3, 4]]
    with torch.inference_mode():
        found = weigher([Trie.build(prompt, ends) for prompt in prompts])
        for prompt, ours in zip(prompts, found, strict=True):
            for end, value in zip(ends, ours.tolist(), strict=True):
                own = log_p(model, torch.tensor([prompt + end]))[0, len(prompt) - 1 : -1]
                assert value == pytest.approx(float(own[range(len(end)), end].sum()), abs=1e-3)


def test_a_long_trie_is_not_read_through_a_window() -> None:
    """The window is longer than what is tried at the start, and shorter than the trie."""
    model = family_model("mistral", sliding_window=160)
    weigher = Weigher(model, 256)
    assert weigher.by_trie and weigher.reach == 160
    trie = Trie.build([number % 250 for number in range(200)], [[5, 6, 256], [7, 256]])
    with torch.inference_mode():
        torch.testing.assert_close(weigher([trie])[0], read_one_by_one(model, None, trie, 256), rtol=0, atol=1e-4)
    assert Weigher(family_model("qwen3"), 256).reach == 2048


@pytest.mark.parametrize("size", [300, 400])
def test_another_padding_of_a_teacher_leaves_its_distribution(size: int) -> None:
    model = family_model("cohere", vocab_size=350)
    before = log_p(model)[..., :258].log_softmax(-1)
    fit_vocabulary(model, size)
    layer = model.get_output_embeddings()
    assert layer.weight.shape[0] == size == model.config.vocab_size
    after = log_p(model)
    torch.testing.assert_close(after[..., :258].log_softmax(-1), before, rtol=0, atol=1e-4)
    assert size == 300 or float(after[..., 350:].exp().sum()) < 1e-20


def untied_by_hand(folder: Path) -> Path:
    """A student whose file has a head of its own, and a config that denies it."""
    family_student(folder, "llama")
    return edit_config(folder, tie_word_embeddings=True)


def edit_config(folder: Path, **fields: Any) -> Path:
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, **fields}))
    return folder


def test_what_is_tied_is_read_off_the_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    apart = load_weights(untied_by_hand(tmp_path / "apart"), "apart", torch.float32)
    assert not apart.config.tie_word_embeddings
    assert "tie_word_embeddings: true, but the weights have an output matrix of its own" in " ".join(
        capsys.readouterr().err.split()
    )
    once = family_student(tmp_path / "once", "llama-tied")
    one = load_weights(edit_config(once, tie_word_embeddings=False), "once", torch.float32)
    assert one.config.tie_word_embeddings and one.lm_head.weight is one.model.embed_tokens.weight
    torch.testing.assert_close(log_p(one), log_p(family_model("llama-tied")))
    equal = family_model("llama")
    with torch.no_grad():
        equal.lm_head.weight.copy_(equal.model.embed_tokens.weight)
    shutil.copytree(once, tmp_path / "equal")
    equal.save_pretrained(tmp_path / "equal")
    again = load_weights(tmp_path / "equal", "equal", torch.float32)
    assert again.config.tie_word_embeddings and again.lm_head.weight is again.model.embed_tokens.weight


@pytest.mark.parametrize("folder", ["apart", "once"])
def test_a_file_for_llama_cpp_has_the_head_that_the_weights_have(folder: str, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    student = untied_by_hand(tmp_path / "apart")
    if folder == "once":
        student = edit_config(family_student(tmp_path / "once", "llama-tied"), tie_word_embeddings=False)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(export(str(student))["out"]).tensors}
    assert ("output.weight" in tensors) == (folder == "apart")
    if folder == "apart":
        head = load_weights(student, "x", torch.float32).lm_head.weight.detach()
        assert torch.equal(torch.from_numpy(tensors["output.weight"].data.copy()).view(head.shape), head)


@pytest.mark.parametrize("lora", [None, pytest.param(2, marks=pytest.mark.whole)])
def test_a_students_own_head_is_trained_and_saved(lora: int | None, traces: Path, tmp_path: Path) -> None:
    student, out = untied_by_hand(tmp_path / "student"), tmp_path / "out"
    distill(sft_config(student, traces, out, epochs=1, lr=1e-9, lora=lora, limit=2))
    assert json.loads((out / "config.json").read_text())["tie_word_embeddings"] is False
    before, after = (load_weights(folder, "x", torch.float32) for folder in (student, out))
    torch.testing.assert_close(log_p(after), log_p(before), rtol=0, atol=1e-4)


def test_adapters_of_transposed_layers_are_merged() -> None:
    from peft import get_peft_model

    for name in ("gpt2", "mamba"):
        plain = family_model(name)
        adapted = get_peft_model(plain, lora_config(plain, 3))
        for parameter, weight in adapted.named_parameters():
            if "lora_B" in parameter:
                torch.nn.init.normal_(weight)
        state = {key: weight.clone() for key, weight in adapted.state_dict().items()}
        merged = merge_adapters(state, transposed_layers(adapted))
        expected = adapted.merge_and_unload().state_dict()
        assert merged.keys() == expected.keys()
        for key, weight in expected.items():
            torch.testing.assert_close(merged[key], weight, msg=key)


@pytest.mark.parametrize("sizes", [(258, 300), pytest.param((300, 258), marks=pytest.mark.whole)])
def test_students_and_teachers_of_other_paddings_distil(sizes: tuple[int, int], traces: Path, tmp_path: Path) -> None:
    student, teacher = (family_student(tmp_path / str(size), "llama", vocab_size=size) for size in sizes)
    values: dict[str, Any] = {"epochs": 1, "limit": 2, "teacher": str(teacher)}
    for method, changes in {"logits": {"top_k": 258}, "on-policy": {"rollout_tokens": 4}}.items():
        metrics = distill(sft_config(student, traces, tmp_path / method, method=method, **values, **changes))
        assert metrics["loss_last"] == pytest.approx(metrics["loss_last"]) and metrics["loss_last"] < 60
        assert json.loads((tmp_path / method / "config.json").read_text())["vocab_size"] == sizes[0]


@pytest.mark.parametrize(
    ("name", "options"),
    [("minicpm3", {}), ("smollm3", {"no_rope_layers": [1, 0, 1, 0]}), ("mamba", {})],
)
def test_a_pruned_model_is_what_is_loaded_again(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Some compute with the number of their layers, or have lists of their kinds."""
    folder = family_student(tmp_path / "whole", name, num_hidden_layers=4, **options)
    whole = family_model(name, num_hidden_layers=4, **options)
    pruned = load_model(open_student(str(folder)), 2)
    kept = [layer.state_dict() for layer in pruned.base_model.layers]
    for state, number in zip(kept, (0, 3), strict=True):
        expected = whole.base_model.layers[number].state_dict()
        assert all(torch.equal(state[key], value) for key, value in expected.items())
    pruned.save_pretrained(tmp_path / "pruned")
    again = load_weights(tmp_path / "pruned", "pruned", torch.float32).eval()
    torch.testing.assert_close(log_p(again), log_p(pruned), rtol=0, atol=1e-5)
    if name == "smollm3":
        assert again.config.no_rope_layers == [1, 0]
