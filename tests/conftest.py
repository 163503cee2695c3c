"""For all tests: no network, and no server but the ones they start."""

import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("AGENTKD_TEACHER", None)
os.environ.pop("OPENAI_API_KEY", None)

# Shared machines stall for a second now and then; no test is about time.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
