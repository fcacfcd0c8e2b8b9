"""Trains a small LSTM in Keras and exports it for outlierd.

    pip install tensorflow tf2onnx        (or tensorflow-cpu, which is smaller)
    python train.py model.onnx
    outlierd model import model.onnx --manifest manifest.yaml -o mine.onnx

It learns waves; examples/pytorch/train.py shows how rows of `outlierd features` are read.
"""

import sys

import numpy
import tensorflow as tf
import tf2onnx

FEATURES, WINDOW, HIDDEN = 3, 60, 16


def windows():
    """Standardised windows of four hosts of a day: `[n, WINDOW, F]`."""
    row, feature = numpy.arange(1440)[:, None], numpy.arange(FEATURES)[None]
    hosts = [numpy.sin(row * (0.05 + 0.02 * feature) + host).astype(numpy.float32) * 2**0.5 for host in range(4)]
    return numpy.stack([rows[start : start + WINDOW] for rows in hosts for start in range(0, 1440 - WINDOW, 7)])


def main():
    tf.keras.utils.set_random_seed(1)
    window = tf.keras.Input((WINDOW - 1, FEATURES), name="window")
    state = tf.keras.layers.LSTM(HIDDEN)(window)
    change = tf.keras.layers.Dense(FEATURES)(state)
    expected = tf.keras.layers.Add(name="expected")([change, window[:, -1]])
    model = tf.keras.Model(window, expected)
    model.compile(tf.keras.optimizers.Adam(5e-3), "mse")
    data = windows().clip(-5, 5)
    model.fit(data[:, :-1], data[:, -1], batch_size=32, epochs=5, verbose=2)
    signature = [tf.TensorSpec((None, WINDOW - 1, FEATURES), tf.float32, name="window")]
    function = tf.function(lambda window: {"expected": model(window)}, input_signature=signature)
    tf2onnx.convert.from_function(function, input_signature=signature, opset=17, output_path=sys.argv[1])


main()
