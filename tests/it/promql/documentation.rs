//! The table of PromQL in the documentation is what the code does.

use std::path::Path;

#[test]
fn the_documentation_lists_what_is_evaluated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/promql.md");
    let written = outlierd::expr::reference::reference();
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text == written, "run `REGENERATE=1 cargo test --test it promql`");
}
