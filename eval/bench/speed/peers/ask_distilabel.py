"""distilabel as its manual shows it: a pipeline of one TextGeneration.

Its unit of work is the batch: a batch of `in_flight` prompts keeps as many requests open."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any


def ask(job: dict[str, Any]) -> int:
    folder = Path(job["folder"])
    os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=str(folder / "hf"), DISTILABEL_LOG_LEVEL="WARNING")
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    with Pipeline("bench", cache_dir=folder / "distilabel") as pipeline:
        model = OpenAILLM(
            model=job["model"], base_url=job["url"], api_key="none", generation_kwargs={"max_new_tokens": 64}
        )
        load = LoadDataFromDicts(
            data=[{"instruction": prompt} for prompt in job["prompts"]], batch_size=job["in_flight"]
        )
        load >> TextGeneration(llm=model, input_batch_size=job["in_flight"])
    rows = pipeline.run(use_cache=False)["default"]["train"]
    return sum(bool(row["generation"]) for row in rows)


if __name__ == "__main__":
    answers = ask(json.load(sys.stdin))
    print(json.dumps({"answers": answers, "version": version("distilabel")}))
