"""Open a task by its name: find its files and how to read them.

Tasks: `geo`, `sql` and `math` (packaged), `webqsp` and `cwq` (files, or RoG's data sets from the hub), `metaqa` and
`pathquestion` (files; `metaqa-2hop` is its 2-hop part), `kgqagen` (files), or the user's own JSONL file. Raises
UserError for wrong input (a wrong line is named by file and line), WorldError where the hub cannot be reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from agentkd.errors import UserError, near_file, unknown_name
from agentkd.retrievers.sparql import WIKIDATA
from agentkd.tasks import NAMES
from agentkd.tasks.files import (
    find_metaqa,
    merge_kb_files,
    read_fbmini,
    read_file,
    read_metaqa,
    read_own,
    read_pathquestion,
)
from agentkd.tasks.kgqagen import NOTE, prepare_kgqagen
from agentkd.tasks.overlap import find_overlaps
from agentkd.tasks.question import Row
from agentkd.tasks.rog import prepare_rog
from agentkd.tasks.sr import find_sr, prepare_sr
from agentkd.tasks.task import OWN_DATA, SPLITS, Task, TaskSource
from agentkd.tasks.tool_task import TOOL_TASKS, ToolTask

PACKAGE = Path(__file__).parents[1] / "data"
MAX_HOPS = {"geo": 3, "webqsp": 2, "cwq": 2, "metaqa": 3, "pathquestion": 3, "kgqagen": 2}
OPTIONS = {"data": "data", "kb": "kb", "aliases": "aliases", "columns": "kb_columns"}  # of load_task, and of a config
_FBMINI_NOTE = (
    "fbmini is pooled from what published systems retrieved: it is far smaller and cleaner than Freebase, so scores "
    "on it are not comparable with published {} scores"
)
_LICENCES = {
    "geo": "CC BY 4.0 and others: see agentkd/data/geo/ATTRIBUTION.md",
    "webqsp": "Freebase facts: CC BY 2.5; questions: Microsoft's WebQSP terms",
    "cwq": "Freebase facts: CC BY 2.5; questions: the ComplexWebQuestions authors' terms",
    "metaqa": "CC BY 3.0",
    "pathquestion": "no licence stated by its authors",
    "sql": "CC BY 4.0 and others: see agentkd/data/geo/ATTRIBUTION.md",
    "math": "Apache-2.0",
    "kgqagen": "Wikidata facts: CC0; questions: no licence stated by their authors",
}


def find_licence(name: str) -> str:
    """Return the licence of a task's data by the task's name."""
    return _LICENCES.get(re.sub(r"-[123]hop$", "", name), OWN_DATA)


def load_task(
    name: str,
    *,
    data: Path | str | None = None,
    kb: Path | str | None = None,
    aliases: Path | str | None = None,
    columns: str | None = None,
) -> Task:
    """Open the task of a name, or of a path to the user's own JSONL file (which needs `kb`).

    `data` is the folder of the task's files, or a parent of it; `kb` replaces the task's knowledge base. For the user's
    own questions `kb` may be a SPARQL endpoint's address, or `wikidata`. `aliases` is a table of other names for the
    knowledge base's entities; `columns` says which columns of `kb` are head, relation and tail.
    """
    task = _find_task(name, data, kb)
    if aliases is None and columns is None:
        return task
    if isinstance(task, ToolTask):
        raise UserError(f"task {name} has no knowledge base: leave --aliases and --kb-columns out")
    if task.source.endpoint is not None:
        raise UserError(f"--kb {kb}: an endpoint has its own labels; --aliases and --kb-columns are for files")
    file = task.aliases_path if aliases is None else Path(aliases).expanduser()
    source = replace(task.source, aliases_path=file, columns=columns)
    return Task(name=task.name, source=source, max_hops=task.max_hops, licence=task.licence, note=task.note)


def load_facts(kb: str, *, aliases: Path | str | None = None, columns: str | None = None, max_hops: int) -> Task:
    """Open a knowledge base as a task without questions: they come from outside, one by one.

    `kb` is a file, a folder, a SPARQL endpoint's address or `wikidata`; the rest as for `load_task`."""
    if kb == "wikidata" or kb.startswith(("http://", "https://")):
        if aliases is not None or columns is not None:
            raise UserError(f"--kb {kb}: an endpoint has its own labels; --aliases and --kb-columns are for files")
        endpoint = (WIKIDATA, "wikidata") if kb == "wikidata" else (kb, "rdf")
        return Task(
            "wikidata" if kb == "wikidata" else kb, TaskSource({}, {}, None, endpoint=endpoint), max_hops=max_hops
        )
    path = Path(kb).expanduser()
    if not path.exists():
        raise UserError(f"{path}: no such file or folder{near_file(path)}; check --kb")
    other_names = None if aliases is None else Path(aliases).expanduser()
    return Task(path.stem, TaskSource({}, {}, path, other_names, columns), max_hops=max_hops)


def reload_task(config: Mapping[str, Any]) -> Task:
    """Open the task that a run was made with, from its config. Raises UserError where it names none."""
    if not isinstance(config.get("task"), str):
        raise UserError("the run's config.yaml names no task: restore the file")
    values = {name: config.get(option) for name, option in OPTIONS.items()}
    return load_task(config["task"], **values)


def _find_task(name: str, data: Path | str | None, kb: Path | str | None) -> Task:
    if isinstance(kb, str) and (kb == "wikidata" or kb.startswith(("http://", "https://"))):
        if not name.endswith((".jsonl", ".json")):
            raise UserError(
                f"--kb {kb}: task {name} brings its own KB; an endpoint is for your own .jsonl of questions"
            )
        return _own(Path(name).expanduser(), (WIKIDATA, "wikidata") if kb == "wikidata" else (kb, "rdf"))
    folder, kb_path = (Path(p).expanduser() if p is not None else None for p in (data, kb))
    for file in (folder, kb_path):
        if file is not None and not file.exists():
            raise UserError(f"{file}: no such file or folder{near_file(file)}; check --data and --kb")
    if match := re.fullmatch(r"(metaqa|pathquestion)(?:-([123])hop)?", name):
        return _hops(match[1], folder, kb_path, int(match[2]) if match[2] else None)
    if name == "geo":
        return _geo(folder, kb_path)
    if name in TOOL_TASKS:
        return _with_tool(name, folder, kb_path)
    if name == "kgqagen":
        return _kgqagen(folder, kb_path)
    if name in ("webqsp", "cwq"):
        return _freebase(name, folder, kb_path)
    if name.endswith((".jsonl", ".json")) or Path(name).is_file():
        return _own(Path(name).expanduser(), kb_path)
    raise unknown_name("task", name, NAMES, ", or a path to your own .jsonl with --kb")


def _locate(data: Path, marker: str, *subfolders: str) -> Path | None:
    """Return the folder that holds `marker` (a glob): `data` itself or one of its usual subfolders."""
    folders = (data / subfolder for subfolder in ("", *subfolders))
    return next((folder for folder in folders if any(folder.glob(marker))), None)


def _by_file(
    name: str, files: dict[str, Path], kb_path: Path, aliases_path: Path | None = None, **options: Any
) -> Task:
    """A task of one JSONL file per split."""
    read = {split: partial(read_file, file, split, f"{name}-{split}") for split, file in files.items()}
    return Task(name, TaskSource(read, {s: (f,) for s, f in files.items()}, kb_path, aliases_path), **options)


def _geo(data: Path | None, kb: Path | None) -> Task:
    folder = data or PACKAGE / "geo"
    files = {split: file for split in SPLITS if (file := folder / f"{split}.jsonl").is_file()}
    if not files or not (kb or folder / "kb.tsv").is_file():
        raise UserError(f"{folder}: holds no geo files (kb.tsv, train.jsonl, …); the packaged ones need no --data")
    aliases = folder / "aliases.tsv"
    options: dict[str, Any] = {"max_hops": MAX_HOPS["geo"], "licence": _LICENCES["geo"]}
    return _by_file("geo", files, kb or folder / "kb.tsv", aliases if aliases.is_file() else None, **options)


def _with_tool(name: str, data: Path | None, kb: Path | None) -> Task:
    folder = data or PACKAGE / name
    files = {split: file for split in SPLITS if (file := folder / f"{split}.jsonl").is_file()}
    if not files:
        raise UserError(f"{folder}: holds no {name} files (train.jsonl, …); the packaged ones need no --data")
    if kb is not None:
        raise UserError(f"--kb {kb}: task {name} has no knowledge base")
    read = {split: partial(read_file, file, split, f"{name}-{split}") for split, file in files.items()}
    source = TaskSource(read, {split: (file,) for split, file in files.items()}, None)
    facts = PACKAGE / "geo" / "kb.tsv" if name == "sql" else None
    return ToolTask(name, source, facts=facts, licence=_LICENCES[name])


def _freebase(name: str, data: Path | None, kb: Path | None) -> Task:
    """WebQSP or CWQ: fbmini's or SR's files where `data` has them, else RoG's data set (from `data` or the hub)."""
    options: dict[str, Any] = {"max_hops": MAX_HOPS[name], "licence": _LICENCES[name]}
    folder = _locate(data, f"{name}_*.jsonl", "fbmini", "kbqa/fbmini") if data else None
    if folder is None:
        sr = find_sr(data) if data else None
        kb_path, files = prepare_sr(name, sr) if sr else prepare_rog(name, data)
        return _by_file(name, files, kb or kb_path, **options)
    parts: dict[str, tuple[Path, ...]] = {
        split: (file,) for split in SPLITS if (file := folder / f"{name}_{split}.jsonl").is_file()
    }
    kb_path = kb or folder / "kb.tsv"
    if not kb_path.exists():
        raise UserError(f"{folder}: holds {name} questions but no kb.tsv; put it there or name one with --kb")
    read: dict[str, Callable[[], list[Row]]] = {
        split: partial(read_fbmini, files[0], split) for split, files in parts.items()
    }
    trained = folder / "webqsp_train.jsonl"
    if name == "cwq" and "dev" in parts and trained.is_file():  # most CWQ questions are composed from WebQSP's
        read["unseen"] = partial(_unseen, read["dev"], trained)
        parts["unseen"] = (*parts["dev"], trained)
    note = _FBMINI_NOTE.format("WebQSP" if name == "webqsp" else "CWQ")
    return Task(name, TaskSource(read, parts, kb_path), note=note, **options)


def _kgqagen(data: Path | None, kb: Path | None) -> Task:
    if data is None:
        raise UserError("task kgqagen needs its files: give --data, KGQAGen-10k's data.jsonl or a folder that holds it")
    kb_path, files = prepare_kgqagen(data)
    options: dict[str, Any] = {"max_hops": MAX_HOPS["kgqagen"], "licence": _LICENCES["kgqagen"]}
    return _by_file("kgqagen", files, kb or kb_path, note=NOTE if kb is None else "", **options)


def _unseen(read: Callable[[], list[Row]], trained: Path) -> list[Row]:
    """Return the questions that share neither text nor id root with WebQSP's training questions."""
    rows = read()
    known = find_overlaps([row.question for row in read_fbmini(trained, "train")], [row.question for row in rows]).test
    return [row for row in rows if row.question.id not in known]


def _hops(name: str, data: Path | None, kb: Path | None, hops: int | None) -> Task:
    """MetaQA or PathQuestion, all hops or one."""
    marker, need = {
        "metaqa": ("kb.txt", "kb.txt and 1-hop/qa_dev.txt"),
        "pathquestion": ("PQ-*H.txt", "PQ-2H.txt and 2H-kb.txt"),
    }[name]
    folder = _locate(data, marker, name, f"kbqa/{name}") if data else None
    if folder is None:
        raise UserError(f"task {name} needs its files: give --data DIR, a folder that holds {need} (it is {data})")
    chosen = (hops,) if hops else (1, 2, 3)
    title = f"{name}-{hops}hop" if hops else name
    read: Mapping[str, Callable[[], list[Row]]]
    if name == "metaqa":
        found = find_metaqa(folder, chosen)
        read = {split: partial(read_metaqa, parts, split) for split, parts in found.items()}
        files = {split: tuple(f for pair in parts.values() for f in pair if f) for split, parts in found.items()}
        kb_path = kb or folder / "kb.txt"
    else:
        pairs = {h: folder / f"PQ-{h}H.txt" for h in chosen if (folder / f"PQ-{h}H.txt").is_file()}
        read = {split: partial(read_pathquestion, pairs, split) for split in ("train", "dev", "test")}
        files = {split: tuple(pairs.values()) for split in read}
        kb_path = kb or merge_kb_files(folder / f"{h}H-kb.txt" for h in pairs)
    if not files or not all(files.values()):
        raise UserError(f"{folder}: holds no questions of task {title}; give a folder with {need}")
    return Task(title, TaskSource(read, files, kb_path), max_hops=hops or 3, licence=_LICENCES[name])


def _own(file: Path, kb: Path | tuple[str, str] | None) -> Task:
    """The user's own questions: rows of `question` and `topic_entities`, with `answers`, `id` and `split` if known.

    They are searched as deep as the largest `hops` beside an answer; a row that does not tell it counts as 3.
    """
    if kb is None:
        raise UserError(
            f"{file}: your own questions need a knowledge base; "
            "add --kb FILE (TSV, CSV, JSON lines or RDF), or the URL of a SPARQL endpoint"
        )
    if not file.is_file():
        raise UserError(
            f"{file}: no such file{near_file(file)}; a task of your own is a file of JSON lines (docs/tasks.md)"
        )
    by_split = read_own(file)
    if not by_split:
        raise UserError(f"{file}: holds no question; write one JSON object a line")
    read = {split: partial(list[Row], rows) for split, rows in by_split.items()}
    golds = (row.gold for rows in by_split.values() for row in rows)
    max_hops = max((gold and gold.hops) or 3 for gold in golds)
    files = dict.fromkeys(by_split, (file,))
    if isinstance(kb, tuple):
        return Task(file.stem, TaskSource(read, files, None, endpoint=kb), max_hops=max_hops)
    return Task(file.stem, TaskSource(read, files, kb), max_hops=max_hops)
