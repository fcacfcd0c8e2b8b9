//! Decode against captured bodies, against the naive reading of the prost types, and against hostile bytes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod tails;

use std::path::Path;

use outlierd::base::proto::prometheus::{Exemplar, Label, MetricMetadata, Sample, TimeSeries, WriteRequest};
use outlierd::config::Limits;
use outlierd::decode::{
    DecodeError, DecodeStats, Decoded, Decoder, Encoding, InvalidSeries, LabelLimits, Look, Seen, SeriesSummary,
    TimeBounds, Wanted, label_hash, parse_labels, shard_of,
};
use outlierd::series::STALE_NAN_BITS;
use proptest::prelude::*;
use prost::Message;

const ANY_TIME: TimeBounds = TimeBounds::NONE;
const SHARDS: usize = 3;

fn limits() -> Limits {
    Limits::default()
}

fn wanted(names: &[&str], limits: &Limits) -> Wanted {
    Wanted::new(names.iter().copied(), "instance", SHARDS, limits).unwrap()
}

fn snappy(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

fn capture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures").join(name)).unwrap()
}

fn decode(body: &[u8], wanted: &Wanted) -> Result<Decoded, DecodeError> {
    Decoder::new().decode(body, Encoding::Snappy, wanted, ANY_TIME)
}

/// A kept series as plain values: labels in order of arrival, host, metric, samples by time and bits.
type Plain = (Vec<(String, String)>, String, u16, Vec<(i64, u64)>);

fn plain(decoded: &Decoded) -> Vec<Vec<Plain>> {
    let series = |batch: &outlierd::decode::SampleBatch| {
        batch
            .iter()
            .map(|series| {
                let bytes = [series.labels, series.tail].concat();
                let entries = TimeSeries::decode(bytes.as_slice()).unwrap();
                // Another encoding of the same labels may have another hash.
                if entries.encode_to_vec() == bytes {
                    let hashes = entries.labels.iter().map(|label| label_hash(&label.name, &label.value));
                    assert_eq!(series.labels_hash, hashes.fold(0, u64::wrapping_add));
                }
                let labels = entries.labels.into_iter().map(|label| (label.name, label.value)).collect();
                let samples = series.samples.iter().map(|s| (s.t_ms, s.value.to_bits())).collect();
                (labels, series.host.to_owned(), series.metric, samples)
            })
            .collect()
    };
    decoded.batches.iter().map(series).collect()
}

// ---- captures -------------------------------------------------------------------------------------------------------------

#[test]
fn captured_blocks_have_the_known_counts() {
    let everything = wanted(&[], &limits()).all_names();
    let check = |name: &str, samples: u64, metadata: u64| {
        let Decoded { batches, stats } = decode(&capture(name), &everything).unwrap();
        assert_eq!((stats.received_samples, stats.metadata), (samples, metadata), "{name}");
        assert_eq!((stats.kept_samples, stats.invalid_series), (samples, [0; 7]), "{name}");
        assert_eq!(batches.iter().map(|b| b.samples() as u64).sum::<u64>(), samples, "{name}");
        assert_eq!(batches.len(), SHARDS);
    };
    for i in 0..3 {
        check(&format!("fleet200-block{i}.snappy.bin"), 10_000, 0);
    }
    for i in 0..4 {
        check(&format!("host1-scrape{i}.snappy.bin"), 514, 0);
        check(&format!("host1-scrape{i}.zstd.bin"), 514, 0);
    }
    for i in 0..2 {
        check(&format!("host995-scrape{i}.snappy.bin"), 995, 0);
    }
    check("fleet200-metadata.snappy.bin", 0, 5_094);
    check("host1-metadata.snappy.bin", 0, 283);
    check("host1-metadata.zstd.bin", 0, 283);
}

#[test]
fn captured_blocks_decode_as_prost_reads_them() {
    let wanted = wanted(&["node_cpu_seconds_total", "node_load1", "up"], &limits());
    let mut decoder = Decoder::new();
    for name in ["fleet200-block0.snappy.bin", "host1-scrape0.snappy.bin", "host995-scrape1.snappy.bin"] {
        let body = capture(name);
        let message = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
        let decoded = decoder.decode(&body, Encoding::Snappy, &wanted, ANY_TIME).unwrap();
        let expected = naive(&WriteRequest::decode(&message[..]).unwrap(), &wanted, ANY_TIME);
        assert!(decoded.stats.kept_samples > 0 && decoded.stats.ignored_samples > 0, "{name}");
        assert_same(&decoded, &expected);
    }
}

#[test]
fn snappy_and_zstd_variants_are_identical() {
    let wanted = wanted(&["node_cpu_seconds_total", "node_load1", "up"], &limits());
    let mut decoder = Decoder::new();
    for i in 0..4 {
        let (snappy, zstd) =
            (capture(&format!("host1-scrape{i}.snappy.bin")), capture(&format!("host1-scrape{i}.zstd.bin")));
        let message = snap::raw::Decoder::new().decompress_vec(&snappy).unwrap();
        let repacked = zstd::bulk::compress(&message, 1).unwrap();
        let expected = decoder.decode(&snappy, Encoding::Snappy, &wanted, ANY_TIME).unwrap().batches;
        // Every label of the encoding is believed less than the bytes.
        for (body, encoding) in [(&repacked, Encoding::Zstd), (&repacked, Encoding::Snappy), (&snappy, Encoding::Zstd)]
        {
            let got = decoder.decode(body, encoding, &wanted, ANY_TIME).unwrap();
            assert_eq!(got.batches, expected);
        }
        // The captured zstd bodies were scraped at another moment: same series, other samples.
        let other = decoder.decode(&zstd, Encoding::Zstd, &wanted, ANY_TIME).unwrap();
        let names = |d: &[outlierd::decode::SampleBatch]| d.iter().map(|b| b.series()).sum::<usize>();
        assert_eq!(names(&other.batches), names(&expected));
    }
}

// ---- the oracle -----------------------------------------------------------------------------------------------------------

/// What decode should make of a request, read off the prost types.
fn naive(request: &WriteRequest, wanted: &Wanted, bounds: TimeBounds) -> (Vec<Vec<Plain>>, DecodeStats) {
    let mut batches = vec![Vec::new(); SHARDS];
    let mut stats = DecodeStats { metadata: request.metadata.len() as u64, ..DecodeStats::default() };
    for series in &request.timeseries {
        let n = series.samples.len() as u64;
        stats.series += 1;
        stats.received_samples += n;
        stats.exemplars += series.exemplars.len() as u64;
        let metric = match value_of(series, "__name__") {
            Some(name) if !name.is_empty() => wanted.metric(name.as_bytes()),
            _ => {
                stats.invalid_series[InvalidSeries::NoName as usize] += 1;
                continue;
            }
        };
        let Some(metric) = metric else {
            stats.ignored_samples += n;
            continue;
        };
        let problem = series.labels.iter().enumerate().find_map(|(i, label)| against(wanted.label_limits(), i, label));
        let host = value_of(series, "instance").filter(|host| !host.is_empty());
        let (None, Some(host)) = (problem, host) else {
            stats.invalid_series[problem.unwrap_or(InvalidSeries::NoIdentity) as usize] += 1;
            stats.unidentified_samples += if problem.is_none() { n } else { 0 };
            continue;
        };
        let mut samples = Vec::new();
        for sample in &series.samples {
            match sample.timestamp {
                t if t > bounds.max_ms => stats.future_samples += 1,
                t if t < bounds.min_ms => stats.too_old_samples += 1,
                t => samples.push((t, sample.value.to_bits())),
            }
        }
        stats.kept_samples += samples.len() as u64;
        if !samples.is_empty() {
            let labels = series.labels.iter().map(|l| (l.name.clone(), l.value.clone())).collect();
            batches[shard_of(host, SHARDS)].push((labels, host.to_owned(), metric, samples));
        }
    }
    (batches, stats)
}

fn value_of<'a>(series: &'a TimeSeries, name: &str) -> Option<&'a str> {
    series.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
}

fn against(limits: LabelLimits, index: usize, label: &Label) -> Option<InvalidSeries> {
    if index >= limits.labels_per_series {
        Some(InvalidSeries::TooManyLabels)
    } else if label.name.is_empty() {
        Some(InvalidSeries::EmptyLabelName)
    } else if label.name.len() > limits.name_bytes || label.value.len() > limits.value_bytes {
        Some(InvalidSeries::LabelTooLong)
    } else {
        None
    }
}

fn assert_same(decoded: &Decoded, (batches, stats): &(Vec<Vec<Plain>>, DecodeStats)) {
    let DecodeStats { compressed_bytes, decompressed_bytes, histograms, .. } = decoded.stats;
    assert_eq!(decoded.stats, DecodeStats { compressed_bytes, decompressed_bytes, histograms, ..*stats });
    assert_eq!(&plain(decoded), batches);
}

fn label() -> impl Strategy<Value = Label> {
    let name = prop_oneof![
        Just("mode".to_owned()),
        Just("device".to_owned()),
        Just("a label".to_owned()),
        Just(String::new()),
        Just("x".repeat(40)),
        Just("instance".to_owned()),
        "[a-z]{1,12}",
    ];
    let value = prop_oneof![4 => "[a-z0-9é]{0,12}", 1 => Just("v".repeat(60)), 1 => Just("w".repeat(200))];
    (name, value).prop_map(|(name, value)| Label { name, value })
}

fn sample() -> impl Strategy<Value = Sample> {
    let value = prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(f64::from_bits(STALE_NAN_BITS)),
        any::<f64>(),
    ];
    let timestamp = prop_oneof![4 => 1_763_000_000_000..1_763_000_100_000_i64, 1 => Just(0_i64), 1 => any::<i64>()];
    (value, timestamp).prop_map(|(value, timestamp)| Sample { value, timestamp })
}

fn series() -> impl Strategy<Value = TimeSeries> {
    let named = |name: &'static str, values: &'static [&'static str]| {
        proptest::option::weighted(0.9, proptest::sample::select(values))
            .prop_map(move |value| value.map(|value| Label { name: name.to_owned(), value: value.to_owned() }))
    };
    let name = named("__name__", &["up", "up", "node_load1", "node_cpu_seconds_total", "unwanted", "node_load15", ""]);
    let host = named("instance", &["a:9100", "a:9100", "b:9100", "c", "dé", ""]);
    let exemplar = Just(Exemplar { labels: vec![], value: 1.0, timestamp: 5 });
    (
        name,
        proptest::collection::vec(label(), 0..6),
        host,
        proptest::collection::vec(sample(), 0..4),
        proptest::collection::vec(exemplar, 0..2),
        any::<bool>(),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(name, mut labels, host, samples, exemplars, shuffle, by)| {
            labels.extend(host);
            labels.splice(0..0, name);
            if shuffle && !labels.is_empty() {
                let by = by.index(labels.len());
                labels.rotate_left(by);
            }
            TimeSeries { labels, samples, exemplars }
        })
}

fn request() -> impl Strategy<Value = WriteRequest> {
    let metadata = MetricMetadata { metric_family_name: "up".into(), help: "h".into(), ..MetricMetadata::default() };
    (proptest::collection::vec(series(), 0..12), proptest::collection::vec(Just(metadata), 0..3))
        .prop_map(|(timeseries, metadata)| WriteRequest { timeseries, metadata })
}

/// Encodes a request as senders might: fields of a series in any order, repeated labels and samples interleaved, unknown fields.
/// `order` decides.
fn encode_oddly(request: &WriteRequest, mut order: u64) -> Vec<u8> {
    let mut next = |n: usize| {
        order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (order >> 33) as usize % n
    };
    let mut message = Vec::new();
    for series in &request.timeseries {
        let mut content = Vec::new();
        let (mut labels, mut samples) = (series.labels.iter(), series.samples.iter());
        let mut left = series.labels.len() + series.samples.len();
        while left > 0 {
            let taken = match next(5) {
                0 | 1 => labels.next().map(|label| field(&mut content, 1, &label.encode_to_vec())),
                2 | 3 => samples.next().map(|sample| field(&mut content, 2, &sample.encode_to_vec())),
                _ => {
                    content.extend(UNKNOWN[next(UNKNOWN.len())]);
                    None
                }
            };
            left -= usize::from(taken.is_some());
        }
        for exemplar in &series.exemplars {
            field(&mut content, 3, &exemplar.encode_to_vec());
        }
        field(&mut message, 1, &content);
        message.extend(UNKNOWN[next(UNKNOWN.len())]);
    }
    for metadata in &request.metadata {
        field(&mut message, 3, &metadata.encode_to_vec());
    }
    message
}

/// Fields that nobody has defined: varint, fixed64, bytes, fixed32, and one with a long number.
const UNKNOWN: [&[u8]; 5] = [
    &[0x48, 0xff, 0x01],
    &[0x49, 1, 2, 3, 4, 5, 6, 7, 8],
    &[0x4a, 3, 0x0a, 0x0b, 0x0c],
    &[0x4d, 1, 2, 3, 4],
    &[0xfa, 0xff, 0x03, 1, 9],
];

fn field(message: &mut Vec<u8>, number: u32, content: &[u8]) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, message);
    prost::encoding::encode_varint(content.len() as u64, message);
    message.extend_from_slice(content);
}

fn tight_limits() -> Limits {
    Limits { labels_per_series: 6, label_name_bytes: 30, label_value_bytes: 150, ..limits() }
}

const NAMES: [&str; 4] = ["node_load1", "up", "node_cpu_seconds_total", "never_sent"];

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn decodes_what_prost_reads(request in request(), order in any::<u64>(), odd in any::<bool>(), all in any::<bool>()) {
        let wanted = wanted(&NAMES, &tight_limits());
        let wanted = if all { wanted.all_names() } else { wanted };
        let bounds = TimeBounds { min_ms: 1_763_000_000_000, max_ms: 1_763_000_050_000 };
        let message = if odd { encode_oddly(&request, order) } else { request.encode_to_vec() };
        let request = WriteRequest::decode(&message[..]).unwrap();
        let mut decoder = Decoder::new();
        for bounds in [ANY_TIME, bounds] {
            let decoded = decoder.decode(&snappy(&message), Encoding::Snappy, &wanted, bounds).unwrap();
            assert_same(&decoded, &naive(&request, &wanted, bounds));
        }
    }

    #[test]
    fn changed_and_random_bytes_never_panic(
        request in request(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        random in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let everything = wanted(&NAMES, &limits()).all_names();
        let mut message = request.encode_to_vec();
        for (at, byte) in changes {
            if !message.is_empty() {
                let at = at.index(message.len());
                message[at] = byte;
            }
        }
        // What prost accepts is accepted; it refuses more: text that is not UTF-8 and the insides of metadata.
        let decoded = decode(&snappy(&message), &everything);
        if !message.iter().any(|byte| byte & 7 == 3) {
            assert!(decoded.is_ok() || WriteRequest::decode(&message[..]).is_err());
        }
        for bytes in [&message, &random] {
            let _ = decode(bytes, &everything);
            let _ = decode(&snappy(bytes), &everything);
            let _ = decode(&[&[0x28, 0xb5, 0x2f, 0xfd], &bytes[..]].concat(), &everything);
            let _ = parse_labels([bytes, &[]], everything.label_limits(), &mut Vec::new());
        }
    }

    #[test]
    fn parsed_labels_are_the_prost_labels(labels in proptest::collection::vec(label(), 0..8)) {
        let limits = wanted(&NAMES, &tight_limits()).label_limits();
        let mut names: Vec<_> = labels.iter().map(|label| &label.name).collect();
        names.sort();
        let problem = labels.iter().enumerate().find_map(|(i, label)| against(limits, i, label));
        let repeated = names.windows(2).any(|pair| pair[0] == pair[1]).then_some(InvalidSeries::DuplicateLabel);
        let mut expected: Vec<_> = labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect();
        expected.sort_unstable();
        expected.retain(|(_, value)| !value.is_empty());

        let entries = TimeSeries { labels: labels.clone(), ..TimeSeries::default() }.encode_to_vec();
        let mut parsed = Vec::new();
        match problem.or(repeated) {
            None => {
                parse_labels([&entries, &[]], limits, &mut parsed).unwrap();
                assert_eq!(parsed, expected);
            }
            Some(problem) => {
                assert_eq!(parse_labels([&entries, &[]], limits, &mut parsed), Err(problem));
                assert!(parsed.is_empty());
            }
        }
    }
}

proptest! {
    // Each case decodes once per byte.
    #![proptest_config(cases(24))]

    #[test]
    fn a_cut_message_is_refused_where_prost_refuses_it(request in request(), order in any::<u64>()) {
        let wanted = wanted(&NAMES, &limits());
        let message = encode_oddly(&request, order);
        let mut decoder = Decoder::new();
        for end in 0..message.len() {
            let cut = &message[..end];
            let decoded = decoder.decode(&snappy(cut), Encoding::Snappy, &wanted, ANY_TIME);
            assert_eq!(decoded.is_ok(), WriteRequest::decode(cut).is_ok(), "at {end} of {}", message.len());
        }
    }

    #[test]
    fn a_cut_body_never_panics(request in request(), zstd in any::<bool>()) {
        let wanted = wanted(&NAMES, &limits());
        let message = request.encode_to_vec();
        let body = if zstd { zstd::bulk::compress(&message, 1).unwrap() } else { snappy(&message) };
        let mut decoder = Decoder::new();
        for end in 1..body.len() {
            assert!(decoder.decode(&body[..end], Encoding::Snappy, &wanted, ANY_TIME).is_err(), "{end}");
        }
        assert!(decoder.decode(&body, Encoding::Snappy, &wanted, ANY_TIME).is_ok());
    }
}

// ---- by hand --------------------------------------------------------------------------------------------------------------

fn one_series(labels: &[(&[u8], &[u8])], rest: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        field(&mut label, 1, name);
        field(&mut label, 2, value);
        field(&mut content, 1, &label);
    }
    content.extend_from_slice(rest);
    let mut message = Vec::new();
    field(&mut message, 1, &content);
    message
}

/// A sample of 0.0 at 5 ms.
const SAMPLE: &[u8] = &[0x12, 2, 0x10, 5];

#[test]
fn bad_series_are_counted_by_reason() {
    let check = |labels: &[(&[u8], &[u8])], reason: InvalidSeries| {
        let good = one_series(&[(b"__name__", b"up"), (b"instance", b"a")], SAMPLE);
        let message = [good.clone(), one_series(labels, SAMPLE), good].concat();
        let decoded = decode(&snappy(&message), &wanted(&NAMES, &tight_limits())).unwrap();
        let mut expected = [0; 7];
        expected[reason as usize] = 1;
        assert_eq!((decoded.stats.invalid_series, decoded.stats.kept_samples), (expected, 2), "{}", reason.as_str());
    };
    check(&[(b"instance", b"a")], InvalidSeries::NoName);
    check(&[(b"__name__", b""), (b"instance", b"a")], InvalidSeries::NoName);
    check(&[(b"__name__", b"up")], InvalidSeries::NoIdentity);
    check(&[(b"__name__", b"up"), (b"instance", b"")], InvalidSeries::NoIdentity);
    check(&[(b"__name__", b"up"), (b"instance", b"\xff")], InvalidSeries::InvalidUtf8);
    check(&[(b"__name__", b"up"), (b"", b"x"), (b"instance", b"a")], InvalidSeries::EmptyLabelName);
    check(&[(b"__name__", b"up"), (b"instance", &[b'x'; 151])], InvalidSeries::LabelTooLong);
    check(&[(b"__name__", b"up"), (&[b'x'; 31], b"a"), (b"instance", b"a")], InvalidSeries::LabelTooLong);
    check(&[(b"__name__".as_slice(), b"up".as_slice()); 7], InvalidSeries::TooManyLabels);
}

#[test]
fn a_body_with_something_new_is_looked_at() {
    let wanted = wanted(&NAMES, &limits());
    let seen = Seen::default();
    let mut decoder = Decoder::new();
    let mut check = |message: &[u8], is_due: bool, expected: usize| {
        let mut n = 0;
        let mut visit = |_: &SeriesSummary<'_>| n += 1;
        let look = Look { seen: &seen, is_due, visit: &mut visit };
        let body = snappy(message);
        let decoded = decoder.decode_and_look(&body, Encoding::Snappy, &wanted, ANY_TIME, look);
        assert_eq!(decoded, decoder.decode(&body, Encoding::Snappy, &wanted, ANY_TIME));
        assert_eq!(n, expected, "{message:02x?}");
    };
    let known = one_series(&[(b"__name__", b"up"), (b"instance", b"a")], SAMPLE);
    check(&known, false, 0);
    check(&known, true, 1);
    // New names wherever a series has them, labels behind the samples included; then each is known.
    let split = one_series(&[(b"a", b"b")], &[SAMPLE, &one_series(&[(b"__name__", b"new_3")], &[])[2..]].concat());
    for new in [
        one_series(&[(b"__name__", b"new_1"), (b"instance", b"a")], SAMPLE),
        one_series(&[(b"instance", b"a"), (b"__name__", b"new_2")], SAMPLE),
        split,
        one_series(&[(b"__name__", b"up"), (b"host", b"a")], SAMPLE),
    ] {
        let message = [&known[..], &new].concat();
        check(&message, false, 2);
        check(&message, false, 0);
    }
    // A body that is refused is not.
    let new = one_series(&[(b"__name__", b"new_4")], SAMPLE);
    check(&[&new[..], &[0x0b]].concat(), true, 0);
    check(&new, false, 1);
}

#[test]
fn parse_labels_refuses_what_only_it_looks_at() {
    let check = |labels: &[(&[u8], &[u8])], expected: InvalidSeries| {
        let message = one_series(labels, &[]);
        let entries = &message[2..];
        assert_eq!(
            parse_labels([entries, &[]], wanted(&NAMES, &limits()).label_limits(), &mut Vec::new()),
            Err(expected)
        );
    };
    check(&[(b"a", b"\xff")], InvalidSeries::InvalidUtf8);
    check(&[(b"\xff", b"a")], InvalidSeries::InvalidUtf8);
    check(&[(b"a", b"1"), (b"b", b""), (b"a", b"2")], InvalidSeries::DuplicateLabel);
}

#[test]
fn histograms_alone_are_counted_and_no_error() {
    let message = one_series(&[(b"__name__", b"up"), (b"instance", b"a")], &[0x22, 2, 0x08, 1, 0x22, 0]);
    let decoded = decode(&snappy(&message), &wanted(&NAMES, &limits())).unwrap();
    assert_eq!((decoded.stats.histograms, decoded.stats.received_samples), (2, 0));
    assert_eq!((decoded.stats.invalid_series, decoded.batches.iter().all(|b| b.is_empty())), ([0; 7], true));
}

#[test]
fn malformed_messages_are_refused_whole() {
    let good = one_series(&[(b"__name__", b"up"), (b"instance", b"a")], SAMPLE);
    let check = |bad: &[u8]| {
        let error = decode(&snappy(&[&good[..], bad].concat()), &wanted(&NAMES, &limits())).unwrap_err();
        assert!(matches!(error, DecodeError::Protobuf { at, .. } if at == good.len()), "{bad:02x?}: {error}");
    };
    check(&[0x0b]); // a group
    check(&[0x0c]);
    check(&[0x0e]);
    check(&[0x0f]);
    check(&[0x08, 1]); // series as a varint
    check(&[0x1d, 1, 2, 3, 4]); // metadata as fixed32
    check(&[0x02, 0]); // field number 0
    check(&[0x0a, 5, 0x0a, 3]); // beyond the end
    check(&[0x0a, 2, 0x0a, 3]); // a label beyond its series
    check(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]);
    check(&one_series(&[(b"__name__", b"up"), (b"instance", b"a")], &[0x12, 2, 0x08, 5])); // value as a varint
    check(&one_series(&[(b"__name__", b"unwanted"), (b"instance", b"a")], &[0x10, 5])); // sample as a varint
}

#[test]
fn an_empty_body_has_no_samples() {
    for encoding in [Encoding::Snappy, Encoding::Zstd] {
        let decoded = Decoder::new().decode(&[], encoding, &wanted(&NAMES, &limits()), ANY_TIME).unwrap();
        assert_eq!((decoded.stats, decoded.batches.len()), (DecodeStats::default(), SHARDS));
    }
}

#[test]
fn a_decoder_forgets_a_refused_body() {
    let wanted = wanted(&NAMES, &limits());
    let good = one_series(&[(b"__name__", b"up"), (b"instance", b"a")], SAMPLE);
    let mut decoder = Decoder::new();
    let first = decoder.decode(&snappy(&good), Encoding::Snappy, &wanted, ANY_TIME);
    assert!(decoder.decode(&snappy(&[&good[..], &[0x0b]].concat()), Encoding::Snappy, &wanted, ANY_TIME).is_err());
    let cut = &zstd::bulk::compress(&good, 1).unwrap()[..12];
    assert!(decoder.decode(cut, Encoding::Zstd, &wanted, ANY_TIME).is_err());
    assert_eq!(decoder.decode(&snappy(&good), Encoding::Snappy, &wanted, ANY_TIME), first);
}

#[test]
fn threads_may_pass_decoders_on_and_share_what_is_wanted() {
    fn send<T: Send>() {}
    fn sync<T: Send + Sync>() {}
    send::<Decoder>();
    send::<Decoded>();
    sync::<Wanted>();
}

#[test]
fn metrics_add_up() {
    let registry = prometheus::Registry::new();
    let metrics = outlierd::decode::Metrics::new(&registry).unwrap();
    let message = [
        one_series(&[(b"__name__", b"up"), (b"instance", b"a")], SAMPLE),
        one_series(&[(b"__name__", b"unwanted"), (b"instance", b"a")], SAMPLE),
        one_series(&[(b"__name__", b"up")], SAMPLE),
    ]
    .concat();
    let stats = decode(&snappy(&message), &wanted(&NAMES, &limits())).unwrap().stats;
    metrics.observe(&stats);
    metrics.observe_invalid(InvalidSeries::DuplicateLabel, 2);
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        "outlierd_samples_received_total 3",
        "outlierd_samples_kept_total 1",
        "outlierd_samples_ignored_total 1",
        "outlierd_series_invalid_total{reason=\"no_identity\"} 1",
        "outlierd_samples_unused_total{reason=\"no_identity\"} 1",
        "outlierd_samples_unused_total{reason=\"no_feature\"} 1",
        "outlierd_samples_unused_total{reason=\"no_host\"} 0",
        "outlierd_series_invalid_total{reason=\"duplicate_label\"} 2",
        "outlierd_samples_rejected_total{reason=\"future\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
    assert!(outlierd::decode::Metrics::new(&registry).is_err());
}
