"""What went wrong in code of the user's: where, and what mends it."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from aeflax.errors import AeflaxError, reason

HERE = Path(__file__).parent
HELPERS = {
    str(HERE / name) for name in ("config/structure.py", "noise.py", "own_parts.py")
}  # what they raise is their caller's mistake
MENDS = {
    "KeyError": "`values` holds the floats of the part by name; whole numbers, words and tuples are read from `part`; "
    "a field has an annotation, as in `weight: float = 0.1`",
    "TracerBoolConversionError": "what is computed decides nothing in Python; use jnp.where",
    "ConcretizationTypeError": "what is computed is no number of Python's: use jax.numpy, and for a size an int field",
    "TracerArrayConversionError": "compute with jax.numpy in place of NumPy",
    "ScopeCollectionNotFound": "a module has parameters alone; take LayerNorm or GroupNorm in place of BatchNorm",
    "InvalidRngError": "a module draws nothing; take a corruption in place of Dropout",
}
TOLD = {  # by what is said, whatever its kind
    "got an unexpected keyword argument": "a field has an annotation, its class @dataclass(frozen=True, kw_only=True)",
    "_DimExpr": "an exported batch has any size; write x.shape[0] in place of len(x)",
    "key type <class 'NoneType'>": "in inference there are no keys: draw only where context.keys is not None",
    "'Outputs' and": "what the decoder gives is outputs.logits",
    "'Outputs' object has no attribute": "the code is outputs.latent.code, what the decoder gives outputs.logits",
    "'Latent' object has no attribute": "its array is `code`; of a posterior also `mean`, `log_var` and `drawn`",
    "'NoneType' object is not callable": "in inference there is no context.mean: average only where it is not None",
}

ran: set[str] = set()  # files of the user's


def explained(error: BaseException) -> str | None:
    """An error that came from a file of the user's, also by way of a library, as a sentence; None for any other."""
    frames = traceback.extract_tb(error.__traceback__)
    names = [frame.filename for frame in frames if frame.filename not in HELPERS]
    last = next((name for name in reversed(names) if name in ran or name.startswith(str(HERE))), "")
    if last not in ran:
        return None
    said, kind = reason(error), type(error).__name__
    return f"{place(error, last)} fails: {kind}: {said}; {_mend(error) or 'mend it'}"


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Adds the mend to what goes wrong within it, where it is one that users make: a note below the traceback."""
    try:
        yield
    except AeflaxError:
        raise
    except Exception as error:
        if mend := _mend(error):
            error.add_note(f"aeflax: {mend}")
        raise


def _mend(error: BaseException) -> str | None:
    said = reason(error)
    return next((mend for words, mend in TOLD.items() if words in said), MENDS.get(type(error).__name__))


def place(error: BaseException, name: str) -> str:
    """The last line of a file that an error passed through."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == name]
    if isinstance(error, SyntaxError) and error.filename == name:
        lines.append(error.lineno)
    return f"{name}:{lines[-1]}" if lines else name
