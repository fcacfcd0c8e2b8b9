//! The shape of the source tree: sizes, file heads, and which module may know what. Every message says what to do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

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
    &["src/expr", "src/engine", "src/evaluate", "src/events/book.rs", "src/model/verdict.rs", "src/silence/mod.rs"];

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
        within: &["src/expr"],
        except: &[],
        banned: &[
            "crate::engine",
            "crate::decode",
            "crate::config",
            "crate::model",
            "crate::shard",
            "crate::results",
            "crate::http",
            "crate::cmd",
            "crate::demo",
        ],
        in_comments: false,
        advice: "expr is the lowest part: it may use crate::series alone; move what both need into series.rs",
    },
    Ban {
        within: &["src/engine"],
        except: &[],
        banned: &[
            "crate::config",
            "crate::model",
            "crate::shard",
            "crate::results",
            "crate::http",
            "crate::cmd",
            "crate::demo",
        ],
        in_comments: false,
        advice: "the engine knows only expr, series and the batches of decode: hand it what it needs in EngineConfig",
    },
    Ban {
        within: &["src/engine"],
        except: &[],
        banned: &["Decoder", "Encoding", "Decompressor", "Wanted"],
        in_comments: false,
        advice: "of decode the engine may use only batches and labels: bytes are decoded before it",
    },
    Ban {
        within: &["src/model/verdict.rs", "src/silence/mod.rs"],
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
        within: &["src/decode", "src/config", "src/model", "src/results", "src/results.rs"],
        except: &[],
        banned: &["crate::shard", "crate::ingest", "crate::http", "crate::cmd", "crate::demo"],
        in_comments: false,
        advice: "data moves one way: the later part calls or receives, the earlier one does not know it",
    },
    Ban {
        within: &["src/events"],
        except: &[],
        banned: &["crate::shard", "crate::ingest", "crate::http", "crate::service", "crate::cmd", "crate::demo"],
        in_comments: false,
        advice: "events follow from scored rows: scorers tell them, http and the outputs ask them",
    },
    Ban {
        within: &["src/ingest.rs", "src/shard.rs"],
        except: &[],
        banned: &["crate::http", "crate::service", "crate::cmd", "crate::demo"],
        in_comments: false,
        advice: "http calls ingest, which calls the shards: give the caller an error of your own",
    },
    Ban {
        within: &["src/history"],
        except: &[],
        banned: &["crate::shard", "crate::ingest", "crate::http", "crate::service", "crate::cmd", "crate::demo"],
        in_comments: false,
        advice: "history drives an engine of its own: hand it what it needs, as cmd/features.rs does",
    },
    Ban {
        within: &["src/history"],
        except: &["src/history/source"],
        banned: &["crate::clock", "std::time", "tokio", "reqwest"],
        in_comments: false,
        advice: "the time is the samples' own, and only src/history/source knows the network",
    },
    Ban {
        within: &["src/push"],
        except: &[],
        banned: &["crate::shard", "crate::ingest", "crate::http", "crate::service", "crate::cmd", "crate::demo"],
        in_comments: false,
        advice: "the push is told of scored rows and nothing else: hand it what it needs in its outbox",
    },
    Ban {
        within: &["src/push/backoff.rs", "src/push/series.rs"],
        except: &[],
        banned: &["tokio", "crate::clock", "std::time::Instant", "reqwest"],
        in_comments: false,
        advice: "this part is pure: time is an argument, and remote_write.rs alone knows the network",
    },
    Ban {
        within: &["src/http"],
        except: &[],
        banned: &["crate::cmd", "crate::demo"],
        in_comments: false,
        advice: "cmd wires http, not the other way round",
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
