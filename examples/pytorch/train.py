"""Trains a small LSTM in PyTorch and exports it for outlierd.

    pip install torch onnx numpy
    outlierd features --input RECORDING --step 60s > history.csv     (or leave it out: then waves are learnt)
    python train.py model.onnx [history.csv]
    outlierd model import model.onnx --manifest manifest.yaml -o mine.onnx

The features are those of manifest.yaml, in its order. The service standardises; so must this, and it does it more simply: by mean and
deviation of each host's rows. `outlierd train` uses the service's own running statistics.
"""

import csv
import sys

import numpy
import torch

FEATURES = ["cpu_busy", "load1", "mem_used"]
WINDOW, HIDDEN, BATCH, STEPS = 60, 16, 32, 200
INPUT_CLIP, TARGET_CLIP = 5.0, 20.0


class Forecaster(torch.nn.Module):
    """`[batch, WINDOW - 1, F]` → `[batch, F]`: the newest row from the rows before it."""

    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(len(FEATURES), HIDDEN, num_layers=2, batch_first=True)
        self.head = torch.nn.Linear(HIDDEN, len(FEATURES))

    def forward(self, window):
        _, (state, _) = self.lstm(window)
        return window[:, -1] + self.head(state[-1])


def hosts(path):
    """Rows of each host, `[rows, F]`; NaN where missing."""
    by_host = {}
    with open(path, newline="") as file:
        for line in csv.DictReader(file):
            row = [float(line[name] or "nan") for name in FEATURES]
            by_host.setdefault(line["host"], []).append(row)
    return [numpy.array(rows, numpy.float32) for rows in by_host.values() if len(rows) > WINDOW]


def waves():
    """Four hosts of a day."""
    row, feature = numpy.arange(1440)[:, None], numpy.arange(len(FEATURES))[None]
    return [numpy.sin(row * (0.05 + 0.02 * feature) + host).astype(numpy.float32) for host in range(4)]


def standardised(rows):
    """Missing values are shown as 0, the mean."""
    spread = numpy.nanmax(rows, 0) - numpy.nanmin(rows, 0)
    deviation = numpy.sqrt(numpy.nanvar(rows, 0) + (0.05 * spread) ** 2) + 1e-12
    return numpy.nan_to_num((rows - numpy.nanmean(rows, 0)) / deviation)


def main():
    torch.manual_seed(1)
    random = numpy.random.default_rng(1)
    data = [standardised(rows) for rows in (hosts(sys.argv[2]) if len(sys.argv) > 2 else waves())]
    model = Forecaster()
    adam = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(STEPS):
        windows = []
        for _ in range(BATCH):
            rows = data[random.integers(len(data))]
            start = random.integers(len(rows) - WINDOW + 1)
            windows.append(rows[start : start + WINDOW])
        windows = torch.from_numpy(numpy.stack(windows).astype(numpy.float32))
        seen = windows[:, :-1].clamp(-INPUT_CLIP, INPUT_CLIP)
        wanted = windows[:, -1].clamp(-TARGET_CLIP, TARGET_CLIP)
        loss = (model(seen) - wanted).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}: loss {loss.item():.4f}")
    model.eval()
    torch.onnx.export(
        model,
        (torch.zeros(2, WINDOW - 1, len(FEATURES)),),
        sys.argv[1],
        input_names=["window"],
        output_names=["expected"],
        dynamic_axes={"window": {0: "batch"}, "expected": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


main()
