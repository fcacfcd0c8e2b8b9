//! Sends series as vmagent does: remote write 1.0 in snappy, blocks of up to 10,000 samples, so that a scrape may be cut over
//! two requests.
//!
//! Owns the block that is being filled. Retries what the service asks to be retried; anything else is an error.

use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, StatusCode};

use crate::base::proto::prometheus::TimeSeries;
use crate::base::write_request::WriteRequestEncoder;

/// Samples of a full block: vmagent's default of `-remoteWrite.maxRowsPerBlock`.
pub const SAMPLES_PER_BLOCK: usize = 10_000;

/// Number of times that a request is sent that is answered 429 or 503, and the pause between.
const ATTEMPTS: u32 = 60;
const PAUSE: Duration = Duration::from_millis(500);

/// Cuts series into blocks.
#[derive(Debug, Default)]
pub struct Blocks {
    /// The block that is being filled, with fewer than [`SAMPLES_PER_BLOCK`] samples.
    block: WriteRequestEncoder,
    /// Full blocks, compressed, oldest first. Bounded by the caller, who takes them after each round.
    full: Vec<Vec<u8>>,
    /// Samples of all blocks so far.
    n_total: u64,
}

impl Blocks {
    /// Appends the series of a scrape.
    pub fn push(&mut self, series: &[TimeSeries]) -> anyhow::Result<()> {
        for one in series {
            self.block.push(one)?;
            if self.block.n_samples() >= SAMPLES_PER_BLOCK {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Everything pushed so far, as compressed request bodies.
    pub fn take(&mut self) -> anyhow::Result<Vec<Vec<u8>>> {
        if self.block.n_samples() > 0 {
            self.close()?;
        }
        Ok(std::mem::take(&mut self.full))
    }

    /// Samples pushed since the start.
    #[must_use]
    pub fn n_total(&self) -> u64 {
        self.n_total + self.block.n_samples() as u64
    }

    fn close(&mut self) -> anyhow::Result<()> {
        self.n_total += self.block.n_samples() as u64;
        self.full.push(self.block.take()?);
        Ok(())
    }
}

/// Posts blocks to one URL.
#[derive(Debug, Clone)]
pub struct Sender {
    client: Client,
    url: String,
}

impl Sender {
    /// `base` is the service, such as `http://127.0.0.1:9201`.
    #[must_use]
    pub fn new(client: Client, base: &str) -> Self {
        Self { client, url: format!("{base}/api/v1/write") }
    }

    /// Sends one compressed block; returns once the service has taken it.
    pub async fn send(&self, block: Vec<u8>) -> anyhow::Result<()> {
        let body = bytes::Bytes::from(block);
        for _ in 0..ATTEMPTS {
            let request = self
                .client
                .post(&self.url)
                .header("content-type", "application/x-protobuf")
                .header("content-encoding", "snappy")
                .header("x-prometheus-remote-write-version", "0.1.0")
                .header("user-agent", "outlierd-demo")
                .body(body.clone());
            let answer = request.send().await.with_context(|| format!("cannot send to {}", self.url))?;
            let status = answer.status();
            match status {
                _ if status.is_success() => return Ok(()),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(PAUSE).await,
                _ => bail!("{} answered {status}: {}", self.url, answer.text().await.unwrap_or_default().trim()),
            }
        }
        bail!("{} refused a block {ATTEMPTS} times: it is overloaded", self.url)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::base::proto::prometheus::{Label, Sample, WriteRequest};

    fn series(i: usize) -> TimeSeries {
        let label = Label { name: "__name__".into(), value: format!("m{i}") };
        let sample = Sample { value: i as f64, timestamp: 1_000 };
        TimeSeries { labels: vec![label], samples: vec![sample], ..TimeSeries::default() }
    }

    #[test]
    fn blocks_are_write_requests_and_lose_nothing() {
        let scrape: Vec<TimeSeries> = (0..7_000).map(series).collect();
        let mut blocks = Blocks::default();
        blocks.push(&scrape).unwrap();
        blocks.push(&scrape).unwrap();
        let bodies = blocks.take().unwrap();
        let decoded: Vec<WriteRequest> = bodies
            .iter()
            .map(|body| WriteRequest::decode(&*snap::raw::Decoder::new().decompress_vec(body).unwrap()).unwrap())
            .collect();
        assert_eq!(decoded.iter().map(|r| r.timeseries.len()).collect::<Vec<_>>(), [10_000, 4_000]);
        assert_eq!(decoded[0].timeseries[..7_000], scrape);
        assert_eq!(decoded[1].timeseries, scrape[3_000..]);
        assert_eq!((blocks.n_total(), blocks.take().unwrap().len()), (14_000, 0));
    }
}
