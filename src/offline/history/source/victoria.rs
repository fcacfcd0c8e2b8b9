//! VictoriaMetrics' `/api/v1/export`: one line of JSON per block of a series, in no order.
//!
//! NaN comes as `null` or is left out, so that an ordinary one and a stale marker cannot be told apart; `null` is read as the
//! stale marker, which is far more frequent.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::chunk::{Chunk, Span};
use super::client::{Client, Failure};
use crate::series::{Labels, STALE_NAN_BITS, Sample};

/// Bytes of a line. With `reduce_mem_usage` a line has a block of 8,192 samples.
const LINE_BYTES_MAX: usize = 16 << 20;

/// The path under the prefix.
pub(super) const PATH: &str = "api/v1/export";

/// Seconds, as the API takes them.
pub(super) fn seconds(t_ms: i64) -> String {
    format!("{}{}.{:03}", if t_ms < 0 { "-" } else { "" }, t_ms.unsigned_abs() / 1_000, t_ms.unsigned_abs() % 1_000)
}

/// Whether the server exports: asked for what nobody has, it answers with nothing.
pub(super) async fn is_there(client: &Client) -> Result<bool, Failure> {
    let none = "{__name__=\"outlierd_asks_what_you_are\"}";
    let request = || client.get(PATH, &[("match[]", none), ("start", "1"), ("end", "2")]);
    match client.persist(async || client.send(request()).await?.whole(1).await).await {
        Ok(body) => Ok(body.is_empty()),
        // A page for people, from a server of another kind; or one that knows no such path in its own words.
        Err(Failure::TooLarge(_) | Failure::NoSuchPath(_)) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Reads what `selector` selects over the span of `chunk` into it.
pub(super) async fn export(
    client: &Client,
    selector: &str,
    span: Span,
    new_chunk: impl Fn() -> Chunk,
) -> Result<Chunk, Failure> {
    let (start, end) = (seconds(span.start_ms), seconds(span.end_ms - 1));
    let form = [("match[]", selector), ("start", &start), ("end", &end), ("reduce_mem_usage", "1")];
    client
        .persist(async || {
            let mut answer = client.send(client.post_form(PATH, &form)).await?;
            let mut lines = Lines { rest: Vec::new(), chunk: new_chunk() };
            while let Some(piece) = answer.next().await? {
                lines.take(&piece)?;
            }
            lines.end()
        })
        .await
}

/// Lines that come in pieces.
struct Lines {
    /// The beginning of a line; at most [`LINE_BYTES_MAX`].
    rest: Vec<u8>,
    chunk: Chunk,
}

impl Lines {
    fn take(&mut self, mut piece: &[u8]) -> Result<(), Failure> {
        self.chunk.n_bytes += piece.len() as u64;
        while let Some(end) = piece.iter().position(|b| *b == b'\n') {
            let (line, after) = piece.split_at(end);
            if self.rest.is_empty() {
                read_line(line, &mut self.chunk)?;
            } else {
                self.rest.extend_from_slice(line);
                read_line(&self.rest, &mut self.chunk)?;
                self.rest.clear();
            }
            piece = after.get(1..).unwrap_or_default();
        }
        if self.rest.len() + piece.len() > LINE_BYTES_MAX {
            return Err(Failure::Fatal(anyhow::anyhow!("a line of more than {LINE_BYTES_MAX} bytes is no export")));
        }
        self.rest.extend_from_slice(piece);
        Ok(())
    }

    fn end(self) -> Result<Chunk, Failure> {
        if self.rest.is_empty() {
            return Ok(self.chunk);
        }
        Err(Failure::Cut(anyhow::anyhow!("the export broke off within a line")))
    }
}

/// A line.
#[derive(Deserialize)]
struct Line {
    metric: BTreeMap<String, String>,
    values: Vec<Value>,
    timestamps: Vec<i64>,
}

fn read_line(line: &[u8], chunk: &mut Chunk) -> Result<(), Failure> {
    if line.trim_ascii().is_empty() {
        return Ok(());
    }
    let parsed = serde_json::from_slice(line).or_else(|error| {
        // Versions before 1.80 write infinities without quotes, which is no JSON.
        let text = str::from_utf8(line).map_err(|_| error)?;
        serde_json::from_str(&text.replace("+Inf", "\"Infinity\"").replace("-Inf", "\"-Infinity\""))
    });
    let start = || String::from_utf8_lossy(line.get(..line.len().min(200)).unwrap_or_default()).into_owned();
    let line: Line = parsed
        .with_context(|| format!("not a line of an export, which `{PATH}` should answer with: {}", start()))
        .map_err(Failure::Fatal)?;
    if line.values.len() != line.timestamps.len() {
        return Err(Failure::Fatal(anyhow::anyhow!("an exported line has more values than timestamps, or fewer")));
    }
    let series = chunk.series(Labels::from_pairs(line.metric.iter().map(|(n, v)| (n.as_str(), v.as_str()))))?;
    for (&t_ms, value) in line.timestamps.iter().zip(&line.values) {
        chunk.push(series, Sample { t_ms, value: value.0 })?;
    }
    Ok(())
}

/// A number, `null`, or a word.
struct Value(f64);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = f64;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, null or \"Infinity\"")
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
                Ok(value)
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
                Ok(value as f64)
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
                Ok(value as f64)
            }
            fn visit_unit<E: Error>(self) -> Result<f64, E> {
                Ok(f64::from_bits(STALE_NAN_BITS))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<f64, E> {
                value.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(Any).map(Value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVER: Span = Span { start_ms: i64::MIN, end_ms: i64::MAX };

    /// What comes of an answer in pieces of every size.
    fn check(body: &str, samples_max: usize, expected: Result<&[(i64, f64)], &str>) {
        for size in [1, 7, body.len().max(1)] {
            let mut lines = Lines { rest: Vec::new(), chunk: Chunk::new(EVER, samples_max) };
            let read = body.as_bytes().chunks(size).try_for_each(|piece| lines.take(piece));
            let read = read.and_then(|()| lines.end());
            match (read, expected) {
                (Ok(chunk), Ok(expected)) => {
                    let series = chunk.into_series();
                    let samples = series.iter().flat_map(|s| &s.samples).map(|s| (s.t_ms, s.value.to_bits()));
                    let expected = expected.iter().map(|(t, v)| (*t, v.to_bits()));
                    assert_eq!(samples.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{body}");
                }
                (Err(failure), Err(expected)) => {
                    assert!(format!("{failure:?}").contains(expected), "{failure:?}");
                }
                (read, _) => panic!("{body}: {read:?}"),
            }
        }
    }

    #[test]
    fn lines_become_series() {
        let a = r#"{"metric":{"__name__":"a","x":"\"\u00e9"},"values":[1,-2.5],"timestamps":[10,20]}"#;
        let b = r#"{"metric":{"__name__":"a","x":"\"é"},"values":[0.1],"timestamps":[5]}"#;
        check("", 9, Ok(&[]));
        check(&format!("{a}\n"), 99, Ok(&[(10, 1.0), (20, -2.5)]));
        check(&format!("{a}\n\n{b}\r\n"), 99, Ok(&[(5, 0.1), (10, 1.0), (20, -2.5)]));
        let odd = r#"{"metric":{"__name__":"a"},"values":[null,"Infinity",-Inf,+Inf,"NaN"],"timestamps":[1,2,3,4,5]}"#;
        let stale = f64::from_bits(STALE_NAN_BITS);
        let (more, less) = (f64::INFINITY, f64::NEG_INFINITY);
        check(&format!("{odd}\n"), 99, Ok(&[(1, stale), (2, more), (3, less), (4, more), (5, f64::NAN)]));
    }

    #[test]
    fn what_is_no_export_is_refused() {
        let line = r#"{"metric":{"__name__":"a"},"values":[1],"timestamps":[1]}"#;
        check(line, 99, Err("Cut(the export broke off within a line"));
        check(&format!("{line}\n{line}\n"), 3, Err("TooLarge"));
        check("<html>\n", 99, Err("not a line of an export, which `api/v1/export` should answer with: <html>"));
        check("{\"metric\":{},\"values\":[1],\"timestamps\":[]}\n", 99, Err("more values than timestamps"));
        check("{\"metric\":{},\"values\":[\"x\"],\"timestamps\":[1]}\n", 99, Err("Fatal"));
        check("{\"metric\":{},\"values\":[1]}\n", 99, Err("missing field `timestamps`"));
        check("{\"metric\":{\"a\":1},\"values\":[],\"timestamps\":[]}\n", 99, Err("Fatal"));
    }

    #[test]
    fn an_endless_line_ends() {
        let mut lines = Lines { rest: Vec::new(), chunk: Chunk::new(EVER, 9) };
        let mut pieces = std::iter::repeat_n([b' '; 1 << 16], 1 + LINE_BYTES_MAX / (1 << 16));
        assert!(matches!(pieces.try_for_each(|piece| lines.take(&piece)), Err(Failure::Fatal(_))));
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!([0, 7, 1_795_330_081_812, -1].map(seconds), ["0.000", "0.007", "1795330081.812", "-0.001"]);
    }
}
