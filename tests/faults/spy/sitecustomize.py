"""Lets a process of the installed command say what it is doing: one word a line, in the file that FAULTS_PHASES names.

Python imports it at its start where this folder is on PYTHONPATH. It changes nothing that the command does.
"""

import functools
import importlib.util
import os
import signal
import sys

PLACE = os.environ.get("FAULTS_PHASES")
# module -> class or None, function, what it does
WATCHED = {
    "aeflax.cli.stopping": [("Stop", "__init__", "hearing")],
    "aeflax.rundir.checkpoint": [("Checkpoints", "restore", "restoring"), ("Checkpoints", "save", "saving")],
    "aeflax.training.trainer": [
        ("Trainer", "_begin", "compiling"),
        ("Trainer", "_advance", "computing"),
        (None, "evaluate", "evaluating"),
    ],
    "aeflax.report.page": [(None, "write", "reporting")],
}


def tell(phase):
    with open(PLACE, "a") as file:
        file.write(phase + "\n")


def watched(function, phase):
    @functools.wraps(function)
    def call(*arguments, **named):
        tell(phase)
        try:
            return function(*arguments, **named)
        finally:
            if phase not in ("saving", "hearing"):  # which go on behind the back of what comes next
                tell("between")

    return call


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in WATCHED:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            for owner, function, phase in WATCHED[name]:
                place = module if owner is None else getattr(module, owner)
                setattr(place, function, watched(getattr(place, function), phase))

        spec.loader.exec_module = exec_module
        return spec


if PLACE:
    # Where the tests run in the background of a shell, or under nohup, these are ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    tell("importing")
    sys.meta_path.insert(0, Finder())
