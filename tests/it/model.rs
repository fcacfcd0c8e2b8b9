//! `outlierd model`: what is shown of a bundle, and what becomes of a model trained elsewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use outlierd::base::proto::onnx::ModelProto;
use outlierd::model::bundle::Bundle;
use outlierd::model::onnx::{Dims, LstmWeights, write_graph};
use prost::Message;

use crate::onnx::{manifest, random_weights};

const MANIFEST: &str = "name: mine\ntype: forecast\nstep: 30s\nwindow: 12\nfeatures: [a, b, {name: c, floor: 0.5}]\n";

/// Exit status, stdout and stderr of `outlierd model` with `arguments`.
fn model(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_outlierd")).arg("model").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A graph as it comes from elsewhere: without our metadata.
fn foreign(folder: &Path, weights: &LstmWeights, dims: Dims) -> PathBuf {
    let bundle = write_graph(weights, &manifest(weights.head_b.len()), dims).unwrap();
    let mut model = ModelProto::decode(&*bundle).unwrap();
    model.metadata_props.clear();
    let path = folder.join("foreign.onnx");
    fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// Imports `graph` with the manifest `yaml`: exit status, stdout, stderr.
fn import(folder: &Path, graph: &Path, yaml: &str) -> (Option<i32>, String, String) {
    let (manifest, out) = (folder.join("m.yaml"), folder.join("out.onnx"));
    fs::write(&manifest, yaml).unwrap();
    let [graph, manifest, out] = [graph, &manifest, &out].map(|path| path.to_str().unwrap());
    model(&["import", graph, "--manifest", manifest, "-o", out])
}

#[test]
fn a_foreign_model_becomes_a_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let graph = foreign(folder.path(), &random_weights(3, &[5, 4], false), Dims { batch: None, rows: Some(11) });
    let (code, shown, log) = import(folder.path(), &graph, MANIFEST);
    assert_eq!(code, Some(0), "{log}");
    assert!(
        shown.contains("name            mine\n") && shown.contains("window          12 rows, one per 30s\n"),
        "{shown}"
    );
    let out = folder.path().join("out.onnx");
    let bundle = Bundle::load(&out).unwrap();
    assert_eq!(bundle.manifest.features[2].floor, 0.5);
    let (code, text, _) = model(&["show", out.to_str().unwrap()]);
    assert!(code == Some(0) && shown.starts_with(&text), "{text}");
    let (_, json, _) = model(&["show", out.to_str().unwrap(), "--format", "json"]);
    assert_eq!(serde_json::from_str::<outlierd::model::manifest::Manifest>(&json).unwrap(), bundle.manifest);
}

#[test]
fn what_does_not_fit_is_refused_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let check = |weights: LstmWeights, dims: Dims, yaml: &str, expected: &str| {
        let graph = foreign(folder.path(), &weights, dims);
        let (code, _, log) = import(folder.path(), &graph, yaml);
        assert!(code == Some(1) && log.contains(expected), "{log}");
        assert!(!folder.path().join("out.onnx").exists());
    };
    let open = Dims::default();
    let good = || random_weights(3, &[4], false);
    check(good(), open, "name: mine\n", "`features` are needed");
    check(good(), open, &MANIFEST.replace("[a, b,", "[a, b, d,"), "[batch, 11, 4] is needed");
    check(good(), Dims { batch: None, rows: Some(20) }, MANIFEST, "[batch, 11, 3] is needed");
    check(good(), Dims { batch: Some(1), rows: None }, MANIFEST, "the first of any size");
    check(good(), open, &MANIFEST.replace("forecast", "reconstruct"), "its output `expected` has the shape");
    check(LstmWeights { head_b: vec![f32::NAN; 3], ..good() }, open, MANIFEST, "which is no number");
    let text = folder.path().join("text.onnx");
    fs::write(&text, "no model").unwrap();
    let (code, _, log) = import(folder.path(), &text, MANIFEST);
    assert!(code == Some(1) && log.contains("not an ONNX model"), "{log}");
}

#[test]
fn the_built_in_bundle_is_shown_without_a_file() {
    let (code, text, _) = model(&["show"]);
    assert!(code == Some(0) && text.starts_with("name            node-exporter\n"), "{text}");
    let (code, _, log) = model(&["show", "/nowhere.onnx"]);
    assert!(code == Some(1) && log.contains("/nowhere.onnx"), "{log}");
}
