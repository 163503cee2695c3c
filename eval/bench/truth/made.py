"""Five competitions made of data that packages ship, each with a held-out part: `bench automl` without --data.

| name | made of | to predict | metric |
|---|---|---|---|
| docstrings | docstrings of five packages | the package that a paragraph is from | log loss |
| letters | matplotlib's fonts | the letter on a turned and noisy picture | accuracy |
| tumours | scikit-learn's breast cancer data | three measurements of the worst cells | R², mean of the targets |
| time-zones | agentkd's own geography, four tables | hours from UTC, of cities in countries not seen | MAE |
| weather | vega-datasets, Seattle 2012 to 2015 | the warmest temperature of later days | RMSE |

The same seed gives the same files as long as the packages are the same; competition.json says their versions.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

import agentkd
from agentkd.errors import UserError, unknown_name
from agentkd.eval.hold_out import FACTS, Competition, write_competition

PACKAGES = ("matplotlib", "numpy", "pandas", "scipy", "sklearn")  # whose docstrings are read
DOCSTRINGS = 900  # paragraphs of a package
LETTERS = "ABCDEFGHJK"
SIDE = 28  # pixels
HELD = 0.25  # share of the rows, or groups, that are held out


def make_competitions(folder: Path, seed: int = 0, *, rows: int = 0, names: str = "") -> list[Path]:
    """Make those competitions in `folder` that are not there yet; returns the folders of all.

    `rows`: of each table at most, 0 for all. Raises UserError for an unknown name, and without a package."""
    wanted = names.split(",") if names else list(MAKERS)
    found = []
    for name in wanted:
        if name not in MAKERS:
            raise unknown_name("competition", name, MAKERS)
        home = folder / name
        if not (home / FACTS).exists():
            try:
                made = MAKERS[name](np.random.default_rng(seed), rows)
            except ImportError as error:
                raise UserError(f"'{name}' needs the package {error.name}: pip install 'agentkd[bench]'") from None
            write_competition(made, home, HELD, seed)
        found.append(home)
    return found


def _cut(table: pd.DataFrame, rows: int, random: np.random.Generator) -> pd.DataFrame:
    """At most so many rows, in a random order, with ids."""
    order = random.permutation(len(table))[: rows or None]
    table = table.iloc[order].reset_index(drop=True)
    table.insert(0, "id", [f"r{number:05d}" for number in range(len(table))])
    return table


# --- text -------------------------------------------------------------------------------------------------------------


def make_docstrings(random: np.random.Generator, rows: int) -> Competition:
    """Paragraphs of docstrings, without the names of packages; as many of each package."""
    wanted = rows // len(PACKAGES) or DOCSTRINGS
    found = {name: sorted(set(islice(_paragraphs(name), None if not rows else 3 * wanted))) for name in PACKAGES}
    fewest = min(wanted, *map(len, found.values()))
    parts = [(text, name) for name, texts in found.items() for text in random.permutation(texts)[:fewest]]
    table = _cut(pd.DataFrame(parts, columns=["text", "package"]), 0, random)
    page = (
        "Each row has a paragraph of documentation. Tell the package that it is from.\n\n## Evaluation\n\n"
        "Submissions are evaluated on multi-class log loss. Give a probability for each package."
    )
    return Competition(
        "Whose documentation", page, "multiclass", "multiclass_logloss", ("package",), table, _distributions(PACKAGES),
        outputs=PACKAGES,
    )  # fmt: skip


def _distributions(packages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("scikit-learn" if name == "sklearn" else name for name in packages)


def _paragraphs(package: str) -> Iterator[str]:
    """Prose paragraphs of the docstrings in a package's source files."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(name=package)
    words = re.compile("|".join((*PACKAGES, "scikit", "pyplot", r"\bnp\b", r"\bpd\b", r"\bplt\b")), re.IGNORECASE)
    home = Path(spec.origin).parent
    for path in sorted(home.rglob("*.py")):
        if "tests" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                for part in text.split("\n\n"):
                    line = " ".join(part.split())
                    if 80 <= len(line) <= 600 and ">>>" not in line and "---" not in line:
                        yield words.sub("it", line)


# --- images -----------------------------------------------------------------------------------------------------------


def make_letters(random: np.random.Generator, rows: int) -> Competition:
    """Letters of matplotlib's fonts, turned, shifted and with noise, 28 x 28 pixels of grey."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    fonts = [
        path for path in sorted(folder.glob("*.ttf")) if not re.search("Display|Size|NonUni|cmex|cmsy|cmmi", path.name)
    ]
    count = rows or 2400
    named, images = [], {}
    for number in range(count):
        letter = LETTERS[random.integers(len(LETTERS))]
        font = ImageFont.truetype(str(fonts[random.integers(len(fonts))]), int(random.integers(15, 24)))
        picture = Image.new("L", (SIDE, SIDE), 0)
        shift = random.integers(-3, 4, 2)
        middle = (SIDE / 2 + shift[0], SIDE / 2 + shift[1])
        ImageDraw.Draw(picture).text(middle, letter, fill=int(random.integers(90, 200)), font=font, anchor="mm")
        picture = picture.rotate(float(random.uniform(-35, 35)), resample=Image.Resampling.BILINEAR)
        noisy = np.asarray(picture) + random.normal(0, 35, (SIDE, SIDE))
        name = f"p{number:05d}"
        images[name] = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        named.append((name, letter))
    page = (
        "Each picture (train/ID.png, test/ID.png) shows a letter. Tell which.\n\n## Evaluation\n\n"
        "Submissions are evaluated on accuracy."
    )
    table = pd.DataFrame(named, columns=["id", "letter"])
    return Competition(
        "Turned letters", page, "multiclass", "accuracy", ("letter",), table, ("matplotlib", "pillow"), images=images
    )


# --- several targets --------------------------------------------------------------------------------------------------


def make_tumours(random: np.random.Generator, rows: int) -> Competition:
    """Three of the worst measurements of a tumour, from the means and errors of all."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer(as_frame=True).data
    targets = ("worst texture", "worst smoothness", "worst symmetry")
    kept = [name for name in found.columns if not name.startswith("worst")]
    page = (
        "Each row has the mean and the error of ten measurements of the cells of a tumour. Predict three of the worst "
        "cells.\n\n## Evaluation\n\nSubmissions are evaluated on R2, averaged over the three targets."
    )
    return Competition(
        "Worst cells",
        page,
        "regression",
        "r2",
        targets,
        _cut(found[[*kept, *targets]], rows, random),
        ("scikit-learn",),
    )


# --- several tables ---------------------------------------------------------------------------------------------------


def make_time_zones(random: np.random.Generator, rows: int) -> Competition:
    """Cities with the hours from UTC; what is known of their countries stands in three other tables."""
    facts = pd.read_csv(
        Path(agentkd.__file__).parent / "data" / "geo" / "kb.tsv",
        sep="\t",
        names=["one", "relation", "other"],
        dtype=str,
    )

    def pairs(relation: str, one: str, other: str) -> pd.DataFrame:
        rows = facts[facts["relation"] == relation]
        return pd.DataFrame({one: rows["one"], other: rows["other"]}).reset_index(drop=True)

    zones = pairs("city.time_zone", "city", "zone").drop_duplicates("city")
    offsets = pairs("time_zone.utc_offset", "zone", "offset").drop_duplicates("zone")
    cities = pairs("city.country", "city", "country").drop_duplicates("city").merge(zones).merge(offsets)
    cities["hours from UTC"] = cities["offset"].map(_read_offset)
    countries = pairs("country.continent", "country", "continent").drop_duplicates("country")
    for relation, name in (("subregion", "subregion"), ("driving_side", "driving side"), ("currency", "currency")):
        countries = countries.merge(
            pairs(f"country.{relation}", "country", name).drop_duplicates("country"), how="left"
        )
    cities = cities[cities["country"].isin(countries["country"])]
    table = _cut(cities[["city", "country", "hours from UTC"]], rows, random)
    page = (
        "Each row is a city; countries.csv, borders.csv and languages.csv tell more of the countries. Predict how many "
        "hours its clock is ahead of UTC in winter.\n\n## Evaluation\n\nSubmissions are evaluated on the mean absolute "
        "error (MAE)."
    )
    tables = {
        "countries.csv": countries,
        "borders.csv": pairs("country.borders", "country", "neighbour"),
        "languages.csv": pairs("country.spoken_language", "country", "language"),
    }
    return Competition(
        "Clocks of cities", page, "regression", "mae", ("hours from UTC",), table, ("agentkd",),
        groups=table["country"], tables=tables,
    )  # fmt: skip


def _read_offset(text: str) -> float:
    """UTC+4:30 as 4.5."""
    sign, hours, minutes = re.fullmatch(r"UTC(?:([+−-])(\d+)(?::(\d+))?)?", text).groups()  # type: ignore[union-attr]
    return (-1.0 if sign in ("−", "-") else 1.0) * (int(hours or 0) + int(minutes or 0) / 60)


# --- time -------------------------------------------------------------------------------------------------------------


def make_weather(random: np.random.Generator, rows: int) -> Competition:
    """Days of four years; the last one is held out."""
    from vega_datasets import local_data

    found = local_data.seattle_weather()[["date", "precipitation", "wind", "weather", "temp_max"]].sort_values("date")
    found = found.tail(rows or len(found)).reset_index(drop=True)
    found.insert(0, "id", [f"d{number:05d}" for number in range(len(found))])
    days = pd.to_datetime(found["date"])
    found["date"] = days.dt.strftime("%Y-%m-%d")
    page = (
        "Each row is a day in Seattle. Predict its warmest temperature (temp_max, in degrees Celsius), for days "
        "that are later than all training days.\n\n## Evaluation\n\nSubmissions are evaluated on the root mean squared "
        "error (RMSE)."
    )
    return Competition("Days to come", page, "regression", "rmse", ("temp_max",), found, ("vega-datasets",), later=days)


MAKERS: dict[str, Callable[[np.random.Generator, int], Competition]] = {
    "docstrings": make_docstrings,
    "letters": make_letters,
    "tumours": make_tumours,
    "time-zones": make_time_zones,
    "weather": make_weather,
}
