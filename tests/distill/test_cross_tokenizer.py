"""Learning from another vocabulary: the loss against a dense reference in float64, and training end to end."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from agentkd.distill.data.forms import one_call_examples
from agentkd.distill.data.teacher_scores import Scores
from agentkd.distill.data.tokens import target_tokens, tokenise
from agentkd.distill.lessons.alignment import match_tokens
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from agentkd.inference.head import Head
from tests.support.lazy import Lazy, lazily
from tests.support.students import CHAT, student_with, teacher_config
from tests.support.traces import make_trace
from tests.support.vocabularies import byte_level, pair, pieces, sentencepiece

torch = lazily("torch")
module, uld, teacher_signal, divergences = (
    Lazy(f"agentkd.{name}")
    for name in (
        "distill.lessons.cross_tokenizer",
        "distill.lessons.uld",
        "distill.lessons.teacher_signal",
        "methods.divergences",
    )
)

LONGER = "path: capital, then river\nanswers:\nWrocław\nÓbidos → Łódź\nSão Tomé"


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return student_with(tmp_path_factory.mktemp("student"), byte_level(), seed=0)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide weights make it sure of what it says."""
    return student_with(tmp_path_factory.mktemp("teacher"), sentencepiece(), seed=1, spread=0.5, chat=None)


class Batch:
    """Three rows of the student with a made-up teacher's distributions over its own tokens, the middle row without."""

    def __init__(self, folder: Path, k: int, *, hybrid: bool) -> None:
        example = one_call_examples(make_trace("a"))[0]
        assert example is not None
        byte_level, sentencepiece = pair()
        byte_level.chat_template = CHAT
        examples = [example, example, example.model_copy(update={"target": LONGER})]
        self.rows = [tokenise(each, byte_level) for each in examples]
        asked = [module.teacher_row(each, sentencepiece) for each in examples]
        self.spans = []
        for row, other, each in zip(self.rows, asked, examples, strict=True):
            found = module.align_targets(target_tokens(row), target_tokens(other), pieces(), each.target)
            assert found is not None
            self.spans.append(found)
        self.spans[1] = []
        asked[1] = {"input_ids": asked[1]["input_ids"][:1], "labels": [-100]}
        self.theirs = [target_tokens(row) for row in asked]
        g = torch.Generator().manual_seed(0)
        logits = [3 * torch.randn(len(ids), len(pieces()[1]), generator=g) for ids in self.theirs]
        for each, ids in zip(logits, self.theirs, strict=True):  # what is written is likely, mostly
            each[torch.arange(0, len(ids), 2), torch.tensor(ids)[::2].long()] += 8.0
        self.log_p = [each.log_softmax(-1) for each in logits]
        folder.mkdir()
        top = torch.cat(self.log_p).topk(k)
        own = torch.cat([p.gather(-1, torch.tensor(ids).long()[:, None]) for p, ids in zip(self.log_p, self.theirs, strict=True)])  # fmt: skip  # noqa: E501
        (folder / "ids.i32").write_bytes(top.indices.to(torch.int32).numpy().tobytes())
        (folder / "log_p.f32").write_bytes(top.values.numpy().tobytes())
        (folder / "target.f32").write_bytes(own.numpy().tobytes())
        self.same: dict[int, int] = {}
        ours = None
        if hybrid:
            specials = tuple(set(tokenizer.all_special_ids) for tokenizer in pair())
            self.same = match_tokens(pieces()[0], pieces()[1], (specials[0], specials[1]))
            self.same[sentencepiece.eos_token_id] = byte_level.eos_token_id
            ours = np.array([self.same.get(number, -1) for number in range(len(pieces()[1]))])
        self.ours = ours
        collator = module.SpanCollator(Scores(folder, asked, k), asked, self.spans, 0, ours)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "agentkd.distill.lessons.cross_tokenizer.CHUNK", 6
            )  # spans lie across the borders of so small chunks
            self.inputs = collator([{**row, "row": number} for number, row in enumerate(self.rows)])
        self.labels = torch.tensor([label for row in self.rows for label in target_tokens(row)])


def reference(batch: Batch, log_q: torch.Tensor, k: int, rest: str) -> dict[str, torch.Tensor]:
    """The formulas, span by span, from dense distributions in float64; the sums over the batch."""
    terms = {
        "nll": -log_q.gather(-1, batch.labels[:, None]).sum(),
        "uld": torch.zeros(()),
        "divergence": torch.zeros(()),
    }
    start = 0
    for row, found, theirs, log_p in zip(batch.rows, batch.spans, batch.theirs, batch.log_p, strict=True):
        learned = target_tokens(row)
        for span in found:
            p = log_p[span.b].double().exp()
            top = p.argsort(descending=True)[:k].tolist()
            q = log_q[start + span.a].exp()
            if span[1::2] == (span.a + 1, span.b + 1) and batch.same.get(theirs[span.b]) == learned[span.a]:
                pairs = [(number, batch.same[number]) for number in top if number in batch.same]
                known_p, known_q = (torch.stack([x[pair[side]] for pair in pairs]) for side, x in enumerate((p, q)))
                if rest == "bucket":
                    known_p, known_q = (torch.cat([x, 1 - x.sum()[None]]) for x in (known_p, known_q))
                else:
                    known_p, known_q = known_p / known_p.sum(), known_q / known_q.sum()
                terms["divergence"] = terms["divergence"] + (known_p * (known_p / known_q).log()).sum()
                left_p = sorted((p[number] for number in top if number not in batch.same), reverse=True)
                left_q = sorted((q[n] for n in range(len(q)) if n not in batch.same.values()), reverse=True)
                left_q += [torch.zeros(())] * len(left_p)
                terms["uld"] = terms["uld"] + sum(abs(a - b) for a, b in zip(left_p, left_q, strict=False))
                continue
            whole_p = log_p[range(span.b, span.b_end), theirs[span.b : span.b_end]].double().sum().exp()
            places = range(start + span.a, start + span.a_end)
            whole_q = log_q[places, learned[span.a : span.a_end]].sum().exp()
            side_p = [whole_p if number == theirs[span.b] else p[number] for number in top]
            side_q = [whole_q if number == learned[span.a] else q[number] for number in range(len(q))]
            ranked_p = torch.stack(sorted(side_p, reverse=True))
            ranked_q = torch.stack((sorted(side_q, reverse=True) + [torch.zeros(())] * k)[:k])
            if rest == "renormalise":
                apart = (ranked_p / ranked_p.sum() - ranked_q / ranked_q.sum()).abs().sum()
            else:
                apart = (ranked_p - ranked_q).abs().sum() + ((1 - ranked_p.sum()) - (1 - ranked_q.sum())).abs()
            terms["uld"] = terms["uld"] + apart
        start += len(learned)
    return terms


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize(("k", "rest"), [(8, "bucket"), (8, "renormalise"), (0, "bucket")])
def test_value_and_gradient_are_the_dense_references(tmp_path: Path, k: int, rest: str, hybrid: bool) -> None:
    k = k or len(pieces()[1])  # 0: all that the teacher knows
    batch = Batch(tmp_path / "scores", k, hybrid=hybrid)
    g = torch.Generator().manual_seed(1)
    hidden = torch.randn(len(batch.labels), 12, generator=g, dtype=torch.float64).requires_grad_()
    head = torch.randn(len(pieces()[0]), 12, generator=g, dtype=torch.float64).requires_grad_()
    settings = teacher_signal.LossOptions(divergences.forward_kl, rest, nll=0.3)
    expected = reference(batch, (hidden @ head.T).log_softmax(-1), k, rest)
    value = 0.3 * expected["nll"] + 0.7 * (expected["uld"] + expected["divergence"])
    gradients = torch.autograd.grad(value, (hidden, head))
    assert (expected["divergence"] > 0) == hybrid and expected["uld"] > 0

    shared = None if not hybrid else torch.tensor([n in batch.same.values() for n in range(len(head))])
    names = ["back", *module.FIELDS[: 4 if hybrid else 2]]
    take = batch.inputs["take"]
    terms: dict[str, list[Any]] = {"nll": [], "uld": [], "divergence": []}
    dense = uld.token_loss(settings, terms, shared)
    ours = dense(hidden[take] @ head.T, batch.labels[take], take >= 0, *(batch.inputs[name] for name in names)).sum()
    torch.testing.assert_close(ours, value, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(torch.autograd.grad(ours, (hidden, head)), gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    for name, parts in terms.items():
        assert float(sum(parts)) == pytest.approx(float(expected[name].detach()), rel=1e-5, abs=1e-6)

    small = [tensor.detach().float().requires_grad_() for tensor in (hidden, head)]
    terms = {"nll": [], "uld": [], "divergence": []}
    layer = Head(SimpleNamespace(weight=small[1], bias=None))
    total = module.batch_loss(settings, batch.ours)(small[0], layer, batch.labels, batch.inputs, terms)
    assert len(terms["nll"]) > 1  # in chunks
    torch.testing.assert_close(total.double(), value.detach(), rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(torch.autograd.grad(total, small), gradients, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-3, atol=1e-4)


def test_the_batch_holds_what_is_hard(tmp_path: Path) -> None:
    """Spans of several tokens on either side, a row without a teacher, and a span that no chunk may cut."""
    batch = Batch(tmp_path / "scores", 8, hybrid=False)
    counts = {(span.a_end - span.a, span.b_end - span.b) for found in batch.spans for span in found}
    assert (1, 1) in counts and any(a > 1 for a, _ in counts) and any(b > 1 for _, b in counts)
    take, back, size = (batch.inputs[name] for name in ("take", "back", "size"))
    assert sorted(take[take >= 0].tolist()) == list(range(len(batch.labels))) and (take < 0).any()
    places = torch.arange(len(take))
    assert torch.equal(places // size, (places - back) // size)
    spoken = batch.inputs["kind"] == uld.PLAIN
    assert int(spoken.sum()) == sum(map(len, batch.spans)) and not back[spoken].any()


@pytest.mark.parametrize(("p_size", "q_size"), [(5, 9), (9, 5), (7, 7)])
def test_uld_is_the_papers_where_all_is_known(p_size: int, q_size: int) -> None:
    g = torch.Generator().manual_seed(0)
    p, q = (torch.randn(4, size, generator=g, dtype=torch.float64).softmax(-1) for size in (p_size, q_size))
    p = p.sort(descending=True).values
    wide = [torch.nn.functional.pad(x, (0, 9 - x.shape[-1])).sort(descending=True).values for x in (p, q)]
    expected = (wide[0] - wide[1]).abs().sum(-1)
    full = uld.uld(p, q, "bucket")
    torch.testing.assert_close(full, expected if p_size >= q_size else full)
    assert (uld.uld(p[:, :3], q, "bucket") <= expected + 1e-12).all() and (full <= expected + 1e-12).all()
    shuffled = q[:, torch.randperm(q_size, generator=g)]
    torch.testing.assert_close(uld.uld(p, shuffled, "bucket"), full)
    assert uld.uld(p, p, "renormalise").abs().max() < 1e-12
    with pytest.raises(ValueError, match="choose bucket or renormalise"):
        uld.uld(p, q, "zero")


@pytest.mark.parametrize("uld", ["plain", "hybrid"])
def test_the_student_comes_nearer_to_a_foreign_teacher(
    uld: str, student: Path, teacher: Path, traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = distill(teacher_config(student, teacher, traces, tmp_path / "out", uld=uld))
    assert "no chat template: it reads the messages one after another" in capsys.readouterr().err
    terms = ["nll", "uld", *(["divergence"] if uld == "hybrid" else [])]
    assert all(len(metrics[name]) == metrics["steps"] == 12 for name in terms) and ("divergence" in metrics) == (uld == "hybrid")  # fmt: skip  # noqa: E501
    total = [0.5 * sum(values) for values in zip(*(metrics[name] for name in terms), strict=True)]
    assert metrics["losses"] == pytest.approx(total, abs=2e-3)
    near = "divergence" if uld == "hybrid" else "uld"
    assert metrics[near][-1] < 0.9 * metrics[near][0]
    assert 0 < metrics["spans_of_one_token"] < metrics["spans"] and metrics["teacher_nll"] > 0
    assert "another vocabulary" in (tmp_path / "out" / "README.md").read_text()


def test_what_does_not_fit_is_named(student: Path, teacher: Path, traces: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the student's own vocabulary: take --method logits"):
        distill(teacher_config(student, student, traces, tmp_path / "a"))
    strict = tmp_path / "strict"
    strict.mkdir()
    for file in teacher.iterdir():
        (strict / file.name).write_bytes(file.read_bytes())
    (strict / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")
    with pytest.raises(
        UserError, match=r"template of .*strict refuses a prompt of roles system, user \(no system role"
    ):
        distill(teacher_config(student, strict, traces, tmp_path / "b"))
    settings = json.loads((strict / "config.json").read_text())
    (strict / "config.json").write_text(json.dumps({**settings, "max_position_embeddings": 8}))
    (strict / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"no example can be learned from .* longer than its 8 tokens"):
        distill(teacher_config(student, strict, traces, tmp_path / "c"))
    with pytest.raises(UserError, match="was made with hash_teacher"):  # template and tokenizer are of its identity
        distill(teacher_config(student, strict, traces, tmp_path / "b"))


def test_the_end_of_an_answer_is_the_templates() -> None:
    """Gemma's tokenizer calls <eos> the end, its template ends answers with <end_of_turn>."""
    tokenizer = byte_level()
    tokenizer.chat_template = CHAT.replace("<|end|>", "<|user|>")
    example = one_call_examples(make_trace("a"))[0]
    assert example is not None
    row = module.teacher_row(example, tokenizer)
    assert row["labels"][-1] == tokenizer.convert_tokens_to_ids("<|user|>") != tokenizer.eos_token_id
