//! Files that use each other in a circle. A file's use of its own submodules is none: it is their face.

use std::collections::{BTreeMap, BTreeSet};

/// A module's path: `["engine", "host"]`.
type Module = Vec<String>;

/// The first circle among `files`, paths under `src` with their text, as a line: `a → b → a`. `None` where there is none.
pub(super) fn circle(files: &[(String, String)]) -> Option<String> {
    let modules: BTreeMap<Module, String> =
        files.iter().filter_map(|(path, text)| Some((module_of(path)?, code(text)))).collect();
    let uses: BTreeMap<&Module, BTreeSet<&Module>> =
        modules.iter().map(|(me, code)| (me, used(me, code, &modules))).collect();
    let (mut done, mut way) = (BTreeSet::new(), Vec::new());
    modules.keys().find_map(|module| walk(module, &uses, &mut done, &mut way))
}

/// `text` without comments, of which the lines stay, and without the tests at its end.
pub(super) fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let line = |line: &'_ str| if line.trim_start().starts_with("//") { String::new() } else { line.to_owned() };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// `None` for the roots of the crate and for tests.
pub(super) fn module_of(path: &str) -> Option<Module> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut parts: Module = path.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    let is_root = parts.len() == 1 && ["main", "lib"].contains(&parts[0].as_str());
    (!is_root && !parts.iter().any(|part| part == "tests")).then_some(parts)
}

/// The modules that `me` uses, itself and those within it left out.
fn used<'a>(me: &Module, code: &str, modules: &'a BTreeMap<Module, String>) -> BTreeSet<&'a Module> {
    let module = |path: Module| {
        let longest = (1..=path.len()).rev().find_map(|n| modules.get_key_value(&path[..n].to_vec()));
        longest.map(|(module, _)| module)
    };
    let paths = paths(me, code).into_iter().map(|(_, path)| path);
    paths.filter_map(module).filter(|module| !module.starts_with(me)).collect()
}

/// Every path in the code of `me` that begins with `crate` or `super`, from the root of the crate, and where it stands.
pub(super) fn paths(me: &Module, code: &str) -> Vec<(usize, Module)> {
    let heads = ["crate::", "super::"];
    let starts = heads.iter().flat_map(|head| code.match_indices(head)).map(|(at, _)| at);
    let is_head = |at: &usize| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
    let absolute = |path: Vec<String>| -> Module {
        let mut base = if path[0] == "crate" { Vec::new() } else { me.clone() };
        for part in path {
            match part.as_str() {
                "crate" => {}
                "super" => drop(base.pop()),
                _ => base.push(part),
            }
        }
        base
    };
    starts
        .filter(is_head)
        .flat_map(|at| expanded(&code[at..]).into_iter().map(move |path| (at, path)))
        .map(|(at, path)| (at, absolute(path)))
        .collect()
}

/// The paths that begin at the head of `text`: several where braces stand in it.
fn expanded(text: &str) -> Vec<Vec<String>> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let head = vec![name.to_owned()];
    let Some(rest) = rest.strip_prefix("::") else { return vec![head] };
    let tails = match rest.trim_start().strip_prefix('{') {
        Some(list) => items(list).into_iter().flat_map(|item| expanded(item.trim_start())).collect(),
        None => expanded(rest),
    };
    let with_head = |tail: Vec<String>| head.iter().cloned().chain(tail).collect();
    tails.into_iter().map(with_head).collect()
}

/// What stands between commas up to the brace that closes `list`.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut found) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                found.push(&list[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    found
}

fn walk<'a>(
    module: &'a Module,
    uses: &BTreeMap<&'a Module, BTreeSet<&'a Module>>,
    done: &mut BTreeSet<&'a Module>,
    way: &mut Vec<&'a Module>,
) -> Option<String> {
    if let Some(at) = way.iter().position(|other| *other == module) {
        let names = way[at..].iter().chain([&module]).map(|module| module.join("/"));
        return Some(names.collect::<Vec<_>>().join(" → "));
    }
    if !done.insert(module) {
        return None;
    }
    way.push(module);
    let found = uses.get(module).into_iter().flatten().find_map(|other| walk(other, uses, done, way));
    way.pop();
    found
}

#[test]
fn a_circle_is_found() {
    let check = |files: &[(&str, &str)], expected: Option<&str>| {
        let files: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        assert_eq!(circle(&files).as_deref(), expected, "{files:?}");
    };
    let a = ("src/engine/a.rs", "use super::b::B;");
    check(&[a, ("src/engine/b.rs", "use crate::series::{\n  self, Sample};")], None);
    check(&[a, ("src/engine/b.rs", "use super::a::A;")], Some("engine/a → engine/b → engine/a"));
    check(
        &[a, ("src/engine/b.rs", "use crate::{expr::{self, Plan}, engine::a};")],
        Some("engine/a → engine/b → engine/a"),
    );
    check(&[a, ("src/engine/b.rs", "fn b() { super::a::run() }")], Some("engine/a → engine/b → engine/a"));
    check(&[a, ("src/engine/b.rs", "// super::a\n#[cfg(test)]\nmod tests { use super::super::a::A; }")], None);
    // The face of a room, and a room that knows itself by another.
    check(&[("src/engine/mod.rs", "mod a; use self::a::A;"), ("src/engine/a.rs", "use super::Output;")], None);
    check(
        &[("src/x.rs", "use crate::y::Y;"), ("src/y.rs", "use crate::z::Z;"), ("src/z.rs", "use crate::x::X;")],
        Some("x → y → z → x"),
    );
}
