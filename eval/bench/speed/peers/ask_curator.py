"""bespokelabs-curator as its manual shows it: an LLM called with all prompts, its rate limits out of the way."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

NO_LIMIT = 1_000_000_000  # requests and tokens per minute


def ask(job: dict[str, Any]) -> int:
    os.environ.update(
        CURATOR_CACHE_DIR=str(Path(job["folder"]) / "curator"),
        CURATOR_DISABLE_RICH_DISPLAY="1",
        TELEMETRY_ENABLED="false",
        HF_HUB_OFFLINE="1",
        HF_HOME=str(Path(job["folder"]) / "hf"),
    )
    # it downloads a tokenizer when it starts; litellm, which it installs, carries the same file
    litellm = importlib.util.find_spec("litellm")
    assert litellm is not None and litellm.origin is not None
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers")
    from bespokelabs import curator

    limits = {"max_requests_per_minute": NO_LIMIT, "max_tokens_per_minute": NO_LIMIT}
    model = curator.LLM(
        model_name=job["model"],
        backend="openai",
        backend_params={
            "base_url": job["url"],
            "api_key": "none",
            "max_concurrent_requests": job["in_flight"],
            **limits,
        },
        generation_params={"max_tokens": 64},
    )
    return len(model(job["prompts"]).dataset)


if __name__ == "__main__":
    answers = ask(json.load(sys.stdin))
    print(json.dumps({"answers": answers, "version": version("bespokelabs-curator")}))
