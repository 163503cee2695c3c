"""One flat, frozen config per stage, and the recipes that fill it. May import: no other room.

Precedence: field default < recipe (flat YAML) < option or `key=value` on the command line. A stage derives the values
that the user leaves open (`None`) and prints them, so config.yaml holds every value that was used.

A field's description is its only documentation: `--help` prints it. It ends with `[default: …]` where the default is
derived; other defaults are added by `--help` itself.
"""

from agentkd.config.base import INSECURE, TRUST, Spec, StageConfig
from agentkd.config.clients import ClientsConfig
from agentkd.config.defaults import default_teacher, has_bf16, has_gpu, slug, task_label, user_data
from agentkd.config.distill import DistillConfig, PerStage, per_stage
from agentkd.config.elicit import ElicitConfig
from agentkd.config.eval import EvalConfig
from agentkd.config.feedback import FeedbackConfig
from agentkd.config.gate import GateConfig
from agentkd.config.generate import GenerateConfig
from agentkd.config.images import ImagesConfig
from agentkd.config.import_traces import ImportConfig
from agentkd.config.kaggle import KaggleConfig
from agentkd.config.load import load_config, load_stages, read_stages, require_options
from agentkd.config.reproduce import ReproduceConfig
from agentkd.config.select import SelectConfig
from agentkd.config.texts import TextsConfig
from agentkd.config.verify import VerifyConfig
from agentkd.config.vision_language import VisionLanguageConfig

__all__ = [
    "INSECURE",
    "TRUST",
    "ClientsConfig",
    "DistillConfig",
    "ElicitConfig",
    "EvalConfig",
    "FeedbackConfig",
    "GateConfig",
    "GenerateConfig",
    "ImagesConfig",
    "ImportConfig",
    "KaggleConfig",
    "PerStage",
    "ReproduceConfig",
    "SelectConfig",
    "Spec",
    "StageConfig",
    "TextsConfig",
    "VerifyConfig",
    "VisionLanguageConfig",
    "default_teacher",
    "has_bf16",
    "has_gpu",
    "load_config",
    "load_stages",
    "per_stage",
    "read_stages",
    "require_options",
    "slug",
    "task_label",
    "user_data",
]
