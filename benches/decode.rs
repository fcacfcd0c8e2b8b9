//! Decode of real vmagent blocks end to end: decompress, walk, filter, batches. `cargo bench --bench decode`.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a bench that cannot start says why by panicking

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outlierd::config::Limits;
use outlierd::decode::{Decoder, Encoding, TimeBounds, Wanted};

/// What a node_exporter preset reads: 10,871 of the 30,000 samples.
const PRESET: &[&str] = &[
    "node_cpu_seconds_total",
    "node_load1",
    "node_load5",
    "node_load15",
    "node_memory_MemTotal_bytes",
    "node_memory_MemFree_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_Shmem_bytes",
    "node_memory_SwapTotal_bytes",
    "node_memory_SwapFree_bytes",
    "node_disk_io_time_seconds_total",
    "node_disk_io_time_weighted_seconds_total",
    "node_disk_reads_completed_total",
    "node_disk_writes_completed_total",
    "node_disk_read_bytes_total",
    "node_disk_written_bytes_total",
    "node_disk_read_time_seconds_total",
    "node_disk_write_time_seconds_total",
    "node_vmstat_pswpin",
    "node_vmstat_pswpout",
    "node_network_receive_bytes_total",
    "node_network_receive_packets_total",
    "node_network_receive_errs_total",
    "node_network_receive_drop_total",
    "node_network_transmit_bytes_total",
    "node_network_transmit_packets_total",
    "node_network_transmit_errs_total",
    "node_network_transmit_drop_total",
    "node_sockstat_TCP_tw",
    "node_sockstat_TCP_inuse",
    "node_netstat_Tcp_ActiveOpens",
    "node_netstat_Tcp_CurrEstab",
    "node_netstat_Tcp_InErrs",
    "node_netstat_Tcp_InSegs",
    "node_netstat_Tcp_OutRsts",
    "node_netstat_Tcp_OutSegs",
    "node_netstat_Tcp_PassiveOpens",
    "node_netstat_Tcp_RetransSegs",
    "node_netstat_TcpExt_ListenOverflows",
    "node_netstat_TcpExt_TCPTimeouts",
    "node_netstat_Udp_InDatagrams",
    "node_netstat_Udp_OutDatagrams",
    "node_netstat_Udp_RcvbufErrors",
    "node_netstat_Udp_SndbufErrors",
    "node_context_switches_total",
    "node_forks_total",
    "node_procs_blocked",
    "node_filefd_allocated",
    "node_filefd_maximum",
    "up",
];

/// 99 of the 30,000 samples.
const FEW: &[&str] = &["node_load1", "node_memory_MemAvailable_bytes", "up"];

const ANY_TIME: TimeBounds = TimeBounds { min_ms: 0, max_ms: i64::MAX };

fn limits() -> Limits {
    Limits::default()
}

fn capture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures").join(name)).unwrap()
}

fn decode(c: &mut Criterion) {
    let blocks: Vec<_> = (0..3).map(|i| capture(&format!("fleet200-block{i}.snappy.bin"))).collect();
    let as_zstd: Vec<_> = blocks
        .iter()
        .map(|block| zstd::bulk::compress(&snap::raw::Decoder::new().decompress_vec(block).unwrap(), 1).unwrap())
        .collect();
    let preset = |shards| Wanted::new(PRESET.iter().copied(), "instance", shards, &limits()).unwrap();
    let few = Wanted::new(FEW.iter().copied(), "instance", 4, &limits()).unwrap();
    let all = Wanted::new([], "instance", 4, &limits()).unwrap().all_names();

    let mut group = c.benchmark_group("fleet200");
    let mut run = |name: &str, blocks: &[Vec<u8>], encoding, wanted: &Wanted| {
        let mut decoder = Decoder::new();
        let mut samples = 0;
        for block in blocks {
            samples += decoder.decode(block, encoding, wanted, ANY_TIME).unwrap().stats.received_samples;
        }
        group.throughput(Throughput::Elements(samples));
        group.bench_function(name, |b| {
            b.iter(|| {
                for block in blocks {
                    black_box(decoder.decode(black_box(block), encoding, wanted, ANY_TIME).unwrap());
                }
            });
        });
    };
    run("preset/snappy/4 shards", &blocks, Encoding::Snappy, &preset(4));
    run("preset/snappy/1 shard", &blocks, Encoding::Snappy, &preset(1));
    run("preset/zstd/4 shards", &as_zstd, Encoding::Zstd, &preset(4));
    run("few/snappy/4 shards", &blocks, Encoding::Snappy, &few);
    run("all/snappy/4 shards", &blocks, Encoding::Snappy, &all);
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
