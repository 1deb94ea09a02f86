"""JSON that is nested without end, or holds values of the wrong kind."""

import json

from faults.scene import Attacks, Scene


def deep(scene: Scene) -> Attacks:
    """Objects in objects in objects, and values of the wrong kind."""
    levels = scene.chance.choice((900, 5_000, 1_000_000))
    nested = '{"a":' * levels + "1" + "}" * levels
    for name, codes in (("experiment.json", (2,)), ("summary.json", (0, 2)), ("metrics.jsonl", (0,))):

        def replaced(name: str = name, codes: tuple[int, ...] = codes) -> str:
            (scene.run / name).write_text(nested + "\n")
            told = scene.said("evaluate", "run", codes=codes)
            return told or scene.said("report", "run", codes=codes)

        yield f"{name} of {levels:,} levels", replaced

    def inside() -> str:
        text = (scene.run / "experiment.json").read_text()
        content = json.loads(text)
        content.pop("sha256")
        content["resolved"]["model"]["backbone"] = "HERE"
        (scene.run / "experiment.json").write_text(json.dumps(content).replace('"HERE"', nested))
        return scene.said("evaluate", "run", codes=(2,)) or scene.said("verify", "run", codes=(0, 4))

    yield f"a backbone of {levels:,} levels", inside

    def sealed() -> str:
        for step in (scene.run / "checkpoints").iterdir():
            (step / "seal.json").write_text(nested)
        return scene.said("verify", "run", codes=(4,)) or scene.said("evaluate", "run", codes=(4,))

    yield f"seals of {levels:,} levels", sealed
    odd = scene.chance.choice(("text", None, -1, 10**30, [1, "a"], {"a": {}}, float("inf"), True))
    field = scene.chance.choice(("preset", "data", "inputs", "init_from", "versions", "random", "created"))

    def made_up() -> str:
        scene.edit("experiment.json", lambda content: content.update({field: odd}))
        return scene.said("evaluate", "run", codes=(0, 2)) or scene.said("report", "run", codes=(0, 2))

    yield f"{field}={odd!r} in experiment.json", made_up
    name = scene.chance.choice(("step", "status", "seconds", "parameters", "best", "pca", "test", "state_sha256"))

    def summary() -> str:
        scene.edit("summary.json", lambda content: content.update({name: odd}))
        return scene.said("report", "run", codes=(0, 2))

    yield f"{name}={odd!r} in summary.json", summary

    def metrics() -> str:
        lines = [
            {"step": step, "epoch": odd, "split": split, "loss": odd} for step in (1, 20) for split in ("train", 1)
        ]
        (scene.run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"step": 20}]))
        (scene.run / "summary.json").unlink()
        return scene.said("report", "run", codes=(0, 2))

    yield f"{odd!r} in metrics.jsonl", metrics
