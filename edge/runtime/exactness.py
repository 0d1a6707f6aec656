"""Does this machine keep the promise of exact steps? Asked of the engine itself, not believed of the kernels.

Seen on AVX512-VNNI with onnxruntime 1.31: with two rows and more, every cut of a text gives the same bits, for fp32,
int8 and int4 weights. Another processor has other kernels; a device test can ask in a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.runtime.engine import ExactEngine

CUTS = (1, 2, 3, 4, 5, 8, 11)


def largest_difference(engine: ExactEngine, token_ids: Sequence[int], cuts: Sequence[int] = CUTS) -> float:
    """The largest difference of any logit between `token_ids` read at once and read in pieces of each of `cuts`.

    0.0 means: equal bit for bit, so drafts and jump-forward change no answer here. The tokens are read after what the
    engine holds, and forgotten again; 32 of them are enough. Errors: InputError when they do not fit.
    """
    start, count = engine.length, len(token_ids)
    whole = engine.forward_exact(token_ids, range(count))
    largest = 0.0
    for cut in cuts:
        engine.rewind(start)
        for at in range(0, count, cut):
            part = token_ids[at : at + cut]
            rows = engine.forward_exact(part, range(len(part)))
            if not np.array_equal(rows, whole[at : at + len(part)]):
                largest = max(largest, float(np.abs(rows - whole[at : at + len(part)]).max()))
    engine.rewind(start)
    return largest
