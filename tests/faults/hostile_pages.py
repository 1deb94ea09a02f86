"""Words that are HTML, in the page of a report."""

import json
import zlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from faults import forged
from faults.scene import EVIL, Attacks, Scene


class Page(HTMLParser):
    """The tags of a page, each with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag, tuple(sorted(name for name, _ in attrs))] += 1
        self.found["javascript", ()] += sum((value or "").lower().startswith("javascript:") for _, value in attrs)


def page_fault(path: Path) -> str:
    """What in a page comes from who gave the words, and not from who wrote the page."""
    tags = Page(path.read_text()).found
    banned = ("script", "img", "iframe", "object", "embed", "link", "base", "form", "foreignobject", "javascript")
    found = [tag for tag, attributes in tags if tag in banned and tags[tag, attributes]]
    found += [name for _, attributes in tags for name in attributes if name.startswith("on")]
    return f"the page has {found}" if found else "" if "{{7*7}}" in path.read_text() else "the words are not in it"


def pages(scene: Scene) -> Attacks:
    """Words that are HTML."""

    def manifest() -> str:
        def change(content: dict[str, Any]) -> None:
            for part in ("experiment", "resolved"):
                content[part]["data"]["source"] = f"npy:{EVIL}"
            content |= {"preset": EVIL, "init_from": {"run": EVIL, "step": 1, "state_sha256": EVIL}}
            content["versions"] |= {EVIL: EVIL}
            content["data"] |= {EVIL: {"shape": [EVIL], "dtype": EVIL, "sha256": EVIL}, "source": EVIL}

        scene.edit("experiment.json", change)
        return scene.said("report", "run", codes=(0,)) or page_fault(scene.run / "report.html")

    yield "experiment.json", manifest

    def summary() -> str:
        def change(content: dict[str, Any]) -> None:
            content["test"][EVIL] = 1.0
            content |= {"state_sha256": EVIL, "status": EVIL}
            content["best"] = {"step": 20, "value": 1.0, "monitor": EVIL}

        scene.edit("summary.json", change)
        lines = [
            {"step": step, "epoch": 1.0, "split": split, "loss": 1.0, EVIL: 2.0}
            for split in ("train", EVIL)
            for step in (1, 2)
        ]
        (scene.run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return scene.said("report", "run", codes=(0,)) or page_fault(scene.run / "report.html")

    yield "summary.json and metrics.jsonl", summary

    def directory() -> str:
        name = EVIL.replace("/", "∕")
        (scene.where / "given").mkdir()
        scene.run.rename(scene.where / "given" / name)
        told = scene.said("report", f"given/{name}", codes=(0,))
        return told or page_fault(scene.where / "given" / name / "report.html")

    yield "the name of the run directory", directory

    def source() -> str:
        name = EVIL.replace("/", "∕")
        values = np.random.default_rng(0).integers(0, 255, (200, 6, 6), np.uint8)
        scene.given(f"{name}.npy", forged.npy(values))
        more = ("--data.source", f"npy:given/{name}.npy", "--train.steps", 2, "--model.latent-dim", 2)
        told = scene.said("train", *more, "--run-dir", "given/new", codes=(0,))
        return told or page_fault(scene.where / "given/new/report.html")

    yield "the name of a data file", source

    def classes() -> str:
        name = EVIL.replace("/", "∕")
        for kind in range(3):
            for number in range(20):
                rows = zlib.compress(bytes([0, *[9 * kind + number] * 8] * 8))
                scene.given(f"{name}/{name}{kind}/{number}.png", forged.png(8, 8, rows))
        more = ("--data.source", f"images:given/{name}", "--train.steps", 2, "--model.latent-dim", 2)
        told = scene.said("train", *more, "--run-dir", "given/new", codes=(0,))
        return told or page_fault(scene.where / "given/new/report.html")

    yield "the names of classes", classes
