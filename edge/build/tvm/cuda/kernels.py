"""The GPU's kernels as a set that the decoder's program is made of."""

from __future__ import annotations

from functools import partial

from edge.build.tvm.cuda.attention import attend, rotate
from edge.build.tvm.cuda.grid import Form
from edge.build.tvm.cuda.products import embedding, product
from edge.build.tvm.cuda.rows import gate, norm, rounded
from edge.build.tvm.decoder import KernelSet


def grid_kernels(form: Form = "threads") -> KernelSet:
    """For a GPU, or (forwards, backwards) the same computation as loops for a CPU."""
    return KernelSet(*(partial(one, form=form) for one in (embedding, product, norm, rounded, gate, rotate, attend)))
