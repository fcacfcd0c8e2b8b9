//! The table of PromQL in the documentation is what the code does, and all of it is compared with Prometheus.

use std::path::Path;

use super::by_hand;

#[test]
fn the_documentation_lists_what_is_evaluated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/promql.md");
    let written = outlierd::promql::reference::reference();
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text == written, "run `REGENERATE=1 cargo test --test it promql`");
}

#[test]
fn every_function_and_operator_is_compared() {
    let expressions = by_hand().join("\n");
    let table = outlierd::promql::reference::reference();
    let mut faults = Vec::new();
    let mut n_words = 0;
    let of_names = table.split("## Selectors").next().unwrap();
    for line in of_names.lines().filter(|line| line.contains("| yes |")) {
        let names = line.split('|').nth(1).unwrap();
        for name in names.split('`').skip(1).step_by(2) {
            // Operators and keywords stand between blanks, functions and aggregations before what they are of.
            let word = name.split_once('(').map_or(name, |(word, _)| word);
            let forms = [format!("{word}("), format!("{word} by ("), format!(" {word} ")];
            n_words += 1;
            if !forms.iter().any(|form| expressions.contains(form)) {
                faults.push(word.to_owned());
            }
        }
    }
    assert!(n_words > 60, "the table is not as expected: {n_words} names");
    assert!(faults.is_empty(), "no expression for {faults:?} in tests/it/promql/expressions.rs");
}
