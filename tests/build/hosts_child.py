"""Prints digests of everything that must not depend on the host; run by test_hosts.py in changed surroundings."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from edge.build import exact
from edge.build.calibrate import RoundedStore, calibrate, stored_layer
from edge.build.export import export_native, uniform_formats
from edge.build.golden import make_golden
from edge.build.gptq import Hessian, inverse_factor, quantise_gptq
from edge.build.graph import ExportPlan, matrix_name
from edge.build.mixed import choose
from edge.build.quantise import QuantFormat, QuantisedRows
from edge.build.readback import BuiltModel
from edge.build.reference import Reference
from edge.files import sha256_file
from tests.build.test_lora import lora
from tests.tiny import CONFIGS, export, tiny_ids, tiny_source


def digest(*arrays: np.ndarray) -> str:
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


def main() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((70, 600)), rng.standard_normal((50, 600)) * 10.0 ** rng.integers(-3, 4, (50, 1))
    angles = rng.random(20000) * 4096
    low, high = QuantFormat(4, 32, False), QuantFormat(8, 32, True)
    inputs = rng.standard_normal((300, 20)) @ rng.standard_normal((20, 200)) + 0.1 * rng.standard_normal((300, 200))
    hessian = Hessian(200)
    hessian.add(inputs)
    rounded = quantise_gptq(rng.standard_normal((30, 200)).astype(np.float32), hessian, low)
    found = {
        # Not a law but a check of the test: an ordinary product does depend on the surroundings.
        "plain product": digest(left @ right.T),
        "product": digest(exact.matmul(left, right), exact.precise_matmul(left, right)),
        "functions": digest(exact.exp(left * 30), *exact.sin_cos(angles), exact.exact_sum(left)),
        "factor": digest(inverse_factor(hessian.damped())),
        "gptq": digest(rounded.codes, rounded.scales),
    }
    source = tiny_source(CONFIGS["llama3-rope"])
    sequences = [tiny_ids(50, source.config, seed) for seed in range(3)]
    with tempfile.TemporaryDirectory() as place:
        store = RoundedStore(Path(place))
        costs = calibrate(source, sequences, [low, high], store, gptq=True)
        found["rounding"] = digest(
            *(
                getattr(store.load(f"layers.{layer}.{matrix}", low), part)
                for layer in range(2)
                for matrix in ("qkv", "o", "gate_up", "down")
                for part in ("codes", "scales", "zero_points")
            )
        )
        found["costs"] = repr(costs)
        reference = Reference(source, sequences)

        def measure(raised: frozenset[int]) -> float:
            hidden = reference.run(
                lambda layer: stored_layer(source, store, lambda name: high if int(name[7]) in raised else low, layer)
            )
            return float(exact.exact_sum(np.abs(reference.logits(hidden)).reshape(-1)))

        raised = choose(costs, 1.0, measure).int8_layers
        found["logits"] = digest(reference.logits(reference.run())) + str(measure(frozenset({1})))
        folder = Path(place) / "model"
        folder.mkdir()
        formats = uniform_formats(source.config, low) | dict.fromkeys(
            (f"layers.{layer}.{matrix}" for layer in raised for matrix in ("qkv", "o", "gate_up", "down")), high
        )

        def rounded_matrix(layer: int, matrix: str) -> QuantisedRows:
            name = matrix_name(layer, matrix)
            return store.load(name, formats[name] or low)

        export_native(source, ExportPlan(formats, high, 128), folder, rounded=rounded_matrix)
        found |= {name: sha256_file(folder / name) for name in ("model.onnx", "model.weights")}
        with BuiltModel(folder, source.config) as built:
            golden = make_golden(source, built, [("a", sequences[0], 30), ("b", sequences[1], 10)])
        beside = lora(CONFIGS["llama3-rope"])
        folder = export(Path(place) / "beside", beside.base, low, head=high, adapter=beside)
        found |= {f"beside {path.name}": sha256_file(path) for path in sorted(folder.iterdir())}
        with BuiltModel(folder, beside.config) as built:
            found["beside, read back"] = digest(*(built.matrix_of(1, matrix) for matrix in ("qkv", "gate_up")))
        found["golden"] = hashlib.sha256(b"".join(golden[name] for name in sorted(golden))).hexdigest()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
