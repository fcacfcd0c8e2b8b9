//! The committed protobuf types are what `proto/` says.

use std::path::Path;

#[test]
fn generated_types_match_the_contracts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files =
        protox::compile(["remote_write.proto", "remote_read.proto", "onnx.proto"], [root.join("proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new().out_dir(out.path()).format(false).compile_fds(files).unwrap();
    for name in ["prometheus.rs", "onnx.rs"] {
        let generated = std::fs::read_to_string(out.path().join(name)).unwrap();
        let committed = root.join("src/base/proto").join(name);
        if std::env::var_os("REGENERATE").is_some() {
            std::fs::write(&committed, &generated).unwrap();
        }
        let text = std::fs::read_to_string(&committed).unwrap();
        assert_eq!(squeezed(&text), squeezed(&generated), "run `REGENERATE=1 cargo test --test it proto`");
    }
}

/// Without white space and the trailing commas that rustfmt adds: the committed files are formatted.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != ',').collect()
}
