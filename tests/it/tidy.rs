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
const PURE: &[&str] =
    &["src/expr", "src/engine", "src/evaluate", "src/events/book.rs", "src/model/verdict.rs", "src/silence/"];

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
        within: &["src/model/verdict.rs", "src/silence/"],
        except: &[],
        banned: &[
            "crate::config",
            "crate::shard",
            "crate::results",
            "crate::http",
            "crate::cmd",
            "crate::demo",
            "crate::decode",
        ],
        in_comments: false,
        advice: "the verdict is a formula: give it numbers",
    },
    Ban {
        within: &["src/history"],
        except: &["src/history/source"],
        banned: &["crate::clock", "std::time", "tokio", "reqwest"],
        in_comments: false,
        advice: "the time is the samples' own, and only src/history/source knows the network",
    },
    Ban {
        within: &["src/push/backoff.rs", "src/push/series.rs"],
        except: &[],
        banned: &["tokio", "crate::clock", "std::time::Instant", "reqwest"],
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
        except: &["src/http"],
        banned: &["warp::"],
        in_comments: false,
        advice: "only src/http names warp: put the route there",
    },
    Ban {
        within: &["src"],
        except: &["src/results"],
        banned: &["dashmap"],
        in_comments: false,
        advice: "only src/results.rs has a DashMap, for readers: give the state one owner instead",
    },
    Ban {
        within: &["src", "tests"],
        except: &["tests/it/tidy.rs", "src/proto"],
        banned: &["todo!", "unimplemented!", "FIXME", "TODO", "XXX"],
        in_comments: true,
        advice: "finish it, or open an issue and say in the code what holds today",
    },
    Ban {
        within: &["tests", "src"],
        except: &["tests/it/tidy.rs", "src/proto"],
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
    ("bounds", &[]),
    ("random", &[]),
    ("outbound", &[]),
    ("proto", &[]),
    ("storage", &[]),
    ("clock", &["series"]),
    ("expr", &["series"]),
    ("silence", &["expr", "series"]),
    ("config", &["bounds", "outbound", "series", "silence"]),
    ("decode", &["config", "proto", "series"]),
    ("engine", &["bounds", "decode", "expr", "series", "silence"]),
    ("model", &["config", "engine", "expr", "proto", "series"]),
    ("results", &["config", "engine", "expr", "model", "series"]),
    ("events", &["clock", "engine", "results", "series", "storage"]),
    ("setup", &["clock", "config", "decode", "engine", "expr", "model", "results", "silence"]),
    ("feedback", &["events", "model", "series", "storage"]),
    ("push", &["clock", "config", "engine", "model", "outbound", "proto", "random", "results", "series"]),
    ("webhook", &["clock", "config", "events", "outbound", "push", "series"]),
    ("scorer", &["clock", "engine", "events", "feedback", "model", "push", "results", "series"]),
    ("shard", &["bounds", "decode", "engine", "expr", "model", "results", "scorer", "series", "silence"]),
    ("silences", &["expr", "series", "shard", "silence", "storage"]),
    ("ingest", &["clock", "config", "decode", "expr", "series", "shard"]),
    ("http", &["config", "decode", "engine", "events", "expr", "feedback", "ingest", "results", "series", "silences"]),
    (
        "service",
        &[
            "clock", "config", "decode", "engine", "events", "expr", "feedback", "http", "ingest", "model", "push",
            "results", "scorer", "series", "setup", "shard", "silence", "silences", "webhook",
        ],
    ),
    ("history", &["config", "decode", "engine", "expr", "outbound", "proto", "series", "storage"]),
    ("labelled", &["series"]),
    ("evaluate", &["engine", "labelled", "model", "series"]),
    ("train", &["bounds", "config", "engine", "labelled", "model", "random", "series", "setup"]),
    ("demo", &["proto", "random", "series"]),
    ("playback", &["config", "demo", "labelled", "proto", "series", "service"]),
    (
        "cmd",
        &[
            "bounds", "clock", "config", "decode", "demo", "engine", "evaluate", "expr", "history", "http", "labelled",
            "model", "outbound", "playback", "series", "service", "setup", "storage", "train",
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
        "use crate::expr::eval::Vector;\nuse crate::series::Sample;\nuse crate::engine::row::Row;",
        "",
    );
    check(
        "src/engine/host.rs",
        "// crate::service is told\n#[cfg(test)]\nmod tests { use crate::service::Plans; }",
        "",
    );
    let told = "engine may not import service: it stands below it. Hand it what it needs, or move the code that needs both into a room that \
                may import both (ROOMS in tests/it/tidy.rs)\n";
    check("src/engine/host.rs", "\nuse crate::service::Plans;", &format!("src/engine/host.rs:2: {told}"));
    check("src/engine/mod.rs", "use crate::{expr, service};", &format!("src/engine/mod.rs:1: {told}"));
    check("src/engine/mod.rs", "let a = crate::service::run();", &format!("src/engine/mod.rs:1: {told}"));
    let unknown =
        "src/garage/car.rs:1: garage is no room of the table ROOMS in tests/it/tidy.rs: say there what it may import\n";
    check("src/garage/car.rs", "use crate::expr::Plan;", unknown);
}

/// A line for each import of another room in the file at `path` that its own may not know. Tests within the file may import any.
fn foreign_imports(path: &str, text: &str) -> String {
    let room = path.trim_start_matches("src/").split('/').next().unwrap().trim_end_matches(".rs");
    let mut faults = String::new();
    if ["main", "lib"].contains(&room) || path.ends_with("/tests.rs") || path.contains("/tests/") {
        return faults;
    }
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    for (number, line) in (1..).zip(code.lines()).filter(|(_, line)| !line.trim_start().starts_with("//")) {
        for other in line.split("crate::").skip(1).flat_map(rooms_at).filter(|other| *other != room) {
            let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
                let _ = writeln!(
                    faults,
                    "{path}:{number}: {room} is no room of the table ROOMS in tests/it/tidy.rs: say there what it may import"
                );
                continue;
            };
            if ROOMS.iter().any(|(name, _)| *name == other) && !may.contains(&other) {
                let _ = writeln!(
                    faults,
                    "{path}:{number}: {room} may not import {other}: it stands below it. Hand it what it needs, or move the code that needs \
                     both into a room that may import both (ROOMS in tests/it/tidy.rs)"
                );
            }
        }
    }
    faults
}

/// The rooms at the head of a path after `crate::`: several in braces.
fn rooms_at(path: &str) -> Vec<&str> {
    let head = |text: &str| -> usize { text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len()) };
    match path.strip_prefix('{') {
        Some(list) => {
            list.split('}').next().unwrap().split(',').map(str::trim).map(|item| &item[..head(item)]).collect()
        }
        None => vec![&path[..head(path)]],
    }
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let mut faults = String::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.starts_with("src/proto/")) {
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
