//! The shape of the source tree: sizes, file heads, and which module may know what. Every message says what to do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod circles;

use std::fmt::Write as _;
use std::path::Path;

const LINES_MAX: usize = 600;

/// Files under one of `within` (and under none of `except`) must not contain one of `banned`. Paths are relative to the
/// repository and match as prefixes.
struct Ban {
    within: &'static [&'static str],
    except: &'static [&'static str],
    banned: &'static [&'static str],
    /// Whether comments count too.
    in_comments: bool,
    advice: &'static str,
}

/// The parts that compute: same input, same output.
const PURE: &[&str] = &[
    "src/promql",
    "src/engine",
    "src/offline/evaluate",
    "src/results/events/store.rs",
    "src/detect",
    "src/config/silence/",
];

const BANS: &[Ban] = &[
    Ban {
        within: PURE,
        except: &[],
        banned: &[
            "tokio",
            "std::thread",
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::sync::Mutex",
            "std::sync::RwLock",
            "std::sync::mpsc",
            "crossbeam",
            "reqwest",
            "tracing::",
        ],
        in_comments: false,
        advice: "this part is pure: give it the data, and keep threads, locks, files and the network outside",
    },
    Ban {
        within: PURE,
        except: &[],
        banned: &["std::time", "SystemTime", "Instant::now"],
        in_comments: false,
        advice: "this part knows no clock: take the time as an argument (TimestampMs)",
    },
    Ban {
        within: &["src/engine"],
        except: &[],
        banned: &["Decoder", "Encoding", "Decompressor", "Wanted"],
        in_comments: false,
        advice: "of decode the engine may use only batches and labels: bytes are decoded before it",
    },
    Ban {
        within: &["src/detect/host_detector.rs", "src/detect/verdict.rs", "src/config/silence/"],
        except: &[],
        banned: &[
            "crate::config",
            "crate::serve::shard",
            "crate::results",
            "crate::serve::http",
            "crate::cmd",
            "crate::sim::demo",
            "crate::decode",
        ],
        in_comments: false,
        advice: "the verdict is a formula: give it numbers",
    },
    Ban {
        within: &["src/offline/history"],
        except: &["src/offline/history/source"],
        banned: &["crate::base::clock", "std::time", "tokio", "reqwest"],
        in_comments: false,
        advice: "the time is the samples' own, and only src/offline/history/source knows the network",
    },
    Ban {
        within: &["src/output/push/backoff.rs", "src/output/push/series.rs"],
        except: &[],
        banned: &["tokio", "crate::base::clock", "std::time::Instant", "reqwest"],
        in_comments: false,
        advice: "this part is pure: time is an argument, and remote_write.rs alone knows the network",
    },
    Ban {
        within: &["src"],
        except: &["src/model/session.rs"],
        banned: &["ort::"],
        in_comments: false,
        advice: "only src/model/session.rs names ort, so that the runtime can be replaced: add what you need there",
    },
    Ban {
        within: &["src"],
        except: &["src/serve/http"],
        banned: &["warp::"],
        in_comments: false,
        advice: "only src/serve/http names warp: put the route there",
    },
    Ban {
        within: &["src"],
        except: &["src/results"],
        banned: &["dashmap"],
        in_comments: false,
        advice: "only src/results/mod.rs has a DashMap, for readers: give the state one owner instead",
    },
    Ban {
        within: &["src", "tests"],
        except: &["tests/it/tidy.rs", "src/base/proto"],
        banned: &["todo!", "unimplemented!", "FIXME", "TODO", "XXX"],
        in_comments: true,
        advice: "finish it, or open an issue and say in the code what holds today",
    },
    Ban {
        within: &["tests", "src"],
        except: &["tests/it/tidy.rs", "src/base/proto"],
        banned: &["#[ignore"],
        in_comments: false,
        advice: "a test runs or does not exist",
    },
];

#[test]
fn no_file_knows_what_it_must_not() {
    let mut faults = String::new();
    for (path, text) in sources() {
        let concerns = |paths: &[&str]| paths.iter().any(|prefix| path.starts_with(prefix));
        for ban in BANS.iter().filter(|ban| concerns(ban.within) && !concerns(ban.except)) {
            for (number, line) in text.lines().enumerate() {
                let code = if line.trim_start().starts_with("//") && !ban.in_comments { "" } else { line };
                for banned in ban.banned.iter().filter(|banned| names(code, banned)) {
                    let _ = writeln!(faults, "{path}:{}: `{banned}`: {}", number + 1, ban.advice);
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

/// The rooms of `src` from the ground up, with what each may import. A room that knows another one stands below it, so there is no circle.
const ROOMS: &[(&str, &[&str])] = &[
    ("series", &[]),
    ("base", &[]),
    ("base/bounds", &[]),
    ("base/fnv", &[]),
    ("base/random", &[]),
    ("base/remap", &[]),
    ("base/outbound", &[]),
    ("base/proto", &[]),
    ("base/storage", &[]),
    ("base/write_request", &["base/proto"]),
    ("base/clock", &["series"]),
    ("promql", &["series"]),
    ("config/silence", &["promql", "series"]),
    ("config", &["base/bounds", "base/outbound", "config/silence", "series"]),
    ("decode", &["config", "series"]),
    ("engine", &["base/bounds", "base/remap", "config/silence", "decode", "promql", "series"]),
    ("model", &["base/proto", "base/remap", "engine", "series"]),
    ("detect", &["base/remap", "config", "engine", "model", "promql", "series"]),
    ("results", &["base/remap", "config", "detect", "engine", "promql", "series"]),
    ("results/events", &["base/clock", "base/fnv", "base/storage", "engine", "results", "series"]),
    ("setup", &["base/clock", "config", "config/silence", "decode", "detect", "engine", "model", "promql", "results"]),
    ("results/feedback", &["base/storage", "detect", "results/events", "series"]),
    ("results/silences", &["base/storage", "config/silence", "promql", "series"]),
    ("output", &[]),
    (
        "output/push",
        &[
            "base/clock",
            "base/outbound",
            "base/proto",
            "base/random",
            "base/write_request",
            "config",
            "detect",
            "engine",
            "results",
            "series",
        ],
    ),
    ("output/webhook", &["base/clock", "base/outbound", "config", "output/push", "results/events", "series"]),
    ("serve", &[]),
    (
        "serve/scorer",
        &["base/clock", "detect", "engine", "model", "output/push", "results", "results/events", "results/feedback"],
    ),
    (
        "serve/shard",
        &[
            "base/bounds",
            "config/silence",
            "decode",
            "engine",
            "promql",
            "results",
            "results/silences",
            "series",
            "serve/scorer",
        ],
    ),
    ("serve/silences", &["config/silence", "results/silences", "series", "serve/shard"]),
    ("serve/ingest", &["base/clock", "config", "decode", "promql", "series", "serve/shard"]),
    (
        "serve/http",
        &[
            "base/clock",
            "config",
            "decode",
            "engine",
            "promql",
            "results",
            "results/events",
            "results/feedback",
            "results/silences",
            "series",
            "serve/ingest",
            "serve/silences",
        ],
    ),
    (
        "serve/service",
        &[
            "base/clock",
            "config",
            "decode",
            "detect",
            "engine",
            "model",
            "output/push",
            "output/webhook",
            "results",
            "results/events",
            "results/feedback",
            "results/silences",
            "serve/http",
            "serve/ingest",
            "serve/scorer",
            "serve/shard",
            "serve/silences",
            "setup",
        ],
    ),
    ("offline", &[]),
    (
        "offline/history",
        &[
            "base/outbound",
            "base/proto",
            "base/storage",
            "config",
            "config/silence",
            "decode",
            "engine",
            "promql",
            "series",
            "setup",
        ],
    ),
    ("offline/labelled", &["series"]),
    ("offline/evaluate", &["detect", "engine", "offline/labelled", "series"]),
    (
        "offline/train",
        &[
            "base/bounds",
            "base/fnv",
            "base/random",
            "config",
            "detect",
            "engine",
            "model",
            "offline/labelled",
            "series",
            "setup",
        ],
    ),
    ("sim", &[]),
    ("sim/demo", &["base/proto", "base/random", "base/write_request", "promql", "series"]),
    ("sim/playback", &["base/proto", "config", "offline/labelled", "series", "serve/service", "sim/demo"]),
    (
        "cmd",
        &[
            "base/bounds",
            "base/clock",
            "base/outbound",
            "base/storage",
            "config",
            "decode",
            "engine",
            "model",
            "offline/evaluate",
            "offline/history",
            "offline/labelled",
            "offline/train",
            "promql",
            "series",
            "serve/http",
            "serve/service",
            "setup",
            "sim/demo",
            "sim/playback",
        ],
    ),
];

#[test]
fn rooms_know_only_those_below_them() {
    for (i, (room, may)) in ROOMS.iter().enumerate() {
        let is_below = |other: &str| ROOMS[..i].iter().any(|(room, _)| *room == other);
        let above: Vec<&&str> = may.iter().filter(|other| !is_below(other)).collect();
        assert!(above.is_empty(), "ROOMS: {room} may import {above:?}, which stand above it: that could be a circle");
    }
    let sources = sources().into_iter().filter(|(path, _)| path.starts_with("src/"));
    let faults: String = sources.map(|(path, text)| foreign_imports(&path, &text)).collect();
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let circle = circles::circle(&sources());
    assert!(circle.is_none(), "{circle:?}: put what both need into a third file that knows neither");
}

#[test]
fn an_import_of_a_room_above_is_found() {
    let check =
        |path: &str, text: &str, expected: &str| assert_eq!(foreign_imports(path, text), expected, "{path}: {text}");
    check(
        "src/engine/host.rs",
        "use crate::promql::eval::Vector;\nuse crate::series::Sample;\nuse crate::engine::row::Row;",
        "",
    );
    check(
        "src/engine/host.rs",
        "// crate::serve::service is told\n#[cfg(test)]\nmod tests { use crate::serve::service::Plans; }",
        "",
    );
    let told = "engine may not import serve/service: it stands below it. Hand it what it needs, or move the code that needs both into a room that \
                may import both (ROOMS in tests/it/tidy.rs)\n";
    check("src/engine/host.rs", "\nuse crate::serve::service::Plans;", &format!("src/engine/host.rs:2: {told}"));
    check("src/engine/mod.rs", "use crate::{promql::Plan, serve::{service}};", &format!("src/engine/mod.rs:1: {told}"));
    check("src/engine/mod.rs", "let a = crate::serve::service::run();", &format!("src/engine/mod.rs:1: {told}"));
    let unknown = "src/garage/car.rs: garage/car is in no room of the table ROOMS in tests/it/tidy.rs: say there what it may import\n";
    check("src/garage/car.rs", "use crate::promql::Plan;", unknown);
}

/// A line for each import of another room in the file at `path` that its own may not know. Tests within the file may import any.
fn foreign_imports(path: &str, text: &str) -> String {
    let mut faults = String::new();
    let Some(module) = circles::module_of(path) else { return faults };
    let Some((room, may)) = room_of(&module) else {
        let room = module.join("/");
        return format!(
            "{path}: {room} is in no room of the table ROOMS in tests/it/tidy.rs: say there what it may import\n"
        );
    };
    let code = circles::code(text);
    for (at, import) in circles::paths(&module, &code) {
        let Some((other, _)) = room_of(&import).filter(|(other, _)| *other != room && !may.contains(other)) else {
            continue;
        };
        let line = 1 + code[..at].matches('\n').count();
        let _ = writeln!(
            faults,
            "{path}:{line}: {room} may not import {other}: it stands below it. Hand it what it needs, or move the code that needs \
             both into a room that may import both (ROOMS in tests/it/tidy.rs)"
        );
    }
    faults
}

/// The row of the table for a module: of several the one that names it most closely.
fn room_of(module: &[String]) -> Option<(&'static str, &'static [&'static str])> {
    let is_in =
        |room: &str| room.split('/').count() <= module.len() && room.split('/').zip(module).all(|(a, b)| a == b);
    ROOMS.iter().copied().filter(|(room, _)| is_in(room)).max_by_key(|(room, _)| room.len())
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut faults = String::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with("src/base/proto/")) {
        let n_lines = text.lines().count();
        if n_lines > LINES_MAX {
            let _ = writeln!(faults, "{path}: {n_lines} lines, {LINES_MAX} at most: split it, one noun per file");
        }
        if path.starts_with("src/") && !text.starts_with("//!") {
            let _ = writeln!(faults, "{path}: begin it with `//!`: what it owns, and what it never does");
        }
    }
    assert!(faults.is_empty(), "\n{faults}");
}

#[test]
fn a_word_is_found_only_where_it_stands_alone() {
    let check =
        |code: &str, banned: &str, expected: bool| assert_eq!(names(code, banned), expected, "{banned} in {code}");
    check("use ort::Session;", "ort::", true);
    check("use crate::report::Session;", "ort::", false);
    check("fn now() -> Instant {", "Instant", true);
    check("struct InstantSelector;", "Instant", false);
    check("use crate::decode::{batch, labels};", "crate::decode", true);
    check("todo!()", "todo!", true);
}

/// Whether `code` contains `banned` not as part of a longer word.
fn names(code: &str, banned: &str) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let open_end = !word(banned.chars().last());
    code.match_indices(banned).any(|(at, _)| {
        let (before, after) = (code[..at].chars().next_back(), code[at + banned.len()..].chars().next());
        !(word(before) && word(banned.chars().next())) && (open_end || !word(after))
    })
}

/// Path relative to the repository and text of every Rust file under src and tests.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join("src"), root, &mut found);
    walk(&root.join("tests"), root, &mut found);
    found.sort();
    assert!(found.len() > 10, "the sources are not where they should be: {}", root.display());
    found
}
