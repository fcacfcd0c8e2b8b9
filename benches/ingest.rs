//! Whole ingest on one core: decompress, walk, filter, route, apply, close steps; and memory per host. `cargo bench --bench ingest`.
//!
//! A fleet of hosts like the one in the captures (995 series each, the built-in preset), scraped every 15 s, in vmagent's blocks
//! of 10,000 samples. Counts CPU time of this thread; making the bodies is not counted.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a bench that cannot start says why by panicking

use std::path::Path;
use std::sync::Arc;

use outlierd::base::proto::prometheus::WriteRequest;
use outlierd::config::{Config, Limits};
use outlierd::decode::{Decoded, Decoder, Encoding, Look, Seen, TimeBounds, Wanted};
use outlierd::engine::{Engine, EngineConfig, EngineCounter, Input, Output};
use outlierd::setup::Setup;
use prost::Message;

const SCRAPE_MS: i64 = 15_000;
const BLOCK_SAMPLES: usize = 10_000;
/// Of so many blocks one is unpacked by itself.
const SNAP_EVERY: u64 = 16;
const START_MS: i64 = 1_795_330_260_000;
const ANY_TIME: TimeBounds = TimeBounds { min_ms: 0, max_ms: i64::MAX };
/// The identity label's value in the captures.
const CAPTURED_HOST: &str = "host-00000.dc1.example.com:9100";

fn main() {
    // `cargo test --benches` runs this too: then one round on a few hosts.
    let is_test = !std::env::args().any(|arg| arg == "--bench");
    if is_test {
        return run(2, 2);
    }
    // `HOSTS=1000 SCRAPES=40` for a profile of one case, with `INTERVAL_MS=15000` as where `ingest.interval` says it.
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    if let Some(hosts) = number("HOSTS") {
        return run(hosts, number("SCRAPES").unwrap_or(40));
    }
    println!("hosts  scrapes  ns/sample: first scrape, later (decode + engine)  crate snap alone  rows  KiB/host");
    for (hosts, scrapes) in [(1_000, 260), (10_000, 24)] {
        // A process each: memory that one has given back would hide what the next one takes.
        let mut case = std::process::Command::new(std::env::current_exe().unwrap());
        case.arg("--bench").env("HOSTS", hosts.to_string()).env("SCRAPES", scrapes.to_string());
        assert!(case.status().unwrap().success());
    }
}

/// One series of the captured host: its label entries around the host's name, its value, and by how much it moves per scrape.
struct Series {
    before: Vec<u8>,
    after: Vec<u8>,
    value: f64,
    change: f64,
}

fn run(hosts: usize, scrapes: usize) {
    let mut fleet = Fleet::new(hosts);
    let setup = Setup::new(Config::default()).unwrap();
    let limits = Limits::default();
    let names = setup.plan.metrics.iter().map(String::as_str);
    let wanted = Wanted::new(names, "instance", 1, &limits).unwrap();
    let mut config: EngineConfig = setup.engine();
    config.limits.hosts = hosts;
    config.interval_ms = std::env::var("INTERVAL_MS").ok().and_then(|value| value.parse().ok());
    config.plan = Arc::clone(&setup.plan);
    let (mut decoder, seen) = (Decoder::new(), Seen::default());
    let mut out = Output::default();
    // Once through all buffers, so that they are there.
    let (mut message, mut snap_ns, mut n_blocks) = (vec![1; 4 << 20], 0, 0_u64);
    fleet.scrape(0, |block| {
        let decoded = decode(&mut decoder, block, &wanted, &seen);
        decoder.recycle(decoded.batches);
    });
    let resident_before = resident_bytes();
    let mut engine = Engine::new(config);
    let (mut first, mut decode_ns, mut engine_ns, mut samples, mut rows) = (0, 0, 0, 0, 0);
    for scrape in 0..scrapes {
        fleet.scrape(scrape, |block| {
            let started = cpu_ns();
            let decoded = decode(&mut decoder, block, &wanted, &seen);
            let walked = cpu_ns();
            let now_ms = START_MS + (scrape as i64 + 1) * SCRAPE_MS;
            engine.apply(Input::Samples { batch: &decoded.batches[0], now_ms }, &mut out);
            decoder.recycle(decoded.batches);
            rows += out.counts.get(EngineCounter::RowClosed);
            out.clear();
            let applied = cpu_ns();
            if scrape == 0 {
                first += applied - started;
            } else {
                decode_ns += walked - started;
                engine_ns += applied - walked;
                samples += decoded.stats.received_samples;
            }
            // Now and then, so that it disturbs the caches little: what the same block costs to unpack.
            n_blocks += 1;
            if n_blocks.is_multiple_of(SNAP_EVERY) {
                let started = cpu_ns();
                std::hint::black_box(snap::raw::Decoder::new().decompress(block, &mut message).unwrap());
                snap_ns += cpu_ns() - started;
            }
        });
    }
    let per_host = (resident_bytes() - resident_before) as f64 / hosts as f64 / 1024.0;
    let per = |ns: u64| ns as f64 / samples as f64;
    println!(
        "{hosts:5}  {scrapes:7}  {:.0}, {:.1} ({:.1} + {:.1})  {:.1}  {rows}  {per_host:.1}",
        first as f64 / (hosts * fleet.series.len()) as f64,
        per(decode_ns + engine_ns),
        per(decode_ns),
        per(engine_ns),
        snap_ns as f64 / (n_blocks / SNAP_EVERY) as f64 / BLOCK_SAMPLES as f64,
    );
}

/// As the service does it, but for bodies that it looks at because half a minute has passed.
fn decode(decoder: &mut Decoder, block: &[u8], wanted: &Wanted, seen: &Seen) -> Decoded {
    let look = Look { seen, is_due: false, visit: &mut |_| {} };
    decoder.decode_and_look(block, Encoding::Snappy, wanted, ANY_TIME, look).unwrap()
}

struct Fleet {
    hosts: usize,
    series: Vec<Series>,
    /// The message and the body of the block that is being made.
    message: Vec<u8>,
    body: Vec<u8>,
}

impl Fleet {
    fn new(hosts: usize) -> Self {
        let read = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures").join(name);
            let message = snap::raw::Decoder::new().decompress_vec(&std::fs::read(path).unwrap()).unwrap();
            WriteRequest::decode(message.as_slice()).unwrap()
        };
        let (now, later) = (read("host995-scrape0.snappy.bin"), read("host995-scrape1.snappy.bin"));
        let series = now.timeseries.iter().zip(&later.timeseries).map(|(now, later)| {
            assert_eq!(now.labels, later.labels);
            let at = now.labels.iter().position(|l| l.value == CAPTURED_HOST).unwrap();
            let encode = |labels: &[outlierd::base::proto::prometheus::Label]| {
                let mut bytes = Vec::new();
                for label in labels {
                    field(&mut bytes, 0x0a, &label.encode_to_vec());
                }
                bytes
            };
            // The captures are 3 s apart.
            let change = (later.samples[0].value - now.samples[0].value) * (SCRAPE_MS as f64 / 3_000.0);
            let value = now.samples[0].value;
            Series { before: encode(&now.labels[..at]), after: encode(&now.labels[at + 1..]), value, change }
        });
        Self { hosts, series: series.collect(), message: Vec::with_capacity(4 << 20), body: vec![0; 4 << 20] }
    }

    /// Gives the blocks of one scrape of every host to `send`; hosts are scraped one after the other over the interval. Each
    /// is made just before, so that it is as near to the core as one that was just read from a socket.
    fn scrape(&mut self, scrape: usize, mut send: impl FnMut(&[u8])) {
        let Self { hosts, series, message, body } = self;
        let (mut encoder, mut series_bytes, mut n) = (snap::raw::Encoder::new(), Vec::new(), 0);
        let mut finish = |message: &mut Vec<u8>| {
            let len = encoder.compress(message, body).unwrap();
            send(&body[..len]);
            message.clear();
        };
        for host in 0..*hosts {
            let name = format!("host-{host:05}.dc1.example.com:9100");
            let label =
                outlierd::base::proto::prometheus::Label { name: "instance".into(), value: name }.encode_to_vec();
            let t_ms = START_MS + scrape as i64 * SCRAPE_MS + host as i64 * SCRAPE_MS / *hosts as i64;
            for series in &*series {
                series_bytes.clear();
                series_bytes.extend_from_slice(&series.before);
                field(&mut series_bytes, 0x0a, &label);
                series_bytes.extend_from_slice(&series.after);
                let value = series.value + series.change * scrape as f64;
                let sample = outlierd::base::proto::prometheus::Sample { value, timestamp: t_ms };
                field(&mut series_bytes, 0x12, &sample.encode_to_vec());
                field(message, 0x0a, &series_bytes);
                n += 1;
                if n == BLOCK_SAMPLES {
                    finish(message);
                    n = 0;
                }
            }
        }
        if n > 0 {
            finish(message);
        }
    }
}

fn field(out: &mut Vec<u8>, key: u8, content: &[u8]) {
    out.push(key);
    prost::encoding::encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// CPU time of this thread, which other guests and threads don't move as they move the clock.
fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
