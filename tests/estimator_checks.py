"""Runs scikit-learn's own checks on one estimator and prints how they went; a process of its own for its environment.

SCIPY_ARRAY_API must be set before SciPy is imported, and would change what other tests import.
"""

import collections
import json
import os
import sys

os.environ["SCIPY_ARRAY_API"] = "1"

from sklearn.utils.estimator_checks import check_estimator

from aeflax import estimator


def main(name: str, arguments: str) -> int:
    results = check_estimator(getattr(estimator, name)(**json.loads(arguments)), on_skip=None, on_fail=None)
    for result in results:
        if result["status"] != "passed":
            sys.stderr.write(f"{result['check_name']}: {result['status']}: {result['exception']!r}\n")
    found = collections.Counter(result["status"] for result in results)
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
