"""The commands as Python functions, with the same words: `agentkd.generate(task="geo", limit=48)`.

Each function takes the options of its command as keywords, or a config (`agentkd.config`), and returns a `Run`. A call
goes on where an earlier one with the same options stopped, as the command does. Errors are `AgentkdError`s.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentkd.errors import UserError, unknown_name

if TYPE_CHECKING:
    from agentkd.config import EvalConfig, GenerateConfig, StageConfig
    from agentkd.trace import Trace

Config = TypeVar("Config", bound="StageConfig")
Result = dict[str, Any]

TASKS = {  # what `distill` does beside the traces of agents, each with a config of its own
    "images": "ImagesConfig",
    "vision-language": "VisionLanguageConfig",
    "texts": "TextsConfig",
    "clients": "ClientsConfig",
}
METHODS = {"llava-kd": "vision-language", "knfu": "clients", "fedmd": "clients"}  # methods that tell the task


@dataclass(frozen=True)
class Run:
    """What a command left: its directory, and what its last line and `--json` say.

    `path` is None where nothing was written (`evaluate(predictions=…)`). `metrics` is what `--json` prints; for a
    directory that was opened with `load_run` it is the content of `metrics.json`, empty while the run is unfinished.
    """

    path: Path | None
    config: Mapping[str, Any] = field(repr=False)
    metrics: Mapping[str, Any] = field(repr=False)

    @property
    def stage(self) -> str:
        """The command that wrote it: generate, elicit, distill, eval, …"""
        return str(self.config.get("stage", ""))

    @property
    def complete(self) -> bool:
        """Whether the command finished. An evaluation writes its metrics last, all others a manifest."""
        from agentkd.runs.read import is_complete

        return self.path is not None and (is_complete(self.path) or (self.stage == "eval" and bool(self.metrics)))

    def traces(self) -> Iterator[Trace]:
        """Yield its traces, verified or not, also while the run is being written.

        Raises UserError for a damaged line, or where the run is in no directory."""
        from agentkd.runs.read import read_traces

        return read_traces(self._folder())

    def failures(self) -> Iterator[dict[str, Any]]:
        """Yield the samples that failed: `id`, `sample`, `error`, and `retry`, whether they are asked again."""
        from agentkd.runs.read import read_failures

        return read_failures(self._folder())

    def _folder(self) -> Path:
        if self.path is None:
            raise UserError("this evaluation of predictions was written to no directory: it has metrics alone")
        return self.path


def load_run(path: str | Path) -> Run:
    """Open the directory of a run, an evaluation or a student; nothing in it is executed.

    Raises UserError where it is none, or damaged."""
    from agentkd.runs.read import read_config, read_metrics

    folder = Path(path)
    metrics = read_metrics(folder) if (folder / "metrics.json").exists() else {}
    # the configs of an evaluation are those of its systems, a folder each
    evaluation = "rows" in metrics and not (folder / "config.yaml").exists()
    return Run(folder, {"stage": "eval"} if evaluation else read_config(folder), metrics)


def generate(config: GenerateConfig | None = None, *, recipe: str | Path | None = None, **options: Any) -> Run:
    """Let an agent answer a task's questions; verify and store its traces (`agentkd generate`).

    Example: `generate(task="films.jsonl", kb="films.tsv", agent="kd-cot", samples=4)`."""
    from agentkd.config import GenerateConfig
    from agentkd.generate import generate as run

    return call(run, make_config(GenerateConfig, config, recipe, options))


def distill(config: StageConfig | None = None, *, recipe: str | Path | None = None, **options: Any) -> Run:
    """Train a small student (`agentkd distill`) on traces or, by `task`, on images, texts, …; `path` is the student.

    Example: `distill(traces=run.path, method="sft", student="smollm2-135m")`."""
    from agentkd import config as configs

    task = find_task(options, recipe)
    kind = type(config) if config is not None else getattr(configs, TASKS[task] if task else "DistillConfig")
    stages = make_stages(kind, config, recipe, options)
    return call(lambda _: run_stages(stages), stages[-1])


def evaluate(config: EvalConfig | None = None, *, recipe: str | Path | None = None, **options: Any) -> Run:
    """Score agents and students on held-out questions (`agentkd eval`): `metrics["rows"]`, `metrics["differences"]`.

    Lists may be given for what the command line separates by commas.
    Example: `evaluate(model=["smollm2-135m", student.path], baseline="smollm2-135m")`."""
    from agentkd.config import EvalConfig
    from agentkd.eval.kbqa import evaluate as run

    return call(run, make_config(EvalConfig, config, recipe, options))


def make_stages(
    kind: type[Config], config: Config | None, recipe: str | Path | None, options: Mapping[str, Any]
) -> list[Config]:
    """As `make_config`, a config for each stage of the recipe. Raises UserError as it does."""
    from agentkd.config import load_stages

    if config is not None or recipe is None:
        return [make_config(kind, config, recipe, options)]
    words = {name: as_word(value) for name, value in options.items()}
    return load_stages(kind, recipe=Path(recipe), options=words, overrides=[])


def make_config(
    kind: type[Config], config: Config | None, recipe: str | Path | None, options: Mapping[str, Any]
) -> Config:
    """The config itself, or one from a recipe and options. Raises UserError for both at once or a wrong option."""
    from agentkd.config import load_config

    if config is not None:
        if recipe is not None or options:
            given = ", ".join(["recipe"] * (recipe is not None) + list(options))
            raise UserError(f"a config and {given} were given: use config.model_copy(update=…), or options alone")
        return config
    words = {name: as_word(value) for name, value in options.items()}
    return load_config(kind, recipe=Path(recipe) if recipe is not None else None, options=words, overrides=[])


def as_word(value: Any) -> Any:
    """A value as the command line has it: lists joined by commas, paths as text."""
    if isinstance(value, list | tuple):
        return ",".join(str(part) for part in value)
    return str(value) if isinstance(value, Path) else value


def call(run: Callable[[Config], Result], config: Config) -> Run:
    """Run a command. Its result has the directory as `out`."""
    result = outside_loop(lambda: run(config))
    path = Path(result["out"]) if result.get("out") else None
    return Run(path, load_run(path).config if path is not None else config.model_dump(), result)


def outside_loop(command: Callable[[], Result]) -> Result:
    """Call a command that starts an event loop of its own: in another thread where one runs already, as in a notebook.

    Ctrl-C stops it there as it does here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return command()
    results: list[Result] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(command())
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=body, name="agentkd", daemon=True)
    thread.start()
    try:
        thread.join()
    except KeyboardInterrupt:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(KeyboardInterrupt)
        )
        thread.join()
    if errors:
        raise errors[0]
    return results[0]


def find_task(options: Mapping[str, Any], recipe: str | Path | None) -> str | None:
    """The task that options or the recipe name, or their method or corpus tells; None for the traces of agents."""
    from agentkd.config import read_stages

    written = read_stages(Path(recipe))[0] if recipe is not None else {}
    values = {**written, **{name: value for name, value in options.items() if value is not None}}
    found = values.get("task") or METHODS.get(str(values.get("method")))
    if found is None and values.get("corpus"):
        found = "texts"
    if found is not None and found not in TASKS:
        raise unknown_name("task of distill", str(found), TASKS)
    return found


def run_stages(stages: Sequence[StageConfig], *, plan: bool = False) -> Result:
    """Distil, or plan it: by one config, or by the stages of a recipe, one after another."""
    if len(stages) == 1:
        return find_distillation(stages[0], plan=plan)(stages[0])
    from agentkd.config import ImagesConfig
    from agentkd.distill.images.stages import distill_stages, plan_stages

    images = [stage for stage in stages if isinstance(stage, ImagesConfig)]
    return plan_stages(images) if plan else distill_stages(images)


def find_distillation(config: StageConfig, *, plan: bool = False) -> Callable[[Any], Result]:
    """What trains by a config, or plans it, from its type; `method=auto` chooses the method first."""
    from agentkd import config as configs

    auto = getattr(config, "method", None) == "auto"
    if isinstance(config, configs.ImagesConfig):
        if auto:
            from agentkd.distill.auto.images import distill_images_auto, plan_images_auto

            return plan_images_auto if plan else distill_images_auto
        from agentkd.distill.images.plan import plan_images
        from agentkd.distill.images.run import distill_images

        return plan_images if plan else distill_images
    if isinstance(config, configs.ClientsConfig):
        from agentkd.distill.clients.plan import plan_clients
        from agentkd.distill.clients.run import distill_clients

        return plan_clients if plan else distill_clients
    if isinstance(config, configs.TextsConfig):
        from agentkd.distill.texts.plan import plan_texts
        from agentkd.distill.texts.run import distill_texts

        return plan_texts if plan else distill_texts
    if isinstance(config, configs.VisionLanguageConfig):
        from agentkd.distill.vision_language.plan import plan_vision_language
        from agentkd.distill.vision_language.run import distill_vision_language

        return plan_vision_language if plan else distill_vision_language
    if auto:
        from agentkd.distill.auto.questions import distill_auto, plan_auto

        return plan_auto if plan else distill_auto
    from agentkd.distill.plan import plan_run
    from agentkd.distill.stages import distill as run

    return plan_run if plan else run
