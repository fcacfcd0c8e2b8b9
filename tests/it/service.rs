//! The whole service in this process, over loopback: bodies in, `/metrics` and the API out.
//!
//! No test waits for time: an answer to a write means that it is applied, and `Service::settle` that it is scored. Times of
//! samples are fixed, except where the service's clock is what is tested.

mod bad_input;
mod bodies;
mod bundles;
mod events;
mod feedback;
mod hosts;
mod node;
mod pages;
mod push;
mod queries;
mod reload;
mod scrapes;
mod status;
mod verdicts;
mod webhook;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use outlierd::base::proto::prometheus::TimeSeries;
use outlierd::config;
use outlierd::model::onnx::{Dims, LstmWeights, write_graph};
use outlierd::serve::service::Service;
use outlierd::setup::{Environment, Setup};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::onnx::{manifest, random_weights};

/// What a write says of itself.
type Headers<'a> = &'a [(&'a str, &'a str)];

const SNAPPY: Headers<'_> = &[("content-type", "application/x-protobuf"), ("content-encoding", "snappy")];
const ZSTD: Headers<'_> = &[("content-type", "application/x-protobuf"), ("content-encoding", "zstd")];

/// A running service and a client that keeps its connection, as senders do.
struct World {
    service: Service,
    address: SocketAddr,
    client: reqwest::Client,
    /// Holds the bundle.
    _folder: TempDir,
}

impl World {
    /// Starts the service with `config` (YAML) and a small bundle of `features`, whose model expects about the mean of each.
    async fn start(config: &str, features: &[&str]) -> Self {
        Self::start_in(config, features, Environment::default()).await
    }

    /// As [`World::start`], in another environment.
    async fn start_in(config: &str, features: &[&str], environment: Environment) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.onnx");
        std::fs::write(&path, bundle(features)).unwrap();
        let setup = setup_in(config, &path, environment).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service::start(&setup, listener, None).unwrap();
        // A proxy in the environment must not come between.
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { service, address, client, _folder: folder }
    }

    /// Posts `body` as it is: status and text of the answer.
    async fn post(&self, headers: Headers<'_>, body: Vec<u8>) -> (u16, String) {
        let mut request = self.client.post(format!("http://{}/api/v1/write", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap().trim_end().to_owned())
    }

    /// Writes `series`, which must be taken.
    async fn write(&self, series: Vec<TimeSeries>) {
        let answer = self.post(SNAPPY, bodies::snappy(&bodies::message(series))).await;
        assert_eq!(answer, (204, String::new()));
    }

    /// The answer of `path` after everything written so far is scored.
    async fn get(&self, path: &str) -> String {
        self.service.settle().await;
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        answer.text().await.unwrap()
    }

    /// `/metrics` after everything written so far is scored.
    async fn metrics(&self) -> String {
        self.get("/metrics").await
    }

    /// What the API says of a host after everything written so far is scored.
    async fn host(&self, name: &str) -> Value {
        let mut answer: Value = serde_json::from_str(&self.get(&format!("/api/v1/hosts/{name}")).await).unwrap();
        answer["data"].take()
    }

    /// Adds a host's rows by time to those collected before.
    async fn collect_rows(&self, host: &str, rows: &mut BTreeMap<i64, Value>) {
        for row in self.host(host).await["rows"].as_array().unwrap() {
            rows.insert(row["t_ms"].as_i64().unwrap(), row.clone());
        }
    }

    async fn stop(self) {
        self.service.stop().await.unwrap();
    }
}

/// The system's clock, and `folder` for what survives a restart.
fn stored_in(folder: &Path) -> Environment {
    Environment { storage: Some(folder.to_owned()), ..Environment::default() }
}

/// What `config` and the bundle at `path` come to; the configuration's own `model` section goes first.
fn setup(config: &str, path: &Path) -> anyhow::Result<Setup> {
    setup_in(config, path, Environment::default())
}

fn setup_in(config: &str, path: &Path, environment: Environment) -> anyhow::Result<Setup> {
    let mut config = config::parse("test.yaml", config)?;
    config.model.bundle = Some(path.to_owned());
    Setup::in_environment(config, environment)
}

/// A bundle of `features` with weights so small that it expects about the mean of each.
fn bundle(features: &[&str]) -> Vec<u8> {
    let mut manifest = manifest(features.len());
    for (feature, name) in manifest.features.iter_mut().zip(features) {
        (*name).clone_into(&mut feature.name);
    }
    write_graph(&small_weights(features.len()), &manifest, Dims::default()).unwrap()
}

fn small_weights(n_features: usize) -> LstmWeights {
    let mut weights = random_weights(n_features, &[4], false);
    for weight in weights.head_w.iter_mut().chain(&mut weights.head_b) {
        *weight *= 0.05;
    }
    weights
}
