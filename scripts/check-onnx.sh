#!/usr/bin/env bash
# Bundles as Python sees them, and the example of a model from elsewhere. Needs python3 with venv, and the package index once: about
# 15 seconds. PyTorch takes over five minutes and 5 GB from there, so examples/pytorch is run by hand.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.outlierd/onnx-check
outlierd=target/debug/outlierd
export ORT_DYLIB_PATH=${ORT_DYLIB_PATH:-$PWD/.outlierd/onnxruntime/libonnxruntime.so}

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
[ -x "$outlierd" ] || cargo build --locked
"$venv/bin/python" scripts/check_onnx.py "$outlierd"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$venv/bin/python" examples/onnx/make.py "$folder/model.onnx"
"$outlierd" model import "$folder/model.onnx" --manifest examples/onnx/manifest.yaml -o "$folder/mine.onnx"
"$outlierd" model show "$folder/mine.onnx" | grep -qx 'name            mean-of-the-window'
