"""Bundles as others see them: the `onnx` checker, Python's ONNX Runtime, and the operators' reference implementation must agree.

    python scripts/check_onnx.py path/to/outlierd

Trains small bundles of every kind with the given binary, and takes the shipped one too. Needs onnx, onnxruntime and numpy.
"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnx.checker
import onnx.reference
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5


def history(path):
    """Two hosts of waves, as `outlierd features` prints rows."""
    with open(path, "w") as csv:
        csv.write("host,t_ms,cpu_busy,load1,mem_used\n")
        for row in range(300):
            for host in range(2):
                values = (math.sin(row * (0.2 + 0.1 * feature) + host) for feature in range(3))
                csv.write(f"h{host},{row * 60_000},{','.join(map(str, values))}\n")


def trained(outlierd, folder):
    """Bundles of one, two and three layers, forecast and reconstruct."""
    history(folder / "history.csv")
    for kind in ("forecast", "reconstruct"):
        for layers in ("1", "2", "3"):
            path = folder / f"{kind}-{layers}.onnx"
            command = [outlierd, "train", "--from", folder / "history.csv", "-o", path, "--type", kind, "--layers", layers]
            subprocess.run(command + ["--window", "20", "--hidden", "8", "--steps", "20"], check=True, capture_output=True)
            yield path


def check(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    manifest = json.loads({entry.key: entry.value for entry in model.metadata_props}["outlierd"])
    rows = manifest["window"] - (manifest["kind"] == "forecast")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    reference = onnx.reference.ReferenceEvaluator(model)
    random = numpy.random.default_rng(1)
    for batch in (1, 5):
        window = random.normal(0, 2, (batch, rows, len(manifest["features"]))).astype(numpy.float32)
        (expected,) = session.run(["expected"], {"window": window})
        (by_definition,) = reference.run(["expected"], {"window": window})
        assert expected.shape == by_definition.shape, (path, expected.shape, by_definition.shape)
        apart = float(numpy.abs(expected - by_definition).max())
        assert apart < TOLERANCE, f"{path}: ONNX Runtime and the reference differ by {apart}"
    print(f"{path.name}: ok, {manifest['kind']}, {len(manifest['features'])} features")


def main():
    with tempfile.TemporaryDirectory() as folder:
        for path in trained(sys.argv[1], pathlib.Path(folder)):
            check(path)
    check(ROOT / "models" / "node-exporter.onnx")


main()
