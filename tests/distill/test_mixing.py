"""Options of `sft` and `logits` for language models, beside plain computations: mixup, paraphrases, MCMI's teacher."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import DistillConfig
from agentkd.distill import checkpoints
from agentkd.distill.stages import distill
from agentkd.errors import UserError
from agentkd.inference.head import Head
from tests.support.commands import call
from tests.support.lazy import lazily, require
from tests.support.students import little_student, weights

require("trl")
torch = lazily("torch")
transformers = lazily("transformers")
mixup = lazily("agentkd.distill.lessons.mixup")
mcmi = lazily("agentkd.distill.lessons.mcmi")
logits = lazily("agentkd.distill.lessons.logits")
teacher_signal = lazily("agentkd.distill.lessons.teacher_signal")
paraphrases = lazily("agentkd.distill.data.paraphrases")
methods = lazily("agentkd.methods.mcmi")
Mix = lazily("agentkd.methods.mixkd")


def config(student: Path, traces: Path, out: Path, **changes: Any) -> DistillConfig:
    values: dict[str, Any] = {"student": str(student), "traces": str(traces), "out": str(out), "form": "path"}
    values |= {"method": "sft", "epochs": 2, "batch": 4, "lr": 1e-2, "top_k": 8, "precision": "fp32"}
    return DistillConfig.model_validate({**values, **changes})


def load(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def batch() -> dict[str, Any]:
    """Three examples of 5, 7 and 4 tokens; the first two of each are given."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 250, (3, 7), generator=generator)
    mask = torch.arange(7)[None] < torch.tensor([5, 7, 4])[:, None]
    labels = ids.masked_fill(~mask, -100)
    labels[:, :2] = -100
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


def test_a_mix_learns_both_members_by_their_weights(student: Path, teacher: Path) -> None:
    """Own tokens and the teacher's top K, beside sums over examples one by one."""
    model, head, inputs = load(student), None, batch()
    head = Head.of(model)
    how = Mix.Mix(torch.tensor([1, 0, 2]), torch.tensor([2, 1, 0]), torch.tensor([0.3, 1.0, 0.8]))
    learned = inputs["labels"][:, 1:] != -100
    log_p = load(teacher)(inputs["input_ids"]).logits[:, :-1].detach().log_softmax(-1)
    top = log_p[learned].topk(8)
    given = {"teacher_ids": top.indices, "teacher_log_p": top.values, "public": torch.ones(int(learned.sum()))}
    embedded = model.get_input_embeddings()(inputs["input_ids"])
    own = sum_of = 0.0
    options = teacher_signal.LossOptions(logits.divergences.forward_kl, "bucket", 0.25)
    for one, other, weight in zip(*how, strict=True):
        mixed = weight * embedded[one] + (1 - weight) * embedded[other]
        log_q = model(inputs_embeds=mixed[None]).logits[0, :-1].log_softmax(-1)
        for member, share in ((one, weight), (other, 1 - weight)):
            there = learned[member]
            nll = -log_q[there].gather(-1, inputs["labels"][member, 1:][there][:, None])[:, 0]
            ids = log_p[member][there].topk(8)
            pair = logits.divergences.restrict_to_top_k(ids.values, ids.indices, log_q[there], "bucket")
            own = own + share * nll.sum()
            sum_of = sum_of + share * (0.25 * nll + 0.75 * options.divergence(*pair)).sum()
    mixed = mixup.mix(embedded, how)
    states = head.states(model, inputs_embeds=mixed, attention_mask=torch.ones(3, 7, dtype=torch.long))
    found = mixup.unmix(states, how, {**inputs, **given})
    assert len(found.labels) == 2 * int(learned.sum()) - int(learned[1].sum()), "a member of weight 0 is left out"
    terms: Any = defaultdict(list)
    loss = mixup.own_loss(found.hidden, head, found.labels, found.inputs, terms)
    torch.testing.assert_close(loss, own, rtol=1e-4, atol=1e-4)
    loss = logits.batch_loss(options)(found.hidden, head, found.labels, found.inputs, terms)
    torch.testing.assert_close(loss, sum_of, rtol=1e-4, atol=1e-4)


def test_a_share_is_mixed_and_the_rest_is_pure() -> None:
    how = mixup.draw(10, 0.3, 5)
    assert int((how.weight < 1).sum()) == 3 and sorted(how.first.tolist()) == list(range(10))
    assert all(torch.equal(one, two) for one, two in zip(how, mixup.draw(10, 0.3, 5), strict=True))
    assert not torch.equal(how.first, mixup.draw(10, 0.3, 6).first)


class Killed(BaseException):
    """The end of a process, as far as its files show it."""


@pytest.mark.parametrize("method", ["sft", pytest.param("logits", marks=pytest.mark.whole)])
def test_a_killed_run_mixes_as_an_undisturbed_one(
    method: str, student: Path, teacher: Path, traces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"method": method, "mixup": 0.5}
    options |= {"teacher": str(teacher)} if method == "logits" else {}
    whole = distill(config(student, traces, tmp_path / "whole", **options))
    assert whole["losses"][-1] < whole["losses"][0]
    plain = distill(config(student, traces, tmp_path / "plain", **{**options, "mixup": None}))
    assert plain["losses"] != whole["losses"]
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.0)
    train = transformers.Trainer.training_step

    def dying(self: Any, *args: Any, **named: Any) -> Any:
        if self.state.global_step == 3:
            raise Killed
        return train(self, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(transformers.Trainer, "training_step", dying)
        with pytest.raises(Killed):
            distill(config(student, traces, tmp_path / "killed", **options))
    distill(config(student, traces, tmp_path / "killed", **options))
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_mcmi_is_the_method_of_the_room_on_a_batch(student: Path) -> None:
    """CE - weight x CMI with Q the means of all classes, in value and gradient, and however the logits are parted."""
    model = load(student)
    head = Head.of(model)
    hidden = torch.randn(12, head.weight.shape[1], generator=torch.Generator().manual_seed(1)).requires_grad_()
    labels = torch.tensor([3, 7, 3, 9, 7, 3, 9, 9, 1, 3, 7, 2])
    dense = head.logits(hidden)
    means = methods.class_means(dense.detach(), labels, dense.shape[-1])
    expected = 12 * methods.teacher_loss(dense, labels, means, weight=0.4)
    (gradient,) = torch.autograd.grad(expected, hidden)
    terms: Any = defaultdict(list)
    loss = mcmi.batch_loss(0.4)(hidden, head, labels, {}, terms)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.autograd.grad(loss, hidden)[0], gradient, rtol=1e-3, atol=1e-5)
    assert float(sum(terms["cmi"])) == pytest.approx(12 * float(methods.cmi(dense.detach(), means[labels])), rel=1e-3)


def test_mcmi_raises_the_cmi_of_a_teacher_that_logits_then_learns_from(
    student: Path, teacher: Path, traces: Path, tmp_path: Path
) -> None:
    tuned = {}
    for weight in (0.0, 2.0):
        out = tmp_path / f"teacher-{weight}"
        options: dict[str, Any] = {"method": "mcmi", "cmi_weight": weight, "epochs": 12, "batch": 8, "lr": 1e-2}
        tuned[weight] = distill(config(teacher, traces, out, **options))["cmi"]
    assert tuned[0.0][0] == pytest.approx(tuned[2.0][0], abs=1e-4) and tuned[2.0][-1] > 1.2 * tuned[0.0][-1]
    learned = distill(config(student, traces, tmp_path / "out", method="logits", teacher=str(tmp_path / "teacher-2.0")))
    assert learned["losses"][-1] < learned["losses"][0]


def test_the_hardest_paraphrase_is_where_teacher_and_student_differ_most(student: Path, teacher: Path) -> None:
    """HARD's loss by full logits, one row at a time."""
    from agentkd.methods.hard import augmentor_loss

    models = load(student), load(teacher)
    generator = torch.Generator().manual_seed(3)
    target = torch.randint(0, 250, (4,), generator=generator).tolist()
    rows = []
    for length in (3, 6, 4):
        prompt = torch.randint(0, 250, (length,), generator=generator).tolist()
        rows.append({"input_ids": prompt + target, "labels": [-100] * length + target})

    def dense(model: Any, row: Any) -> Any:
        with torch.no_grad():
            return model(torch.tensor([row["input_ids"]])).logits[0, -5:-1]

    clean = dense(models[1], rows[0])
    expected = [
        float(augmentor_loss(dense(models[0], row), dense(models[1], row), clean, keep=paraphrases.KEEP))
        for row in rows[1:]
    ]
    heads = Head.of(models[0]), Head.of(models[1])
    found = paraphrases.compare_models(models, heads, rows, 258)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4) and len(found) == 2


@pytest.mark.parametrize(
    ("method", "form"), [("sft", "path"), pytest.param("logits", "one-call", marks=pytest.mark.whole)]
)
def test_each_example_is_learned_in_other_words_too(
    method: str, form: str, student: Path, teacher: Path, traces: Path, tmp_path: Path, capsys: Any
) -> None:
    options: dict[str, Any] = {"method": method, "form": form, "paraphrase": "hard", "teacher": str(teacher)}
    result = distill(config(student, traces, tmp_path / "out", **options, epochs=1))
    assert result["examples"] == 16 and "paraphrases (hard): 8 of 96, one an example" in capsys.readouterr().err
    rows = [json.loads(line) for line in (tmp_path / "out/dataset.jsonl").read_text().splitlines()]
    texts = [row["prompt"] if form == "path" else row["messages"][-2]["content"] for row in rows]
    assert len(texts) == 16 == len(set(texts))
    places = json.loads((tmp_path / "out" / paraphrases.FILE).read_text())
    assert len(places) == 8 and set(places) <= set(range(12))
    again = distill(config(student, traces, tmp_path / "out", **options, epochs=1))
    assert again["losses"] == result["losses"]


def test_paraphrases_of_a_file_are_matched_by_the_question(student: Path, traces: Path, tmp_path: Path) -> None:
    from agentkd.runs.read import read_traces

    questions = [trace.question for trace in read_traces(traces)]
    rows = [{"question": questions[0].upper(), "paraphrase": "Say it otherwise?"}]
    rows += [{"question": questions[1], "paraphrase": questions[1]}]
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options: dict[str, Any] = {"paraphrase": "random", "paraphrases": str(file), "epochs": 1}
    result = distill(config(student, traces, tmp_path / "out", **options))
    assert result["examples"] == 9
    assert "Say it otherwise?" in (tmp_path / "out/dataset.jsonl").read_text()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"method": "on-policy", "teacher": "TEACHER", "mixup": 0.5}, "does not take mixup=: choose sft, logits"),
        ({"method": "preference", "paraphrase": "random"}, "does not take paraphrase=: choose sft, logits, mcmi"),
        ({"paraphrase": "hard"}, "paraphrase=hard needs teacher=MODEL"),
        ({"paraphrase": "random", "form": "agent"}, "form=agent has conversations: leave it out"),
        ({"paraphrases": "own.jsonl"}, "paraphrases=own.jsonl is not used: add paraphrase=hard"),
        ({"paraphrase": "random", "paraphrases": "own.jsonl"}, "no such file: own.jsonl"),
        ({"paraphrase": "random", "paraphrases": "NONE"}, r'none.jsonl:1 has no "question" and "paraphrase"'),
        ({"paraphrase": "random", "paraphrases": "OTHER"}, "has a paraphrase for none of 8 examples"),
        ({"paraphrase": "hard", "teacher": "FOREIGN"}, "has another vocabulary"),
        ({"method": "auto", "budget_hours": 1, "mixup": 0.5}, "does not choose with mixup= or paraphrase="),
    ],
)
def test_what_does_not_fit_is_one_line(
    changes: dict[str, Any], line: str, student: Path, teacher: Path, traces: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "none.jsonl").write_text('{"question": "q"}\n')
    (tmp_path / "other.jsonl").write_text('{"question": "q", "paraphrase": "p"}\n')
    places = {"NONE": tmp_path / "none.jsonl", "OTHER": tmp_path / "other.jsonl", "TEACHER": teacher}
    if changes.get("teacher") == "FOREIGN":
        from tests.support.students import packaged_student

        places["FOREIGN"] = packaged_student(tmp_path / "foreign", layers=1, width=16, seed=0)
    values = {name: str(places.get(value, value)) for name, value in changes.items()}
    words = [f"{name}={value}" for name, value in values.items()]
    models = ["--student", str(student), "--traces", str(traces), "--out", str(tmp_path / "out")]
    code, _, error = call(["distill", *models, *words], monkeypatch, capsys)
    assert code == 2 and line in error.replace("\n", " "), error
    assert not (tmp_path / "out").exists()


def test_a_model_that_reads_embeddings_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(little_student(tmp_path / "model"))
    mixup.check_embeddings(model)
    forward = type(model.model).forward

    def scaled(self: Any, *args: Any, inputs_embeds: Any = None, **named: Any) -> Any:
        return forward(self, *args, inputs_embeds=None if inputs_embeds is None else 2 * inputs_embeds + 1, **named)

    monkeypatch.setattr(type(model.model), "forward", scaled)
    with pytest.raises(UserError, match="does not read embeddings as it reads tokens: leave mixup= out"):
        mixup.check_embeddings(model)


def test_a_student_of_a_version_without_these_options_is_still_the_same(
    student: Path, traces: Path, tmp_path: Path
) -> None:
    import yaml

    out = tmp_path / "out"
    result = distill(config(student, traces, out, epochs=1))
    values = yaml.safe_load((out / "config.yaml").read_text())
    older = {k: v for k, v in values.items() if k not in ("mixup", "cmi_weight", "paraphrase", "paraphrases")}
    assert len(older) == len(values) - 4
    (out / "config.yaml").write_text(yaml.safe_dump(older, sort_keys=False))
    assert distill(config(student, traces, out, epochs=1))["losses"] == result["losses"]
