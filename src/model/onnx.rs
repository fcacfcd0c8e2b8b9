//! Bundles as ONNX: weights and manifest → bytes, and bytes → manifest.
//!
//! Owns the shape of the graphs that this project writes. Never runs one and never judges one: `bundle.rs` does.
//!
//! ```text
//! forecast:    window [batch, rows, F] → Transpose → LSTM → … → LSTM → last hidden state → Squeeze → Gemm (→ Add newest row)
//!              → expected [batch, F]
//! reconstruct: window [batch, rows, F] → Transpose → LSTM → … → LSTM → last hidden state → Expand to all rows → LSTM → … → LSTM
//!              → MatMul → Add → Transpose → expected [batch, rows, F]
//! ```
//! ONNX Runtime's CPU kernel refuses batch-first LSTMs (`layout = 1`), hence the Transpose.

use anyhow::{Context, bail, ensure};
use prost::Message;
use serde::Deserialize;

use super::manifest::{FORMAT, Kind, METADATA_KEY, Manifest};
use crate::base::proto::onnx::attribute_proto::AttributeType;
use crate::base::proto::onnx::tensor_proto::DataType;
use crate::base::proto::onnx::tensor_shape_proto::{Dimension, dimension};
use crate::base::proto::onnx::type_proto::{Tensor, Value};
use crate::base::proto::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};

/// The version of the file format; the oldest that goes with [`OPSET`].
const IR_VERSION: i64 = 8;
/// The version of the operators.
const OPSET: i64 = 17;

/// One LSTM layer, H units over I inputs. Row-major; the four blocks of H rows are the gates in the order input, forget, cell,
/// output, as PyTorch has them.
#[derive(Debug, Clone, PartialEq)]
pub struct LstmLayer {
    /// `[4H × I]`; I is F for the first layer and the H before otherwise.
    pub w_ih: Vec<f32>,
    /// `[4H × H]`
    pub w_hh: Vec<f32>,
    /// `[4H]`
    pub b_ih: Vec<f32>,
    /// `[4H]`
    pub b_hh: Vec<f32>,
}

/// The weights of a forecaster, stacked LSTM layers and a linear head on the last hidden state; or of an autoencoder, where that state
/// is the input of every step of a decoder, and the head is on each of the decoder's states.
#[derive(Debug, Clone, PartialEq)]
pub struct LstmWeights {
    /// First to last.
    pub layers: Vec<LstmLayer>,
    /// Of an autoencoder, first to last; else none.
    pub decoder: Vec<LstmLayer>,
    /// `[F × H]`
    pub head_w: Vec<f32>,
    /// `[F]`
    pub head_b: Vec<f32>,
    /// Whether the head predicts the change: its output is added to the newest row of the input.
    pub predicts_change: bool,
}

/// First two axes of the graph's input; `None` leaves one open. Bundles leave both open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dims {
    /// Windows of a call.
    pub batch: Option<i64>,
    /// Rows of a window.
    pub rows: Option<i64>,
}

/// A bundle. The same weights and manifest give the same bytes.
///
/// # Errors
/// The weights' shapes disagree with each other or with the manifest.
pub fn write_bundle(weights: &LstmWeights, manifest: &Manifest) -> anyhow::Result<Vec<u8>> {
    let kind = if weights.decoder.is_empty() { Kind::Forecast } else { Kind::Reconstruct };
    ensure!(manifest.kind == kind, "the weights are of kind {kind:?} and the manifest says {:?}", manifest.kind);
    let (features, named) = (weights.head_b.len(), manifest.features.len());
    ensure!(features == named, "the weights have {features} features and the manifest {named}");
    write_graph(weights, manifest, Dims::default())
}

/// As [`write_bundle`], with `dims` declared and without a look at what the manifest says. Such a bundle may have to be refused:
/// tests write it.
///
/// # Errors
/// The weights' shapes disagree with each other.
pub fn write_graph(weights: &LstmWeights, manifest: &Manifest, dims: Dims) -> anyhow::Result<Vec<u8>> {
    let metadata = serde_json::to_string(manifest).context("cannot write the manifest as JSON")?;
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph(weights, dims)?),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: vec![StringStringEntryProto { key: METADATA_KEY.to_owned(), value: metadata }],
    };
    Ok(model.encode_to_vec())
}

/// The ONNX model in `graph`, which stays as it is, with `manifest` in its metadata.
///
/// # Errors
/// `graph` is no ONNX model, or has a manifest already.
pub fn with_manifest(graph: &[u8], manifest: &Manifest) -> anyhow::Result<Vec<u8>> {
    const NO_MODEL: &str = "not an ONNX model";
    let model = ModelProto::decode(graph).context(NO_MODEL)?;
    ensure!(model.graph.is_some(), NO_MODEL);
    let has_one = model.metadata_props.iter().any(|entry| entry.key == METADATA_KEY);
    ensure!(!has_one, "it is a bundle already: `model show` shows it");
    let value = serde_json::to_string(manifest).context("cannot write the manifest as JSON")?;
    let metadata = vec![StringStringEntryProto { key: METADATA_KEY.to_owned(), value }];
    // Protobuf messages one after the other are one message with the lists of both, so that nothing of the graph is lost that
    // this build does not know.
    Ok([graph, &ModelProto { metadata_props: metadata, ..ModelProto::default() }.encode_to_vec()].concat())
}

/// Reads what the bundle in `bytes` says about itself; the graph is not looked at.
///
/// # Errors
/// `bytes` are not an ONNX model, or one without a manifest that this build reads.
pub fn read_manifest(bytes: &[u8]) -> anyhow::Result<Manifest> {
    const NO_MODEL: &str = "not an ONNX model";
    let model = ModelProto::decode(bytes).context(NO_MODEL)?;
    ensure!(model.graph.is_some(), NO_MODEL);
    let Some(entry) = model.metadata_props.iter().find(|entry| entry.key == METADATA_KEY) else {
        bail!(
            "the ONNX model has no `{METADATA_KEY}` in its metadata: it is no bundle yet, `model import` makes it one"
        );
    };
    /// Read first: the rest of another format may look different.
    #[derive(Deserialize)]
    struct Versioned {
        format: u32,
    }
    let Versioned { format } = serde_json::from_str(&entry.value).context("cannot read the bundle's manifest")?;
    ensure!(format == FORMAT, "the bundle's manifest has format {format}, this build reads format {FORMAT}");
    serde_json::from_str(&entry.value).context("cannot read the bundle's manifest")
}

/// Nodes, weights, input and output; time-major inside.
fn graph(weights: &LstmWeights, dims: Dims) -> anyhow::Result<GraphProto> {
    let features = weights.head_b.len();
    ensure!(!weights.layers.is_empty() && features > 0, "cannot write a model without layers or features");
    let mut draft = Draft {
        initializer: Vec::new(),
        node: vec![attributed(op("Transpose", &["window"], &["sequence_0"]), vec![ints("perm", &[1, 0, 2])])],
    };
    let width = draft.layers(&weights.layers, 0, features, Wanted::Last)?;
    let output = if weights.decoder.is_empty() {
        ensure!(weights.head_w.len() == features * width, "the head has {} weights", weights.head_w.len());
        draft.forecast_head(weights, width);
        &["batch"][..]
    } else {
        let width = draft.decoder(weights, width)?;
        ensure!(weights.head_w.len() == features * width, "the head has {} weights", weights.head_w.len());
        ensure!(!weights.predicts_change, "an autoencoder predicts no change");
        draft.each_head(weights, width);
        &["batch", "rows"]
    };
    let open = |name: &str| match name {
        "batch" => dims.batch.map_or_else(|| named(name), sized),
        _ => dims.rows.map_or_else(|| named(name), sized),
    };
    let shape = |names: &[&str]| names.iter().map(|name| open(name)).chain([sized(features as i64)]).collect();
    Ok(GraphProto {
        node: draft.node,
        name: if weights.decoder.is_empty() { "forecast" } else { "reconstruct" }.to_owned(),
        initializer: draft.initializer,
        input: vec![value("window", shape(&["batch", "rows"]))],
        output: vec![value("expected", shape(output))],
    })
}

/// Which states of a stack of layers the next node reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// `last_hidden_<n>` `[1, batch, H]`, n the number of the last layer.
    Last,
    /// `sequence_<n + 1>` `[rows, batch, H]`.
    Each,
}

/// A graph on its way.
struct Draft {
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
}

impl Draft {
    /// Adds a tensor that several nodes may read, once.
    fn constant(&mut self, tensor: TensorProto) {
        if self.initializer.iter().all(|known| known.name != tensor.name) {
            self.initializer.push(tensor);
        }
    }

    /// Layers numbered from `first` on, over `sequence_<first>` of `width` columns; gives the width of their states.
    fn layers(
        &mut self,
        layers: &[LstmLayer],
        first: usize,
        mut width: usize,
        wanted: Wanted,
    ) -> anyhow::Result<usize> {
        for (n, layer) in (first..).zip(layers) {
            let hidden = checked_hidden(layer, width).with_context(|| format!("layer {n}"))?;
            let [w, r, b] = ["W", "R", "B"].map(|name| format!("{name}_{n}"));
            self.initializer.push(floats(&w, &[1, 4 * hidden, width], &in_onnx_order(&layer.w_ih)));
            self.initializer.push(floats(&r, &[1, 4 * hidden, hidden], &in_onnx_order(&layer.w_hh)));
            let biases = [in_onnx_order(&layer.b_ih), in_onnx_order(&layer.b_hh)].concat();
            self.initializer.push(floats(&b, &[1, 8 * hidden], &biases));
            let sequence = format!("sequence_{n}");
            let inputs = [&sequence, &w, &r, &b].map(String::as_str);
            // `Y` is every hidden state with an axis for the direction, `Y_h` the last one with the same.
            let (all, last) = (format!("hidden_{n}"), format!("last_hidden_{n}"));
            let is_last = n + 1 == first + layers.len() && wanted == Wanted::Last;
            let outputs = if is_last { vec!["", last.as_str()] } else { vec![all.as_str()] };
            self.node.push(attributed(op("LSTM", &inputs, &outputs), vec![int("hidden_size", hidden as i64)]));
            if !is_last {
                self.constant(indices("axis_1", &[1], 1));
                self.node.push(op("Squeeze", &[&all, "axis_1"], &[&format!("sequence_{}", n + 1)]));
            }
            width = hidden;
        }
        Ok(width)
    }

    /// The linear head on the last state, and the newest row where it predicts the change.
    fn forecast_head(&mut self, weights: &LstmWeights, width: usize) {
        let features = weights.head_b.len();
        let last = format!("last_hidden_{}", weights.layers.len() - 1);
        self.constant(indices("axis_0", &[1], 0));
        self.node.push(op("Squeeze", &[&last, "axis_0"], &["state"]));
        self.initializer.push(floats("head_w", &[features, width], &weights.head_w));
        self.initializer.push(floats("head_b", &[features], &weights.head_b));
        let output = if weights.predicts_change { "change" } else { "expected" };
        self.node.push(attributed(op("Gemm", &["state", "head_w", "head_b"], &[output]), vec![int("transB", 1)]));
        if weights.predicts_change {
            self.initializer.push(indices("newest", &[], -1));
            self.node.push(attributed(op("Gather", &["window", "newest"], &["newest_row"]), vec![int("axis", 1)]));
            self.node.push(op("Add", &["change", "newest_row"], &["expected"]));
        }
    }

    /// The encoder's last state as every step's input, and the decoder's layers over it.
    fn decoder(&mut self, weights: &LstmWeights, width: usize) -> anyhow::Result<usize> {
        let first = weights.layers.len();
        let last = format!("last_hidden_{}", first - 1);
        // `[rows, 1, 1]`: Expand broadcasts both ways.
        self.constant(indices("one", &[1], 1));
        self.constant(indices("axis_1", &[1], 1));
        self.node.push(op("Shape", &["window"], &["window_shape"]));
        self.node.push(attributed(op("Gather", &["window_shape", "axis_1"], &["n_rows"]), vec![int("axis", 0)]));
        self.node.push(attributed(op("Concat", &["n_rows", "one", "one"], &["repeated_shape"]), vec![int("axis", 0)]));
        self.node.push(op("Expand", &[&last, "repeated_shape"], &[&format!("sequence_{first}")]));
        self.layers(&weights.decoder, first, width, Wanted::Each)
    }

    /// The linear head on each of the decoder's states.
    fn each_head(&mut self, weights: &LstmWeights, width: usize) {
        let features = weights.head_b.len();
        let columns = (0..width).flat_map(|h| (0..features).map(move |f| f * width + h));
        let transposed: Vec<f32> = columns.map(|cell| weights.head_w[cell]).collect();
        self.initializer.push(floats("head_w", &[width, features], &transposed));
        self.initializer.push(floats("head_b", &[features], &weights.head_b));
        let states = format!("sequence_{}", weights.layers.len() + weights.decoder.len());
        self.node.push(op("MatMul", &[&states, "head_w"], &["weighed"]));
        self.node.push(op("Add", &["weighed", "head_b"], &["by_row"]));
        self.node.push(attributed(op("Transpose", &["by_row"], &["expected"]), vec![ints("perm", &[1, 0, 2])]));
    }
}

/// H of a layer over `width` inputs.
fn checked_hidden(layer: &LstmLayer, width: usize) -> anyhow::Result<usize> {
    let hidden = layer.b_ih.len() / 4;
    let sizes = [layer.w_ih.len(), layer.w_hh.len(), layer.b_ih.len(), layer.b_hh.len()];
    let expected = [4 * hidden * width, 4 * hidden * hidden, 4 * hidden, 4 * hidden];
    ensure!(hidden > 0 && sizes == expected, "sizes {sizes:?}, expected {expected:?} for {width} inputs");
    Ok(hidden)
}

/// The gates in ONNX's order, input, output, forget, cell; from input, forget, cell, output.
fn in_onnx_order(gates: &[f32]) -> Vec<f32> {
    let block = gates.len() / 4;
    [0, 3, 1, 2].into_iter().flat_map(|gate| &gates[gate * block..(gate + 1) * block]).copied().collect()
}

fn op(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let (input, output) = (names(inputs), names(outputs));
    let name = output.iter().find(|name| !name.is_empty()).map(|name| format!("{op_type}_{name}")).unwrap_or_default();
    NodeProto { input, output, name, op_type: op_type.to_owned(), attribute: Vec::new() }
}

fn attributed(node: NodeProto, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto { attribute, ..node }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i, r#type: AttributeType::Int.into(), ..Default::default() }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: values.to_vec(),
        r#type: AttributeType::Ints.into(),
        ..Default::default()
    }
}

fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        data_type: DataType::Float.into(),
        name: name.to_owned(),
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

fn indices(name: &str, dims: &[i64], index: i64) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: DataType::Int64.into(),
        name: name.to_owned(),
        raw_data: index.to_le_bytes().to_vec(),
    }
}

fn sized(size: i64) -> Dimension {
    Dimension { value: Some(dimension::Value::DimValue(size)) }
}

fn named(name: &str) -> Dimension {
    Dimension { value: Some(dimension::Value::DimParam(name.to_owned())) }
}

fn value(name: &str, dim: Vec<Dimension>) -> ValueInfoProto {
    let tensor = Tensor { elem_type: DataType::Float.into(), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { value: Some(Value::TensorType(tensor)) }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::manifest::ManifestFeature;

    fn manifest(features: usize) -> Manifest {
        let feature = |n| ManifestFeature { name: format!("f{n}"), expr: None, floor: 0.0 };
        Manifest::untrained("test", (0..features).map(feature).collect())
    }

    fn weights() -> LstmWeights {
        let layer = LstmLayer {
            w_ih: vec![0.5; 4 * 2 * 3],
            w_hh: vec![0.5; 4 * 2 * 2],
            b_ih: vec![0.0; 8],
            b_hh: vec![0.0; 8],
        };
        LstmWeights {
            layers: vec![layer],
            decoder: vec![],
            head_w: vec![1.0; 6],
            head_b: vec![0.0; 3],
            predicts_change: false,
        }
    }

    #[test]
    fn the_manifest_comes_back() {
        let bytes = write_bundle(&weights(), &manifest(3)).unwrap();
        assert_eq!(read_manifest(&bytes).unwrap(), manifest(3));
        assert_eq!(bytes, write_bundle(&weights(), &manifest(3)).unwrap());
    }

    #[test]
    fn a_manifest_is_added_once() {
        let mut model = ModelProto::decode(&*write_bundle(&weights(), &manifest(3)).unwrap()).unwrap();
        model.metadata_props.clear();
        let bare = model.encode_to_vec();
        let whole = with_manifest(&bare, &manifest(3)).unwrap();
        assert!(whole.starts_with(&bare));
        assert_eq!(read_manifest(&whole).unwrap(), manifest(3));
        assert!(with_manifest(&whole, &manifest(3)).unwrap_err().to_string().contains("a bundle already"));
        assert!(with_manifest(b"<html>", &manifest(3)).unwrap_err().to_string().contains("not an ONNX model"));
    }

    #[test]
    fn gates_change_places() {
        assert_eq!(in_onnx_order(&[1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]), [1.0, 1.5, 4.0, 4.5, 2.0, 2.5, 3.0, 3.5]);
    }

    #[test]
    fn shapes_that_disagree_are_refused() {
        let check = |weights: LstmWeights, features: usize, message: &str| {
            let error = format!("{:#}", write_bundle(&weights, &manifest(features)).unwrap_err());
            assert!(error.contains(message), "{error}");
        };
        check(weights(), 4, "the weights have 3 features and the manifest 4");
        check(LstmWeights { head_w: vec![1.0; 5], ..weights() }, 3, "the head has 5 weights");
        check(LstmWeights { layers: vec![], ..weights() }, 3, "without layers");
        let twice = [weights().layers, weights().layers].concat();
        check(LstmWeights { layers: twice, ..weights() }, 3, "layer 1: sizes [24, 16, 8, 8], expected [16, 16, 8, 8]");
    }

    #[test]
    fn what_is_no_bundle_is_refused() {
        let with_metadata = |key: &str, value: String| {
            let mut model = ModelProto::decode(&*write_bundle(&weights(), &manifest(3)).unwrap()).unwrap();
            model.metadata_props = vec![StringStringEntryProto { key: key.to_owned(), value }];
            model.encode_to_vec()
        };
        let check = |bytes: &[u8], message: &str| {
            let error = format!("{:#}", read_manifest(bytes).unwrap_err());
            assert!(error.contains(message), "{error}");
        };
        check(b"", "not an ONNX model");
        check(b"<html>not found</html>", "not an ONNX model");
        check(&with_metadata("other", String::new()), "no `outlierd` in its metadata");
        check(&with_metadata("outlierd", "{".to_owned()), "cannot read the bundle's manifest");
        check(
            &with_metadata("outlierd", r#"{"format":2,"shape":[]}"#.to_owned()),
            "has format 2, this build reads format 1",
        );
        check(&with_metadata("outlierd", r#"{"format":1,"colour":0}"#.to_owned()), "unknown field `colour`");
    }
}
