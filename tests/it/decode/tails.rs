//! Series with labels at the end in common, which decode recognises by one comparison.
use super::*;

#[test]
fn a_name_that_stands_behind_other_labels_is_read_every_time() {
    let label = |name: &str, value: &str| Label { name: name.into(), value: value.into() };
    let sample = |k: i64| Sample { value: 1.0, timestamp: 1_763_000_000_000 + k };
    let labels = [label("Environment", "prod"), label("__name__", "node_load1"), label("instance", "a")];
    let series = |k: i64| TimeSeries { labels: labels.to_vec(), samples: vec![sample(k)], exemplars: vec![] };
    let request = WriteRequest { timeseries: (0..5).map(series).collect(), metadata: vec![] };
    let wanted = wanted(&NAMES, &limits());
    let decoded = decode(&snappy(&request.encode_to_vec()), &wanted).unwrap();
    assert_same(&decoded, &naive(&request, &wanted, ANY_TIME));
}

/// Series of a few targets that follow each other in runs, so that they have labels at the end in common.
fn runs() -> impl Strategy<Value = WriteRequest> {
    let label = |name: &'static str, values: &'static [&'static str]| {
        proptest::sample::select(values).prop_map(move |value| Label { name: name.into(), value: value.into() })
    };
    let pool = prop_oneof![
        4 => label("__name__", &["node_load1", "up", "unwanted"]),
        3 => label("instance", &["a", "b"]),
        2 => label("job", &["node", "\n\u{3}\n\u{1}x\u{12}"]),
        2 => label("mode", &["idle", ""]),
        1 => label("cpu", &["0", "1"]),
        1 => label("", &["x"]),
    ];
    let shapes = proptest::collection::vec(proptest::collection::vec(pool, 1..6), 1..4);
    let order = proptest::collection::vec((any::<prop::sample::Index>(), sample(), any::<bool>()), 1..30);
    (shapes, order).prop_map(|(shapes, order)| {
        let series = |(shape, sample, short): (prop::sample::Index, Sample, bool)| {
            let labels = &shapes[shape.index(shapes.len())];
            TimeSeries { labels: labels[usize::from(short)..].to_vec(), samples: vec![sample], exemplars: vec![] }
        };
        WriteRequest { timeseries: order.into_iter().map(series).collect(), metadata: vec![] }
    })
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn series_with_common_labels_at_the_end_decode_as_prost_reads_them(request in runs(), all in any::<bool>()) {
        let wanted = wanted(&NAMES, &Limits { labels_per_series: 4, ..limits() });
        let wanted = if all { wanted.all_names() } else { wanted };
        let message = request.encode_to_vec();
        // Once more through the wire: a zero loses its sign there.
        let request = WriteRequest::decode(&message[..]).unwrap();
        let decoded = decode(&snappy(&message), &wanted).unwrap();
        assert_same(&decoded, &naive(&request, &wanted, ANY_TIME));
    }
}
