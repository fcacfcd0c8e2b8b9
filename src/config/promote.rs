//! `model` and `shadow` of a file change places: its text is edited, so that comments and everything else stays as it was written.

use super::errors::Place;
use super::yaml::{self, Entry, Value};

/// `text` with the names of the two sections exchanged; doing it twice gives what there was before. The built-in bundle, which needs
/// no section, gets one as the shadow.
///
/// # Errors
/// There is no `shadow`, or the text is no configuration.
pub fn promoted(text: &str) -> Result<String, String> {
    let (root, problems) = yaml::read(text);
    let root = root.map(|root| root.value);
    let (Some(Value::Map(entries)), true) = (root, problems.is_empty()) else {
        return Err("it is no valid configuration; `outlierd check-config` says why".to_owned());
    };
    let section = |name: &str| entries.iter().find(|entry| entry.key == name);
    let Some(shadow) = section("shadow") else {
        return Err(
            "it has no `shadow`: name the bundle that is to be live as `shadow: {bundle: …, alias: …}`".to_owned()
        );
    };
    let Some(model) = section("model") else {
        let alias = if has_alias(shadow) { "default" } else { "shadow" };
        let text = replaced(text, shadow.place, "model");
        let end = if text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{end}shadow: {{alias: {alias}}}\n"));
    };
    // The later one first, since it moves nothing before it.
    let (first, second) = if model.place < shadow.place { (model, shadow) } else { (shadow, model) };
    Ok(replaced(&replaced(text, second.place, &first.key), first.place, &second.key))
}

fn has_alias(section: &Entry) -> bool {
    matches!(&section.value.value, Value::Map(entries) if entries.iter().any(|entry| entry.key == "alias"))
}

/// `text` with another word at `place`.
fn replaced(text: &str, place: Place, word: &str) -> String {
    let line_start: usize = text.split_inclusive('\n').take(place.line - 1).map(str::len).sum();
    let line = &text[line_start..];
    let at = |n: usize| line.char_indices().nth(n).map_or(line.len(), |(byte, _)| byte);
    let (from, to) = (at(place.column - 1), at(place.column - 1 + place.len));
    format!("{}{word}{}", &text[..line_start + from], &line[to..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(promoted(text).as_deref(), Ok(expected));
        crate::config::parse("o.yaml", expected).unwrap();
    }

    #[test]
    fn the_two_change_places_and_back() {
        let text =
            "# ü\nmodel: # live\n  bundle: a.onnx\n  alias: a\nstep: 60s\nshadow: {bundle: b.onnx, alias: b} # new\n";
        let other =
            "# ü\nshadow: # live\n  bundle: a.onnx\n  alias: a\nstep: 60s\nmodel: {bundle: b.onnx, alias: b} # new\n";
        check(text, other);
        check(other, text);
        check(
            "{shadow: {alias: ü, bundle: b.onnx}, \"model\": {bundle: a.onnx}, step: 60s}",
            "{model: {alias: ü, bundle: b.onnx}, shadow: {bundle: a.onnx}, step: 60s}",
        );
        check("shadow: {alias: b}\r\nmodel: {bundle: a.onnx}", "model: {alias: b}\r\nshadow: {bundle: a.onnx}");
    }

    #[test]
    fn the_built_in_bundle_becomes_a_shadow() {
        check("shadow: {bundle: b.onnx, alias: b}", "model: {bundle: b.onnx, alias: b}\nshadow: {alias: default}\n");
        check("shadow:\n  bundle: b.onnx\n", "model:\n  bundle: b.onnx\nshadow: {alias: shadow}\n");
    }

    #[test]
    fn what_cannot_be_promoted_is_said() {
        assert!(promoted("model: {bundle: a.onnx}").unwrap_err().starts_with("it has no `shadow`"));
        for text in ["", "- shadow", "shadow: {", "shadow: {}\nshadow: {}"] {
            assert!(promoted(text).unwrap_err().starts_with("it is no valid configuration"), "{text}");
        }
    }
}
