"""Difference sampling over a stream: scores, resume, shards, two vocabularies, and corpora that cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from agentkd.config import SelectConfig
from agentkd.corpus import scores
from agentkd.corpus.scores import ROW, Scorer
from agentkd.corpus.select import select
from agentkd.errors import UserError
from tests.support.commands import call
from tests.support.lazy import lazily
from tests.support.students import little_student, packaged_student, student_with

np = lazily("numpy")
torch = lazily("torch")
transformers = lazily("transformers")

TEXTS = [f"text number {number}: {'ab' * (number % 7)} ü" * (1 + number % 3) for number in range(23)]
EMPTY = ("", "x")  # without a token that could be scored


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "teacher": str(little_student(folder / "teacher", width=48, seed=1, spread=0.3)),
        "reference": str(little_student(folder / "reference", seed=2, spread=0.3)),
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("corpus") / "texts.jsonl"
    rows = [{"text": text, "source": number} for number, text in enumerate([*TEXTS[:5], *EMPTY, *TEXTS[5:]])]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "BLOCK", 4)
    monkeypatch.setattr(scores, "POSITIONS", 100)


def config(corpus: Path, models: dict[str, str], out: Path, **changes: Any) -> SelectConfig:
    return SelectConfig(corpus=str(corpus), out=str(out), **{**models, **changes})


def kept(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "selected.jsonl").read_text().splitlines()]


def plain_loss(folder: str, text: str) -> tuple[float, int]:
    """Summed loss and number of scored tokens of a text by transformers alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    with torch.no_grad():
        return float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1), ids.shape[1] - 1


def test_the_kept_half_is_that_of_the_paper(corpus: Path, models: dict[str, str], tmp_path: Path) -> None:
    result = select(config(corpus, models, tmp_path / "out"))
    gain = {}
    for text in TEXTS:
        (one, count), (other, _) = (plain_loss(models[kind], text) for kind in ("teacher", "reference"))
        gain[text] = (other - one) / count
    best = sorted(TEXTS, key=lambda text: -gain[text])[: len(TEXTS) // 2]
    assert [row["text"] for row in kept(tmp_path / "out")] == [text for text in TEXTS if text in best]
    assert result["documents"] == 25 and result["left_out"] == 2 and result["kept"] == 11 and result["unit"] == "token"
    assert {tuple(row) for row in kept(tmp_path / "out")} == {("text", "source")}, "lines stay as they are"


def test_windows_score_every_token_once(models: dict[str, str]) -> None:
    scorer = Scorer(models["teacher"], length=16)
    text = "a long text that is read in windows " * 3
    (row,) = scorer.score([text])
    ids = scorer.tokenizer(text)["input_ids"]
    expected = 0.0
    for start in range(0, len(ids) - 1, 15):
        window = torch.tensor([ids[start : start + 16]])
        with torch.no_grad():
            expected += float(scorer.model(input_ids=window, labels=window).loss) * (window.shape[1] - 1)
    assert row["tokens"] == len(ids) - 1 and row["nll"] == pytest.approx(expected, rel=1e-5)


class Killed(BaseException):
    """The end of a process, as far as its files show it."""


@pytest.mark.parametrize("torn", [0, 7])
def test_a_killed_pass_goes_on_and_writes_the_same_file(
    torn: int, corpus: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select(config(corpus, models, tmp_path / "whole"))
    score, calls = Scorer.score, 0

    def dying(self: Scorer, texts: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (3, 12):
            raise Killed
        return score(self, texts)

    monkeypatch.setattr(Scorer, "score", dying)
    for _ in range(2):
        with pytest.raises(Killed):
            select(config(corpus, models, tmp_path / "killed"))
        for file in (tmp_path / "killed/scores").iterdir():
            with file.open("ab") as opened:
                opened.write(b"\1" * torn)
    monkeypatch.setattr(Scorer, "score", score)
    select(config(corpus, models, tmp_path / "killed"))
    for name in ("selected.jsonl", "scores/teacher-0-of-1.rows", "scores/reference-0-of-1.rows"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_shards_choose_together(
    corpus: Path, models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    select(config(corpus, models, tmp_path / "one"))
    for own in (2, 0):
        assert "missing_shards" in select(config(corpus, models, tmp_path / "three", shard=f"{own}/3"))
    assert "missing: 1" in capsys.readouterr().err
    select(config(corpus, models, tmp_path / "three", shard="1/3"))
    assert kept(tmp_path / "three") == kept(tmp_path / "one")


def test_another_choice_needs_no_new_scores(
    corpus: Path, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select(config(corpus, models, tmp_path / "out"))
    monkeypatch.setattr(Scorer, "score", None)
    by = {}
    for order in ("lowest", "highest", "random"):
        result = select(config(corpus, models, tmp_path / "out", by=order))
        by[order] = result["loss"]["teacher"]["kept"]
        assert result["kept"] == 11
    assert by["lowest"] < by["random"] < by["highest"]
    assert select(config(corpus, models, tmp_path / "out", keep=1.0))["kept"] == 23


def test_two_vocabularies_are_compared_by_bytes(
    corpus: Path, models: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = packaged_student(tmp_path_factory.mktemp("other"), layers=1, width=16, seed=3)
    result = select(config(corpus, {**models, "reference": str(other)}, tmp_path / "out"))
    assert result["unit"] == "byte"
    rows = [np.fromfile(tmp_path / f"out/scores/{kind}-0-of-1.rows", ROW) for kind in ("teacher", "reference")]
    gain = (rows[1]["nll"] - rows[0]["nll"])[rows[0]["bytes"] > 1] / rows[0]["bytes"][rows[0]["bytes"] > 1]
    best = np.sort(np.argsort(-gain, kind="stable")[:11])
    assert [row["text"] for row in kept(tmp_path / "out")] == [TEXTS[place] for place in best]


def test_text_files_and_gzip_are_the_same_corpus(corpus: Path, models: dict[str, str], tmp_path: Path) -> None:
    (texts := tmp_path / "texts").mkdir()
    (texts / "a.txt").write_text("\n".join([*TEXTS[:5], *EMPTY]) + "\n")
    with gzip.open(texts / "b.txt.gz", "wt") as file:
        file.write("\n".join(TEXTS[5:]))
    select(config(corpus, models, tmp_path / "json"))
    select(config(texts, models, tmp_path / "text"))
    assert [row["text"] for row in kept(tmp_path / "text")] == [row["text"] for row in kept(tmp_path / "json")]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "the corpus has no documents"),
        (b"\n\n", "no document has two tokens or more"),
        (b'{"text": "a b"}\nno json\n', r"bad\.jsonl:2 is no JSON"),
        (b'{"body": "a b"}\n', r"bad\.jsonl:1 has no text in 'text' \(it has body\): give field=NAME"),
        (b'["a b"]\n', r"bad\.jsonl:1 has no text in 'text'"),
        (b'{"text": 3}\n', r"bad\.jsonl:1 has no text"),
    ],
)
def test_a_bad_corpus_is_one_line(content: bytes, line: str, models: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=line):
        select(config(tmp_path / "bad.jsonl", models, tmp_path / "out"))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"corpus": "nowhere.jsonl"}, "no such file or folder: nowhere.jsonl"),
        ({"corpus": None}, "--corpus names no file"),
        ({"teacher": None}, "select needs --teacher"),
        ({"shard": "4/4"}, "--shard is '4/4': give I/N"),
        ({"keep": 0.01}, "keep=0.01 of 23 documents is none"),
    ],
)
def test_a_wrong_option_is_one_line(
    changes: dict[str, Any], line: str, corpus: Path, models: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=line):
        select(config(corpus, models, tmp_path / "out").model_copy(update=changes))


def test_two_models_that_share_no_text_are_one_line(models: dict[str, str], tmp_path: Path) -> None:
    """A model of two Latin letters drops all other signs, one of bytes reads all."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE

    letters = Tokenizer(BPE({"<end>": 0, "a": 1, "b": 2}, []))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="<end>", pad_token="<end>")
    latin = str(student_with(tmp_path / "latin", tokenizer, seed=0))
    (tmp_path / "texts.txt").write_text("中文字\n日本語\n")
    with pytest.raises(UserError, match=r"share no text: .*latin reads 0 of 2 documents and .*reference 2, none"):
        select(config(tmp_path / "texts.txt", {**models, "teacher": latin}, tmp_path / "out"))
    assert not (tmp_path / "out/selected.jsonl").exists()


def test_the_command(
    corpus: Path,
    models: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word for kind, folder in models.items() for word in (f"--{kind}", folder)]
    code, out, error = call(
        ["select", "--corpus", str(corpus), *words, "--out", str(tmp_path / "out"), "--json"], monkeypatch, capsys
    )
    assert code == 0, error
    assert json.loads(out)["kept"] == 11
