//! Bundles that cannot be used: refused at the start, in words that say why.

use std::net::Ipv4Addr;

use outlierd::base::proto::onnx::ModelProto;
use outlierd::model::manifest::Kind;
use outlierd::model::onnx::{Dims, write_graph};
use outlierd::serve::service::Service;
use prost::Message;
use tokio::net::TcpListener;

use super::node::{CONFIG, FEATURES};
use super::{bundle, setup, small_weights};
use crate::onnx::manifest;

/// The good bundle with another graph or other metadata.
fn changed(change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(bundle(&FEATURES).as_slice()).unwrap();
    change(&mut model);
    model.encode_to_vec()
}

/// The good bundle with another number of features in its graph, other dimensions or another kind in its manifest.
fn written(n_features: usize, dims: Dims, kind: Kind) -> Vec<u8> {
    let mut manifest = manifest(FEATURES.len());
    for (feature, name) in manifest.features.iter_mut().zip(FEATURES) {
        name.clone_into(&mut feature.name);
    }
    manifest.kind = kind;
    write_graph(&small_weights(n_features), &manifest, dims).unwrap()
}

/// What starting with this bundle says, with `BUNDLE` for its path.
async fn start(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.onnx");
    std::fs::write(&path, bytes).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let started = setup(CONFIG, &path).and_then(|setup| Service::start(&setup, listener, None));
    let said = match started {
        Ok(service) => service.stop().await.map(|()| "started".to_owned()).unwrap(),
        Err(error) => format!("{error:#}"),
    };
    said.replace(&path.display().to_string(), "BUNDLE")
}

#[tokio::test]
async fn bundles_that_cannot_be_used() {
    let check = async |bytes: Vec<u8>, expected: &str| assert_eq!(start(&bytes).await, expected);
    let open = Dims::default();
    let shape = "cannot use BUNDLE: its input `window` has the shape";
    check(bundle(&FEATURES), "started").await;
    check(written(8, Dims { batch: None, rows: Some(9) }, Kind::Forecast), "started").await;
    check(
        written(5, open, Kind::Forecast),
        &format!("{shape} [-1, -1, 5]: [batch, 9, 8] is needed, the first of any size"),
    )
    .await;
    check(
        written(8, Dims { batch: None, rows: Some(59) }, Kind::Forecast),
        &format!("{shape} [-1, 59, 8]: [batch, 9, 8] is needed, the first of any size"),
    )
    .await;
    check(
        written(8, open, Kind::Reconstruct),
        "cannot use BUNDLE: its output `expected` has the shape [-1, 8]: [batch, 10, 8] is needed, the first of any size",
    )
    .await;
    let no_manifest = "cannot use BUNDLE: the ONNX model has no `outlierd` in its metadata: it is no bundle yet";
    assert!(start(&changed(|model| model.metadata_props.clear())).await.starts_with(no_manifest));
    let input_renamed = |model: &mut ModelProto| {
        let graph = model.graph.as_mut().unwrap();
        "x".clone_into(&mut graph.input[0].name);
        "x".clone_into(&mut graph.node[0].input[0]);
    };
    let one = "exactly one, named `window`, is needed";
    check(changed(input_renamed), &format!("cannot use BUNDLE: its graph has the inputs [\"x\"]: {one}")).await;
    let not_configured = [&FEATURES[..], &["temperature", "fan"]].concat();
    check(
        bundle(&not_configured),
        "BUNDLE scores features that are neither configured nor in the preset: temperature, fan; add them to `features`",
    )
    .await;
    check(b"{}".to_vec(), "cannot use BUNDLE: not an ONNX model: failed to decode Protobuf message: buffer underflow")
        .await;
    let absent = setup(CONFIG, std::path::Path::new("no/such.onnx")).unwrap_err();
    assert_eq!(format!("{absent:#}"), "cannot read the bundle no/such.onnx: No such file or directory (os error 2)");
}

#[tokio::test]
async fn a_graph_that_onnx_runtime_cannot_run_is_refused() {
    let unknown = changed(|model| "Prophecy".clone_into(&mut model.graph.as_mut().unwrap().node[0].op_type));
    let said = start(&unknown).await;
    assert!(said.starts_with("cannot use BUNDLE: ") && said.contains("Prophecy"), "{said}");
    let cut = changed(|model| model.graph.as_mut().unwrap().node.truncate(1));
    assert!(start(&cut).await.starts_with("cannot use BUNDLE: "));
}
