"""Names and links that lead out of the run directory."""

import json
import os
import shutil
from typing import Any

import numpy as np
from faults import forged
from faults.scene import EVIL, STEPS, Attacks, Scene


def paths(scene: Scene) -> Attacks:
    """Names and fields that point out of the run directory."""
    values = forged.npy(np.zeros((40, 8), np.uint8))
    for name in ("../outside/precious.npy", "/../../outside/precious.npy"):
        archive = scene.given("a.npz", forged.npz({name: values}))
        yield f"the member {name}", lambda archive=archive: scene.train(f"npz:{archive}", codes=(0, 5))

    def of_a_run() -> str:
        members = dict.fromkeys(("../../outside/x.npy", "values.npy", "index.npy"), values)
        (scene.run / "examples.npz").write_bytes(forged.npz(members))
        return scene.said("report", "run", codes=(0, 5))

    yield "members of examples.npz", of_a_run

    def sealed() -> str:
        for step in (scene.run / "checkpoints").iterdir():
            files = {"../../../outside/precious": "0" * 64, str(scene.outside / "precious"): "1" * 64}
            (step / "seal.json").write_text(json.dumps({"files": files}))
        return scene.said("verify", "run", codes=(4,)) or scene.said("evaluate", "run", codes=(4,))

    yield "names in seals", sealed
    for source in ("npy:../outside/precious", "csv:/proc/self/mem", "idx:../outside", "tfds:../outside/precious"):

        def elsewhere(source: str = source) -> str:
            def change(content: dict[str, Any]) -> None:
                for part in ("experiment", "resolved"):
                    content[part]["data"]["source"] = source

            scene.edit("experiment.json", change)
            return scene.said("evaluate", "run", codes=(2, 5))

        yield f"data.source={source}", elsewhere

    def begun() -> str:
        origin = {"run": "../../outside", "step": 1, "state_sha256": EVIL}
        scene.edit("experiment.json", lambda content: content.update(init_from=origin))
        return scene.said("report", "run", codes=(0, 2)) or scene.resume((2,))

    yield "init_from", begun


def links(scene: Scene) -> Attacks:
    """Parts of a run directory that are links to what lies outside."""
    single = ("experiment.json", "metrics.jsonl", "digests.jsonl", "summary.json", "run.lock", "report.html")
    for name in (*single, "examples.npz"):

        def file(name: str = name) -> str:
            if (scene.run / name).exists() and name != "run.lock":
                shutil.copy(scene.run / name, scene.outside / "precious")
            (scene.run / name).unlink(missing_ok=True)
            (scene.run / name).symlink_to(scene.outside / "precious")
            return scene.resume() or scene.said("report", "run", codes=(0, 2, 5))

        yield f"{name} is a link", file
    for name in ("checkpoints", "damaged", "figures"):

        def folder(name: str = name) -> str:
            if (scene.run / name).exists():
                shutil.copytree(scene.run / name, scene.outside / "folder", dirs_exist_ok=True)
                shutil.rmtree(scene.run / name)
            (scene.run / name).symlink_to(scene.outside / "folder")
            if name == "damaged":
                seal = next((scene.run / "checkpoints" / str(STEPS)).glob("seal.json"))
                seal.write_text("{}")
            return scene.resume() or scene.said("report", "run", codes=(0, 2, 4, 5))

        yield f"{name} is a link", folder

    def step() -> str:
        place = scene.run / "checkpoints" / str(STEPS)
        shutil.copytree(place, scene.outside / "folder", dirs_exist_ok=True)
        shutil.rmtree(place)
        place.symlink_to(scene.outside / "folder")
        told = scene.said("evaluate", "run", codes=(0, 2, 4)) or scene.said("verify", "run", codes=(0, 4))
        return told or scene.resume()

    yield "a checkpoint is a link", step

    def inner() -> str:
        place = scene.run / "checkpoints" / str(STEPS)
        path = scene.chance.choice(sorted(path for path in place.rglob("*") if path.is_file()))
        shutil.copy(path, scene.outside / "precious")
        path.unlink()
        path.symlink_to(scene.outside / "precious")
        told = scene.said("evaluate", "run", codes=(0, 2, 4)) or scene.said("verify", "run", codes=(0, 4))
        return told or scene.resume()

    yield "a file of a checkpoint is a link", inner

    def temporary() -> str:
        (scene.run / "checkpoints" / "30.orbax-checkpoint-tmp-7").symlink_to(scene.outside / "folder")
        return scene.resume()

    yield "an unfinished checkpoint is a link", temporary
    pipe = scene.where / "given" / "pipe.csv"
    pipe.parent.mkdir(exist_ok=True)
    os.mkfifo(pipe)
    yield "data are a pipe", lambda: scene.train(f"csv:{pipe}")
