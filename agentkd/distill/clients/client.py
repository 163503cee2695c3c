"""One client: a process with images and a model of its own. Logits of the shared images and scores leave it.

A phase is a training in a folder of its own, which is written whole or resumed from its checkpoints. So a client that
is killed does again what it is asked, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agentkd.config import ClientsConfig, ImagesConfig
from agentkd.distill.images.classifier import Classifier, open_classifier, read_shape
from agentkd.distill.images.data import Item, check_images, read_images
from agentkd.distill.images.decoded import Decoded
from agentkd.distill.images.pixels import Pixels
from agentkd.distill.images.run import Phase
from agentkd.errors import AgentkdError
from agentkd.runs.disk import write_atomically
from agentkd.trace import content_hash

if TYPE_CHECKING:
    from torch import Tensor

LOGITS, TARGETS = "logits", "targets"
TUNE_LR = 0.2  # of the rounds'


class Place(NamedTuple):
    """Who a client is: its name, images and model, the classes of all clients, the shared images, and the others'
    names."""

    name: str
    data: Path
    student: str
    classes: tuple[str, ...]
    shared: tuple[Path, ...]
    others: tuple[str, ...]


def work(place: Place, config: ClientsConfig, connection: Connection) -> None:
    """Answer the server's messages until it closes the connection; an error is an answer, too."""
    from transformers.utils.logging import disable_progress_bar

    from agentkd.runs.children import follow_parent
    from agentkd.runs.progress import console

    follow_parent()
    console.quiet = True
    disable_progress_bar()
    try:
        client = Client(place, config)
        connection.send(client.facts)
        while True:
            step, turn = connection.recv()
            connection.send(getattr(client, step)(turn))
    except EOFError:
        return
    except AgentkdError as error:
        connection.send(error)


class Client:
    """The steps that a server asks for, in the order of rounds: learn, digest, then finish; or measure, for a plan."""

    def __init__(self, place: Place, config: ClientsConfig) -> None:
        self.place, self.config = place, config
        self.folder = Path(str(config.out)) / place.name
        shape = read_shape(place.student, trust=config.trust_remote_code)
        self.images = read_images(
            place.data, held_out=config.held_out, seed=config.seed, shapes=(shape,), classes=place.classes
        )
        decoded = Decoded((shape,))
        hashes = check_images(place.shared, decoded.add)
        self.own = Pixels(self.images.train, shape, self.images.decoded)
        self.shared = Pixels([Item(file.name, file, 0) for file in place.shared], shape, decoded)
        self.settings = ImagesConfig(
            data=str(place.data), student=place.student, out=str(self.folder), seed=config.seed, lr=config.lr,
            batch=config.batch, held_out=config.held_out, trust_remote_code=config.trust_remote_code,
        )  # fmt: skip
        self.facts = {
            "hash": content_hash([self.images.hash, *hashes.values()]),
            "train": len(self.images.train),
            "test": len(self.images.test),
        }

    def measure(self, turn: int) -> dict[str, Any]:
        """The size of the model and the seconds of a training step; nothing is written."""
        from agentkd.distill.images.plan import time_step

        model = self.open(None)
        return {
            "parameters": model.model.num_parameters(),
            "step_seconds": round(time_step(self.settings, self.own, model), 5),
        }

    def learn(self, turn: int) -> None:
        """Train on the own images from where the last round ended, and write logits of the shared images."""
        from agentkd.distill.images.fit import ask
        from agentkd.distill.images.lessons import Lesson

        file = self.file(turn, LOGITS)
        if not file.exists():
            before = self.open(self.phase(turn - 1, "digest") if turn else None)
            trained, _ = self.train(self.phase(turn, "learn"), self.own, before, Lesson, self.config.epochs)
            save(file, ask(trained, self.shared))

    def digest(self, turn: int) -> None:
        """Learn on the shared images what the server has made of all logits."""
        from agentkd.distill.clients.lesson import Digest

        targets = load(self.file(turn, TARGETS))
        before = self.open(self.phase(turn, "learn"))
        regress = self.config.method == "fedmd"
        self.train(
            self.phase(turn, "digest"),
            self.shared,
            before,
            lambda model: Digest(model, targets, regress=regress),
            self.config.exchange_epochs,
        )

    def finish(self, turn: int) -> dict[str, Any]:
        """Tune on the own images, train the same model alone for as many passes, compare both and write card and page.

        Returns `scores`, image by image, and the client's `figures`."""
        from agentkd.distill.clients.publish import publish_client
        from agentkd.distill.images.compare import compare
        from agentkd.distill.images.fit import ask, read_fit
        from agentkd.distill.images.lessons import Lesson

        config = self.config
        alone, _ = self.train(
            self.folder / "alone", self.own, self.open(None), Lesson, config.rounds * config.epochs + config.tune_epochs
        )
        before = self.open(self.phase(turn, "digest"))
        student, facts = self.train(self.folder, self.own, before, Lesson, config.tune_epochs, lr_share=TUNE_LR)
        test = Pixels(self.images.test, self.own.shape, self.images.decoded)
        answers = {
            name: ask(model, test).argmax(-1).tolist() for name, model in (("student", student), ("alone", alone))
        }
        found = compare(self.images, answers, self.folder)
        metrics = {
            "classes": len(self.place.classes),
            "channels": student.channels,
            "examples": len(self.images.train),
            "parameters": student.model.num_parameters(),
            **found,
        }
        rounds = [read_fit(self.phase(number, "learn")) or {} for number in range(config.rounds)]
        losses = [loss for phase in (*rounds, facts) for loss in phase.get("losses", [])]
        names = {"model": self.place.student, "others": self.place.others, "shared": len(self.shared)}
        publish_client(self.folder, config, metrics, losses, names)
        labels = [item.label for item in self.images.test]
        accuracy = {row["name"]: row["accuracy"] for row in found["rows"]}
        return {
            "scores": {
                name: [100.0 * (a == b) for a, b in zip(values, labels, strict=True)]
                for name, values in answers.items()
            },
            "figures": {
                "model": self.place.student,
                "examples": metrics["examples"],
                "held_out": found["held_out"],
                **accuracy,
                "difference": found["differences"][0],
            },
        }

    def train(
        self, folder: Path, pixels: Pixels, before: Classifier, lesson: Any, epochs: float, *, lr_share: float = 1.0
    ) -> tuple[Classifier, dict[str, Any]]:
        """A phase in its folder."""
        return Phase(self.settings, self.images, pixels, folder).train(before, lesson, epochs, lr_share=lr_share)

    def open(self, folder: Path | None) -> Classifier:
        """The model that a phase left, else the student's own."""
        name = self.place.student if folder is None else str(folder)
        return open_classifier(name, self.place.classes, seed=self.config.seed, trust=self.config.trust_remote_code)

    def phase(self, turn: int, name: str) -> Path:
        """The folder of a round's training."""
        return self.folder / f"round-{turn + 1}-{name}"

    def file(self, turn: int, kind: str) -> Path:
        """What is exchanged in a round."""
        return exchanged(Path(str(self.config.out)), turn, self.place.name, kind)


def exchanged(out: Path, turn: int, name: str, kind: str) -> Path:
    """Where a client's logits or targets of a round are."""
    return out / "exchange" / f"{turn + 1}-{name}.{kind}.safetensors"


def save(file: Path, rows: Tensor) -> None:
    """Write one tensor, whole or not at all."""
    from safetensors.torch import save as serialise

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, serialise({"rows": rows.contiguous()}))


def load(file: Path) -> Tensor:
    """Read what `save` wrote."""
    from safetensors.torch import load_file

    found: Tensor = load_file(file)["rows"]
    return found


def answers_of(found: Sequence[dict[str, Any]], name: str) -> list[float]:
    """The scores of all clients' images in a row."""
    return [score for one in found for score in one["scores"][name]]
