//! A database that history is read from: VictoriaMetrics or Prometheus, over HTTP.
//!
//! Owns what is asked of which server and in which pieces; hands out samples as they were stored. Knows no engine.

pub mod chunk;
pub mod client;
mod prometheus;
pub mod reader;
pub mod selection;
mod stream;
mod victoria;
pub mod xor;

use anyhow::{Context as _, anyhow};

use self::chunk::{Chunk, Span};
use self::client::{Client, Failure};
use self::selection::Selection;

/// How a database is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ServerType {
    /// VictoriaMetrics, single or cluster: `/api/v1/export`.
    #[value(name = "victoriametrics")]
    VictoriaMetrics,
    /// Prometheus and what reads as it does: `/api/v1/read`.
    #[value(name = "remote-read")]
    RemoteRead,
    /// Prometheus without remote read: range selectors by `/api/v1/query`. Stale markers are not seen.
    #[value(name = "range-query")]
    RangeQuery,
}

/// Bytes of a list of names or hosts.
const LIST_BYTES_MAX: usize = 64 << 20;

/// A database that answers.
#[derive(Debug)]
pub struct Database {
    client: Client,
    server: ServerType,
    selection: Selection,
}

impl Database {
    /// Finds out what the server is, unless `server` says.
    ///
    /// # Errors
    /// It is unreachable, refuses us, or is neither VictoriaMetrics nor Prometheus.
    pub async fn open(client: Client, server: Option<ServerType>, selection: Selection) -> anyhow::Result<Self> {
        let server = match server {
            Some(server) => server,
            None => detect(&client).await.map_err(Failure::into_error)?,
        };
        tracing::info!(from = client.shown(), ?server, "reading history");
        Ok(Self { client, server, selection })
    }

    /// Returns the type of server that it is read as.
    #[must_use]
    pub fn server(&self) -> ServerType {
        self.server
    }

    /// Returns its address, without secrets.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.client.shown()
    }

    /// The hosts that have series over `span`, sorted.
    pub async fn hosts(&self, span: Span) -> anyhow::Result<Vec<String>> {
        self.label_values(&self.selection.identity, span).await
    }

    /// The metric names that features read and nobody has over `span`.
    pub async fn absent(&self, span: Span) -> anyhow::Result<Vec<String>> {
        let there = self.label_values(crate::series::METRIC_NAME, span).await?;
        let is_absent = |name: &&String| there.binary_search(name).is_err();
        Ok(self.selection.names.iter().filter(is_absent).cloned().collect())
    }

    async fn label_values(&self, label: &str, span: Span) -> anyhow::Result<Vec<String>> {
        let (start, end) = (victoria::seconds(span.start_ms), victoria::seconds(span.end_ms));
        let selector = self.selection.of_hosts();
        let query = [("match[]", selector.as_str()), ("start", &start), ("end", &end)];
        let path = format!("api/v1/label/{label}/values");
        let ask = async || self.client.send(self.client.get(&path, &query)).await?.whole(LIST_BYTES_MAX).await;
        let answer = self.client.persist(ask).await.map_err(Failure::into_error);
        let answer = answer.with_context(|| format!("cannot list the values of the label {label}"))?;
        let parsed: prometheus::Envelope<Option<Vec<String>>> =
            serde_json::from_slice(&answer).with_context(|| format!("{}: {path} is no list", self.client.shown()))?;
        let mut values = parsed.data.unwrap_or_default();
        values.retain(|value| !value.is_empty());
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    /// The samples of `host` over `span`, of up to about `samples_max`.
    ///
    /// # Errors
    /// See [`Failure`]; it was tried as often as makes sense.
    pub async fn read(&self, host: &str, span: Span, samples_max: usize) -> Result<Chunk, Failure> {
        let new_chunk = || Chunk::new(span, samples_max);
        let selector = || self.selection.of_host(host);
        match self.server {
            ServerType::VictoriaMetrics => victoria::export(&self.client, &selector(), span, new_chunk).await,
            ServerType::RemoteRead => {
                prometheus::remote_read(&self.client, &self.selection, host, span, new_chunk).await
            }
            ServerType::RangeQuery => prometheus::range_query(&self.client, &selector(), span, new_chunk).await,
        }
    }
}

async fn detect(client: &Client) -> Result<ServerType, Failure> {
    if victoria::is_there(client).await? {
        return Ok(ServerType::VictoriaMetrics);
    }
    match prometheus::has_remote_read(client).await {
        Ok(true) => Ok(ServerType::RemoteRead),
        Ok(false) => Ok(ServerType::RangeQuery),
        Err(Failure::NoSuchPath(error) | Failure::TooLarge(error)) => Err(Failure::Fatal(error.context(anyhow!(
            "{} is neither VictoriaMetrics nor Prometheus; is its path prefix missing, such as \
                 /select/0/prometheus for VictoriaMetrics in a cluster?",
            client.shown()
        )))),
        Err(failure) => Err(failure),
    }
}
