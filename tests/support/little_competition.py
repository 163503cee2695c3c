"""A small competition made from nothing: what decides the target is hidden from trees, and plain to who knows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SLUG = "odd-ones"
DESCRIPTION = """# Odd ones
Predict for each `id` whether the item is odd.

## Evaluation
Submissions are evaluated on accuracy, the percentage of items that are classified correctly.
"""


def make(folder: Path, rows: int = 240, seed: int = 0, description: str = DESCRIPTION) -> Path:
    """FOLDER/odd-ones with public/ (train, test, sample_submission), private/solution.csv and description.md: the
    target is the parity of `reading` in thousandths, some of them flipped, and leans a little on `size`."""
    import pandas as pd

    random = np.random.default_rng(seed)
    count = rows + rows // 2
    reading = random.integers(0, 10_000, count)
    size = random.normal(size=count)
    odd = (reading % 2) ^ (random.random(count) < 0.1)
    odd = np.where(random.random(count) < 0.1, size > 0, odd).astype(int)
    table = pd.DataFrame(
        {
            "id": [f"r{place:04d}" for place in range(count)],
            "reading": reading / 1000,
            "size": size.round(3),
            "colour": random.choice(["red", "green", "blue"], count),
            "odd": odd,
        }
    )
    home = folder / SLUG
    public, private = home / "public", home / "private"
    public.mkdir(parents=True)
    private.mkdir()
    test = table[rows:]
    table[:rows].to_csv(public / "train.csv", index=False)
    test.drop(columns="odd").to_csv(public / "test.csv", index=False)
    test[["id"]].assign(odd=0).to_csv(public / "sample_submission.csv", index=False)
    usage = ["Public" if place % 2 else "Private" for place in range(len(test))]
    test[["id", "odd"]].assign(Usage=usage).to_csv(private / "solution.csv", index=False)
    (home / "description.md").write_text(description)
    return home
