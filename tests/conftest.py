"""For all tests: no network, and no server but the ones they start."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("AGENTKD_TEACHER", None)
os.environ.pop("OPENAI_API_KEY", None)
