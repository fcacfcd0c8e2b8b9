"""A model that was trained elsewhere, as plain ONNX: "each feature stays near the mean of the window".

    pip install onnx numpy
    python make.py model.onnx
    outlierd model import model.onnx --manifest manifest.yaml -o mine.onnx

No LSTM at all: whatever has the input `window` and the output `expected` will do. docs/models.md has the contract.
"""

import sys

import onnx
from onnx import TensorProto, helper

FEATURES = 3

window = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["batch", "rows", FEATURES])
expected = helper.make_tensor_value_info("expected", TensorProto.FLOAT, ["batch", FEATURES])
mean = helper.make_node("ReduceMean", ["window"], ["expected"], axes=[1], keepdims=0)
graph = helper.make_graph([mean], "mean", [window], [expected])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.checker.check_model(model, full_check=True)
onnx.save(model, sys.argv[1])
