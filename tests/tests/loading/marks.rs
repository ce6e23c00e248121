//! Byte order marks before the files of a model's folder, as some editors leave them.

use refrain_runner::{ChatTemplate, LoadOptions, Model, ModelFiles, Tokenizer};
use refrain_tests::Result;
use refrain_tests::check::largest;
use refrain_tests::tiny::Tiny;

use crate::logits;

#[test]
fn a_mark_changes_nothing() -> Result {
    let dir = tempfile::tempdir()?;
    let tiny = Tiny::new(dir.path())?;
    tiny.write()?;
    let (model, tokenizer) = tiny.load()?;
    tiny.write_shards(2)?;
    let text = [
        ("tokenizer_config.json", r#"{"chat_template": "{{ messages[0].content }}", "bos_token": "<bos>"}"#),
        ("token_counts.json", "{}"),
    ];
    for (file, text) in text {
        std::fs::write(tiny.path(file), text)?;
    }
    for file in [
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "tokenizer_config.json",
        "token_counts.json",
    ] {
        let bytes = std::fs::read(tiny.path(file))?;
        std::fs::write(tiny.path(file), [&b"\xef\xbb\xbf"[..], &bytes].concat())?;
    }
    let files = ModelFiles::folder(dir.path())?;
    let marked = Model::load(&files, &LoadOptions::default())?;
    assert_eq!(largest(&logits(&model)?, &logits(&marked)?), 0.0);
    let line = "Please repeat this word: bab";
    assert_eq!(Tokenizer::load(&files, 80)?.encode(line)?, tokenizer.encode(line)?);
    assert!(ChatTemplate::load(&files)?.is_some(), "the template went unseen");
    assert_eq!(files.text("token_counts.json")?.as_deref(), Some("{}"));
    // A template of its own file would begin every prompt with the mark.
    std::fs::write(tiny.path("chat_template.jinja"), "\u{feff}{{ messages[0].content }}")?;
    let template = ChatTemplate::load(&files)?.ok_or("no template")?;
    let said = template.apply(&[refrain_runner::Message::new("user", "hello")], &Default::default())?;
    assert_eq!(said, "hello");
    Ok(())
}
