"""The twin of benches/training.rs in PyTorch, one thread: T=60, F=32, H=64, batches of 64, one LSTM layer.

    pip install torch numpy && python benches/training_twin.py [windows]

The same loss (mean squared error of every step from the fifth on), Adam with a cosine, clipping by norm. Windows are slices of a tensor,
without the variation that the Rust side draws: what is compared is the training alone, in favour of the twin.
"""

import math
import sys
import time

import torch

T, F, H, BATCH, UNJUDGED = 60, 32, 64, 64, 5
WINDOWS = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000


class Forecaster(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(F, H)
        self.head = torch.nn.Linear(H, F)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, rows):
        states, _ = self.lstm(rows)
        return rows + self.head(states)


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    row = torch.arange(2 * 1440, dtype=torch.float32).reshape(-1, 1, 1)
    host = torch.arange(10, dtype=torch.float32).reshape(1, -1, 1)
    data = torch.sin(row * (0.05 + 0.01 * torch.arange(F)) + host)
    model = Forecaster()
    steps = math.ceil(WINDOWS / BATCH)
    adam = torch.optim.Adam(model.parameters(), lr=2e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    started, cpu_started = time.perf_counter(), time.process_time()
    for _ in range(steps):
        starts = torch.randint(0, data.shape[0] - T, (BATCH,))
        hosts = torch.randint(0, data.shape[1], (BATCH,))
        windows = torch.stack([data[s : s + T, h] for s, h in zip(starts.tolist(), hosts.tolist())], dim=1)
        loss = (model(windows[:-1])[UNJUDGED:] - windows[1 + UNJUDGED :]).square().mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
        cosine.step()
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu_started
    n = steps * BATCH
    print(f"{n} windows of T={T} F={F} H={H} in {seconds:.1f} s ({cpu:.1f} s of CPU): {n / cpu:.0f} windows/s of CPU, one thread")


main()
