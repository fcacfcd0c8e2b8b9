//! Prometheus: remote read, and range selectors of the query API where remote read isn't there.
//!
//! Remote read gives everything as it was stored. A range selector leaves stale markers out, so a series that ended is seen for
//! the lookback longer.

use std::collections::BTreeMap;

use anyhow::{Context as _, anyhow};
use prost::Message as _;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::chunk::{Chunk, Span};
use super::client::{Client, Failure};
use super::selection::Selection;
use super::stream::Frames;
use super::victoria::seconds;
use super::xor::{self, BadChunk};
use crate::base::proto::prometheus::chunk::Encoding;
use crate::base::proto::prometheus::label_matcher::Type;
use crate::base::proto::prometheus::read_request::ResponseType;
use crate::base::proto::prometheus::{ChunkedReadResponse, Label, LabelMatcher, Query, ReadRequest, ReadResponse};
use crate::series::{Labels, Sample};

/// Paths under the prefix.
const READ: &str = "api/v1/read";
const QUERY: &str = "api/v1/query";

/// Bytes of an answer that cannot be read piece by piece.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Whether remote read is there. A server that can neither be read nor queried is an error.
pub(super) async fn has_remote_read(client: &Client) -> Result<bool, Failure> {
    let one = async || client.send(client.get(QUERY, &[("query", "1")])).await?.whole(1 << 16).await;
    let answer = client.persist(one).await?;
    let told: Result<Envelope<IgnoredAny>, _> = serde_json::from_slice(&answer);
    if !told.is_ok_and(|told| told.status == "success") {
        let shown = client.shown();
        return Err(Failure::NoSuchPath(anyhow!("{shown}: {QUERY} does not answer as Prometheus does")));
    }
    let none = Selection::nothing();
    let chunk = || Chunk::new(Span { start_ms: 0, end_ms: 1 }, 0);
    match remote_read(client, &none, "", Span { start_ms: 0, end_ms: 1 }, chunk).await {
        Ok(_) => Ok(true),
        Err(Failure::Busy(error)) => Err(Failure::Busy(error)),
        // 400 and 404 by those that have none, other words by proxies: the query API was just seen to work.
        Err(failure) => {
            tracing::debug!(?failure, "no remote read");
            Ok(false)
        }
    }
}

/// Reads what is selected of `host` over `span`.
pub(super) async fn remote_read(
    client: &Client,
    selection: &Selection,
    host: &str,
    span: Span,
    new_chunk: impl Fn() -> Chunk,
) -> Result<Chunk, Failure> {
    let matcher =
        |kind: Type, name: &str, value: String| LabelMatcher { r#type: kind.into(), name: name.into(), value };
    let mut matchers = vec![matcher(Type::Eq, &selection.identity, host.to_owned())];
    matchers.extend(selection.pattern.clone().map(|pattern| matcher(Type::Re, crate::series::METRIC_NAME, pattern)));
    let query = Query { start_timestamp_ms: span.start_ms, end_timestamp_ms: span.end_ms - 1, matchers };
    let accepted = [ResponseType::StreamedXorChunks, ResponseType::Samples];
    let request =
        ReadRequest { queries: vec![query], accepted_response_types: accepted.map(i32::from).to_vec() }.encode_to_vec();
    let body = snap::raw::Encoder::new().compress_vec(&request);
    let body = bytes::Bytes::from(body.map_err(|error| Failure::Fatal(error.into()))?);
    client
        .persist(async || {
            let request = client.post(READ, "application/x-protobuf", body.clone());
            let request =
                request.header("content-encoding", "snappy").header("x-prometheus-remote-read-version", "0.1.0");
            let mut answer = client.send(request).await?;
            let mut chunk = new_chunk();
            if !answer.content_type().starts_with("application/x-streamed-protobuf") {
                read_samples(&answer.whole(ANSWER_BYTES_MAX).await?, &mut chunk)?;
                return Ok(chunk);
            }
            let mut frames = Frames::default();
            while let Some(piece) = answer.next().await? {
                chunk.n_bytes += piece.len() as u64;
                frames.take(&piece, |frame| read_frame(frame, &mut chunk))?;
            }
            frames.end()?;
            Ok(chunk)
        })
        .await
}

/// A frame of a stream: series with their chunks.
pub(super) fn read_frame(frame: &[u8], chunk: &mut Chunk) -> Result<(), Failure> {
    let response = ChunkedReadResponse::decode(frame)
        .context("a frame of remote read is no ChunkedReadResponse")
        .map_err(Failure::Fatal)?;
    for series in &response.chunked_series {
        let index = chunk.series(labels(&series.labels))?;
        for piece in &series.chunks {
            match piece.r#type() {
                Encoding::Xor if piece.r#type == i32::from(Encoding::Xor) => {
                    xor::samples(&piece.data, |sample| chunk.push(index, sample))?;
                }
                // No feature reads native histograms.
                Encoding::Histogram | Encoding::FloatHistogram => {}
                Encoding::Xor | Encoding::Unknown => {
                    return Err(Failure::Fatal(anyhow!(
                        "remote read gave a chunk of the unknown encoding {}; use --from-type range-query",
                        piece.r#type
                    )));
                }
            }
        }
    }
    Ok(())
}

impl From<BadChunk> for Failure {
    fn from(error: BadChunk) -> Self {
        Self::Fatal(anyhow!("remote read gave a chunk that cannot be read: {}", error.0))
    }
}

/// A snappy-compressed `ReadResponse`, which those answer with that don't stream.
fn read_samples(body: &[u8], chunk: &mut Chunk) -> Result<(), Failure> {
    let is_large = snap::raw::decompress_len(body).is_ok_and(|n| n > ANSWER_BYTES_MAX);
    if is_large {
        return Err(Failure::TooLarge(anyhow!("an answer of remote read is larger than {ANSWER_BYTES_MAX} bytes")));
    }
    let read = || -> anyhow::Result<ReadResponse> {
        Ok(ReadResponse::decode(&*snap::raw::Decoder::new().decompress_vec(body)?)?)
    };
    let response = read().context("what remote read answered is no ReadResponse").map_err(Failure::Fatal)?;
    chunk.n_bytes += body.len() as u64;
    for series in response.results.iter().flat_map(|result| &result.timeseries) {
        let index = chunk.series(labels(&series.labels))?;
        for sample in &series.samples {
            chunk.push(index, Sample { t_ms: sample.timestamp, value: sample.value })?;
        }
    }
    Ok(())
}

fn labels(labels: &[Label]) -> Labels {
    Labels::from_pairs(labels.iter().map(|label| (label.name.as_str(), label.value.as_str())))
}

/// Asks for what `selector` selects over `span` as one range selector.
pub(super) async fn range_query(
    client: &Client,
    selector: &str,
    span: Span,
    new_chunk: impl Fn() -> Chunk,
) -> Result<Chunk, Failure> {
    // From version 3 on the start of a range does not belong to it; what lies before the span is left out by the chunk.
    let query = format!("{selector}[{}ms]", span.len_ms());
    let form = [("query", query.as_str()), ("time", &seconds(span.end_ms - 1))];
    client
        .persist(async || {
            let answer = client.send(client.post_form(QUERY, &form)).await?.whole(ANSWER_BYTES_MAX).await?;
            let mut chunk = new_chunk();
            read_matrix(&answer, &mut chunk)?;
            Ok(chunk)
        })
        .await
}

/// Wrapper of every answer of the API.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) status: String,
    pub(super) data: T,
}

#[derive(Deserialize)]
struct Matrix {
    result: Vec<Element>,
}

/// One series; native histograms are left out.
#[derive(Deserialize)]
struct Element {
    metric: BTreeMap<String, String>,
    /// Seconds and the value as text.
    #[serde(default)]
    values: Vec<(f64, String)>,
}

fn read_matrix(body: &[u8], chunk: &mut Chunk) -> Result<(), Failure> {
    let parsed = serde_json::from_slice(body);
    let answer: Envelope<Matrix> =
        parsed.context("what the query API answered is no matrix").map_err(Failure::Fatal)?;
    chunk.n_bytes += body.len() as u64;
    for element in answer.data.result {
        let labels = element.metric.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let index = chunk.series(Labels::from_pairs(labels))?;
        for (t_s, value) in element.values {
            let value = value
                .parse()
                .with_context(|| format!("the query API answered with the value `{value}`"))
                .map_err(Failure::Fatal)?;
            chunk.push(index, Sample { t_ms: (t_s * 1_000.0).round() as i64, value })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::proto::prometheus::{Chunk as Piece, ChunkedSeries, QueryResult, TimeSeries};

    const EVER: Span = Span { start_ms: i64::MIN, end_ms: i64::MAX };

    /// Labels as text, times and values.
    type Plain = Vec<(String, Vec<(i64, f64)>)>;

    fn read(by: impl Fn(&mut Chunk) -> Result<(), Failure>) -> Result<Plain, String> {
        let mut chunk = Chunk::new(EVER, 1_000);
        by(&mut chunk).map_err(|failure| format!("{failure:?}"))?;
        let series = chunk.into_series().into_iter();
        let samples = |samples: Vec<Sample>| samples.iter().map(|s| (s.t_ms, s.value)).collect();
        Ok(series.map(|s| (s.labels.to_string(), samples(s.samples))).collect())
    }

    #[test]
    fn matrices() {
        let check = |result: &str, expected: Result<Plain, &str>| {
            let body = format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":{result}}}}}"#);
            match (read(|chunk| read_matrix(body.as_bytes(), chunk)), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected),
                (Err(got), Err(expected)) => assert!(got.contains(expected), "{got}"),
                (got, _) => panic!("{body}: {got:?}"),
            }
        };
        check("[]", Ok(Vec::new()));
        let one = r#"[{"metric":{"__name__":"a"},"values":[[1795330081.812,"1.5"],[2,"+Inf"]]},{"metric":{},"histograms":[]}]"#;
        check(one, Ok(vec![(r#"{__name__="a"}"#.to_owned(), vec![(2_000, f64::INFINITY), (1_795_330_081_812, 1.5)])]));
        check(r#"[{"metric":{},"values":[[1,"x"]]}]"#, Err("answered with the value `x`"));
        check("1", Err("is no matrix"));
    }

    #[test]
    fn both_answers_of_remote_read() {
        let label = Label { name: "__name__".into(), value: "a".into() };
        let sample = crate::base::proto::prometheus::Sample { value: 1.5, timestamp: 7 };
        let series = TimeSeries { labels: vec![label.clone()], samples: vec![sample], exemplars: Vec::new() };
        let response = ReadResponse { results: vec![QueryResult { timeseries: vec![series] }] };
        let body = snap::raw::Encoder::new().compress_vec(&response.encode_to_vec()).unwrap();
        let expected = vec![(r#"{__name__="a"}"#.to_owned(), vec![(7, 1.5)])];
        assert_eq!(read(|chunk| read_samples(&body, chunk)), Ok(expected.clone()));
        assert!(read(|chunk| read_samples(&body[1..], chunk)).unwrap_err().contains("is no ReadResponse"));
        // A length that nobody will ever hold.
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        assert!(read(|chunk| read_samples(&bomb, chunk)).unwrap_err().starts_with("TooLarge"));

        let xor = [&[0, 1, 14][..], &1.5_f64.to_be_bytes()].concat();
        let frame = |kind: i32, data: &[u8]| {
            let piece = Piece { r#type: kind, data: data.to_vec(), ..Piece::default() };
            let series = ChunkedSeries { labels: vec![label.clone()], chunks: vec![piece] };
            ChunkedReadResponse { chunked_series: vec![series], query_index: 0 }.encode_to_vec()
        };
        assert_eq!(read(|chunk| read_frame(&frame(1, &xor), chunk)), Ok(expected));
        assert_eq!(read(|chunk| read_frame(&frame(2, &xor), chunk)), Ok(Vec::new()));
        let check = |frame: &[u8], expected: &str| {
            let got = read(|chunk| read_frame(frame, chunk)).unwrap_err();
            assert!(got.contains(expected), "{got}");
        };
        check(&frame(1, &xor[..5]), "it ends early");
        check(&frame(4, &xor), "unknown encoding 4");
        check(&frame(0, &xor), "unknown encoding 0");
        check(b"\xff", "is no ChunkedReadResponse");
    }
}
