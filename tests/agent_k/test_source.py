"""Sources of competitions: their names, their folders, and the text of their pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkd.agents.agent_k.competition.pages import MAX_TEXT, join_pages, strip_tags
from agentkd.agents.agent_k.competition.source import local_source, parse_competition
from agentkd.errors import UserError
from tests.support.paths import KAGGLE_DATA


@pytest.mark.parametrize(
    "text",
    [
        "https://www.kaggle.com/competitions/spooky-author",
        "https://www.kaggle.com/competitions/spooky-author/data?select=train.csv#x",
        "http://kaggle.com/c/spooky-author/",
        "www.kaggle.com/c/spooky-author/leaderboard",
        "kaggle.com/competitions/spooky-author",
        " spooky-author\n",
    ],
)
def test_a_slug(text: str) -> None:
    assert parse_competition(text) == "spooky-author"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://example.com/competitions/titanic", "not on kaggle.com"),
        ("https://www.kaggle.com.example.com/competitions/titanic", "not on kaggle.com"),
        ("file:///competitions/titanic", "not on kaggle.com"),
        ("https://www.kaggle.com/datasets/ada/titanic", "not a competition's page"),
        ("https://www.kaggle.com/", "not a competition's page"),
        ("https://www.kaggle.com/competitions", "names no competition"),
        ("https://www.kaggle.com/competitions/?search=x", "names no competition"),
        ("./nowhere", "no folder"),
        ("some/where", "no folder"),
        ("two words", "no competition's name"),
        ("", "no competition's name"),
    ],
)
def test_what_is_no_competition(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        parse_competition(text)
    assert "\n" not in str(error.value)
    assert "give" in str(error.value)


def test_a_folder_that_is_there_wins_over_a_slug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_competition("titanic") == "titanic"
    (tmp_path / "titanic").mkdir()
    assert parse_competition("titanic") == Path("titanic")
    (tmp_path / "data.zip").touch()
    with pytest.raises(UserError, match="is a file, not a folder"):
        parse_competition("data.zip")


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"# {name}\n\ntext of {name}\n")
    return folder


def test_a_local_competition_with_answers_beside(tmp_path: Path) -> None:
    folder = fill(tmp_path / "my task", "public/train.csv", "public/test.csv", "private/solution.csv", "description.md")
    for given in (folder, folder / "public"):
        source = local_source(given)
        assert source.data == folder / "public"
        assert (source.slug, source.title, source.metric, source.url) == ("my-task", "description.md", "", None)
        assert "text of description.md" in source.text
        assert "solution" not in source.text


@pytest.mark.parametrize("names", [("train.csv.zip",), ("train/1.png", "test/2.png"), ("training_v2.parquet",)])
def test_layouts_without_a_description(tmp_path: Path, names: tuple[str, ...]) -> None:
    said: list[str] = []
    source = local_source(fill(tmp_path / "x", *names), said.append)
    assert (source.data, source.text, source.title) == (tmp_path / "x", "", "x")
    assert len(said) == 1
    assert "no description.md" in said[0]


def test_pages_of_a_folder_come_in_order(tmp_path: Path) -> None:
    folder = fill(tmp_path, "train.csv", "data_description.txt", "evaluation.md", "overview.txt", "notes.md")
    text = local_source(folder).text
    assert [line for line in text.splitlines() if line.startswith("# ") and "." not in line] == [
        "# overview",
        "# evaluation",
        "# data_description",
    ]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "is empty"),
        (("test.csv", "sample_submission.csv"), "holds no training data, only sample_submission.csv, test.csv"),
        (("train.csv", "private/solution.csv"), "holds private data"),
        (("public/train.csv", "public/private/solution.csv"), "holds private data"),
    ],
)
def test_folders_that_cannot_be(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(UserError, match=said):
        local_source(fill(tmp_path / "x", *names))


def test_the_private_folder_itself_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "public/train.csv", "private/train.csv")
    with pytest.raises(UserError, match="holds private data"):
        local_source(tmp_path / "private")


@pytest.mark.skipif(not KAGGLE_DATA.is_dir(), reason=f"no competitions under {KAGGLE_DATA}: set AGENTKD_DATA")
def test_the_five_competitions() -> None:
    said: list[str] = []
    sources = {folder.name: local_source(folder, said.append) for folder in KAGGLE_DATA.iterdir()}
    assert len(sources) == 5
    assert not said
    assert all(source.data.name == "public" and len(source.text) > 300 for source in sources.values())
    assert sources["titanic"].title == "Titanic - Machine Learning from Disaster"


def test_html_becomes_text() -> None:
    html = (
        "<h2>Evaluation</h2><p>Accuracy &gt; 0.5, a&nbsp;<b>share</b>.</p><script>alert(1)</script>"
        "<ul><li>one<li>two</ul>"
        "<table><tr><th>id</th><th>y</th></tr><tr><td>1</td><td>0</td></tr></table>"
    )
    lines = [line.replace("\xa0", " ").strip() for line in strip_tags(html).splitlines() if line.strip()]
    assert lines == ["### Evaluation", "Accuracy > 0.5, a share.", "- one", "- two", "| id | y", "| 1 | 0"]
    kept = "files are `<image_id>.png`, `a < b`, x <b and c> d, 1<2"
    assert strip_tags(kept) == kept
    assert strip_tags("a<!-- <b>b</b> -->c <!-- d") == "ac <!-- d"
    for piece in ("<a ", "<![", "</", "<!--", "<![x]>"):  # the first took hours, the second was an error
        assert strip_tags(piece * 20_000) == piece * 20_000


def test_text_is_cut_and_says_so() -> None:
    text = join_pages([("Rules", "law " * 100), ("data", "d" * MAX_TEXT), ("overview", "what it is about")])
    assert len(text) <= MAX_TEXT
    assert text.startswith("# overview\n\nwhat it is about\n\n# data\n\nddd")
    assert "law" not in text
    left = int(text.rsplit("[cut here: ", 1)[1].split(" ")[0].replace(",", ""))
    whole = len("# overview\n\nwhat it is about\n\n# data\n\n") + MAX_TEXT
    assert left == whole - len(text[: text.rindex("\n\n[cut here")])
