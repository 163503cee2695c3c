"""Sources of a competition's files and pages: Kaggle, or a folder with the same files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentkd.agents.agent_k.competition.pages import join_pages
from agentkd.errors import UserError
from agentkd.runs.progress import say

if TYPE_CHECKING:
    from agentkd.agents.agent_k.competition.kaggle import Kaggle

PUBLIC, PRIVATE = "public", "private"  # folders of a local competition: its files, and the hidden answers
_HOW = "give https://www.kaggle.com/competitions/NAME, the NAME alone, or a folder (with a slash: ./NAME)"
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TEXTS = re.compile(r"(raw_)?(task_|data_|metric_)?(description|overview|evaluation|readme)\w*\.(md|txt|html?)", re.I)
_PAGES = ("overview", "description", "abstract", "data description")  # headings that name no competition


@dataclass(frozen=True)
class Source:
    """A competition as the stages see it, wherever it came from."""

    slug: str
    title: str
    data: Path  # the folder with a competitor's files, absolute, read-only
    text: str  # its pages, each under a heading, without tags, pages.MAX_TEXT characters at most
    metric: str  # as Kaggle calls it, "" for a folder
    url: str | None
    daily_submissions: int | None
    deadline: str | None  # ISO 8601, UTC


def parse_competition(text: str) -> str | Path:
    """Return a Kaggle slug, or the path of a folder.

    UserError for anything else, a missing folder included. A bare word is a folder if there is one of that name,
    else a slug."""
    text = text.strip()
    if re.match(r"(www\.)?kaggle\.com(/|$)", text, re.I):
        text = f"https://{text}"
    if "://" in text:
        return _slug_of(text)
    path = Path(text).expanduser()
    if text and path.is_dir():
        return path
    if path.is_file():
        raise UserError(f"{text} is a file, not a folder: give the folder that holds train, test and sample submission")
    if "/" in text or text.startswith((".", "~")):
        raise UserError(f"there is no folder {text}: {_HOW}")
    if not _SLUG.fullmatch(text):
        raise UserError(f"{text!r} is no competition's name: {_HOW}")
    return text


def _slug_of(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or (parts.hostname or "").removeprefix("www.") != "kaggle.com":
        raise UserError(f"{url} is not on kaggle.com: {_HOW}")
    kind, _, rest = parts.path.strip("/").partition("/")
    if kind not in ("competitions", "c"):
        raise UserError(f"{url} is not a competition's page: {_HOW}")
    slug = rest.partition("/")[0]
    if not _SLUG.fullmatch(slug):
        raise UserError(f"{url} names no competition: {_HOW}")
    return slug


def competition_url(slug: str) -> str:
    """The address of a competition."""
    return f"https://www.kaggle.com/competitions/{slug}"


def local_source(folder: Path, say: Callable[[str], None] = say) -> Source:
    """Open a folder with train, test, sample submission and description, or with `public/`.

    UserError if there is nothing to train on, or if answers lie among the files. Warns if there is no
    description."""
    folder = folder.resolve()
    data = folder / PUBLIC if (folder / PUBLIC).is_dir() else folder
    home = folder.parent if folder.name == PUBLIC else folder
    if folder.name == PRIVATE or (data / PRIVATE).is_dir():
        raise UserError(
            f"{folder} holds {PRIVATE} data: put the files that a competitor may see into {home.name}/{PUBLIC}/"
        )
    try:
        names = sorted(path.name for path in data.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read {data}: {error.strerror}; {_HOW}") from None
    if not names:
        raise UserError(f"{data} is empty: put train, test and sample submission there")
    rows = [name for name in names if not re.search("sample|submi|test", name, re.I) and not _TEXTS.fullmatch(name)]
    if not any("train" in name.lower() for name in names) and len(rows) != 1:  # one table may hold all rows
        raise UserError(
            f"{data} holds no training data, only {_list_some(names)}: call it train.csv (or .csv.zip, or train/)"
        )
    found = {
        path.name: path for place in (home, data) for path in sorted(place.iterdir()) if _TEXTS.fullmatch(path.name)
    }
    if not found:
        say(f"{home} has no description.md: the goal and the metric are guessed from the files alone")
    pages = [(path.stem, path.read_text(errors="replace")) for path in found.values() if path.is_file()]
    text = join_pages(pages)
    heading = re.search(r"^#+ +(.+)", "\n".join(page for _, page in pages), re.M)
    title = heading[1].strip() if heading and heading[1].strip().lower() not in _PAGES else home.name
    return Source(
        slug=re.sub(r"[^A-Za-z0-9_-]+", "-", home.name).strip("-") or "local",
        title=title,
        data=data,
        text=text,
        metric="",
        url=None,
        daily_submissions=None,
        deadline=None,
    )


def kaggle_source(kaggle: Kaggle, slug: str, data: Path, say: Callable[[str], None] = say) -> Source:
    """Open a competition on Kaggle, and download its files into `data` unless they are there.

    Raises the errors of Kaggle."""
    info = kaggle.info(slug)
    if info.notebooks_only or info.closed:
        why = "takes notebooks, not files" if info.notebooks_only else "takes no submissions any more"
        say(f"{slug} {why}: the run ends with a file that is not sent")
    text = join_pages(kaggle.pages(slug))
    kaggle.download(slug, data, say)
    return Source(
        slug=slug,
        title=info.title,
        data=data.resolve(),
        text=text,
        metric=info.metric,
        url=info.url,
        daily_submissions=info.daily_submissions,
        deadline=info.deadline,
    )


def _list_some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
