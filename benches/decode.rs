//! Decode of real vmagent blocks end to end: decompress, walk, filter, batches. `cargo bench --bench decode`.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a bench that cannot start says why by panicking

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outlierd::config::{Config, Limits};
use outlierd::decode::{Decoder, Encoding, Look, Seen, TimeBounds, Wanted};
use outlierd::setup::Setup;

/// 99 of the 30,000 samples.
const FEW: &[&str] = &["node_load1", "node_memory_MemAvailable_bytes", "up"];

const ANY_TIME: TimeBounds = TimeBounds { min_ms: 0, max_ms: i64::MAX };

fn capture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures").join(name)).unwrap()
}

fn decode(c: &mut Criterion) {
    let blocks: Vec<_> = (0..3).map(|i| capture(&format!("fleet200-block{i}.snappy.bin"))).collect();
    let as_zstd: Vec<_> = blocks
        .iter()
        .map(|block| zstd::bulk::compress(&snap::raw::Decoder::new().decompress_vec(block).unwrap(), 1).unwrap())
        .collect();
    let setup = Setup::new(Config::default()).unwrap();
    let names = setup.plan.metrics.iter().map(String::as_str);
    let preset = |shards| Wanted::new(names.clone(), "instance", shards, &Limits::default()).unwrap();
    let few = Wanted::new(FEW.iter().copied(), "instance", 4, &Limits::default()).unwrap();
    let all = Wanted::new([], "instance", 4, &Limits::default()).unwrap().all_names();

    let mut group = c.benchmark_group("fleet200");
    let mut run = |name: &str, blocks: &[Vec<u8>], encoding, wanted: &Wanted, is_due: bool| {
        let (mut decoder, seen) = (Decoder::new(), Seen::default());
        let mut decode = |block: &[u8], is_due: bool| {
            let look = Look { seen: &seen, is_due, visit: &mut |series| _ = black_box(*series) };
            decoder.decode_and_look(block, encoding, wanted, ANY_TIME, look).unwrap()
        };
        let samples = blocks.iter().map(|block| decode(block, false).stats.received_samples).sum();
        group.throughput(Throughput::Elements(samples));
        group.bench_function(name, |b| {
            b.iter(|| {
                for block in blocks {
                    black_box(decode(black_box(block), is_due));
                }
            });
        });
    };
    run("preset/snappy/4 shards", &blocks, Encoding::Snappy, &preset(4), false);
    run("preset/snappy/1 shard", &blocks, Encoding::Snappy, &preset(1), false);
    run("preset/snappy/1 shard, looked at", &blocks, Encoding::Snappy, &preset(1), true);
    run("preset/zstd/4 shards", &as_zstd, Encoding::Zstd, &preset(4), false);
    run("few/snappy/4 shards", &blocks, Encoding::Snappy, &few, false);
    run("all/snappy/4 shards", &blocks, Encoding::Snappy, &all, false);
    group.finish();
    c.bench_function("fleet200/snappy alone", |b| {
        let mut buffer = vec![0; 2 << 20];
        b.iter(|| {
            for block in &blocks {
                black_box(snap::raw::Decoder::new().decompress(black_box(block), &mut buffer).unwrap());
            }
        });
    });
}

criterion_group!(benches, decode);
criterion_main!(benches);
