//! Files of interventions: what `--intervene` reads.

use std::fs;
use std::path::PathBuf;

use refrain_runner::{
    Action, BoundInterventions, Hook, HookPoint, Intervention, InterventionFile, LoadedInterventions, Mean,
    Model, ModelFiles, NameFilter, Reference, Run, Tokenizer,
};
use refrain_tests::Result;
use refrain_tests::check::Check;
use refrain_tests::golden::{folder, model};
use tch::{Kind, Tensor, no_grad};

struct Case {
    model: Model,
    tokenizer: Tokenizer,
    folder: tempfile::TempDir,
}

impl Case {
    fn new() -> Result<Case> {
        let model = model("gpt2-tied", Kind::Double)?;
        let files = ModelFiles::folder(&folder("gpt2-tied"))?;
        let tokenizer = Tokenizer::load(&files, model.architecture().n_vocab)?;
        Ok(Case { model, tokenizer, folder: tempfile::tempdir()? })
    }

    fn file(&self, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join("interventions.json");
        fs::write(&path, text)?;
        Ok(path)
    }

    fn load(&self, text: &str) -> Result<LoadedInterventions> {
        Ok(LoadedInterventions::load(&self.file(text)?, &self.model, Some(&self.tokenizer))?)
    }

    fn refusal(&self, text: &str) -> Result<String> {
        Ok(self.load(text).err().ok_or("nothing is refused")?.to_string())
    }

    fn logits(&self, interventions: &BoundInterventions<'_>) -> Result<Tensor> {
        let ids = self.model.ids(&[vec![3, 4, 5, 6]])?;
        let run = Run { interventions: Some(interventions), ..Run::default() };
        Ok(no_grad(|| self.model.run(&ids, run))?.logits()?.shallow_clone())
    }
}

#[test]
fn references_are_run_and_taken_from() -> Result {
    let case = Case::new()?;
    let text = r#"{
        "interventions": [
            {"hook": "blocks.0.attn.hook_z", "heads": [0], "action": {"mean": {"source": "texts"}}},
            {"hook": "blocks.1.hook_mlp_out", "positions": {"from_end": [1]}, "action": {"replace": "tokens"}},
            {"hook": "ln_final.hook_normalized", "action": {"mean": {"source": "tokens"}}},
            {"hook": "blocks.1.hook_resid_mid", "action": {"scale": 0.5}}
        ],
        "references": {
            "texts": {"texts": ["w5 w9 w12", "w7 w8 w9 w10 w11"]},
            "tokens": {"tokens": [[7, 8, 9, 10]]}
        }
    }"#;
    let loaded = case.load(text)?;
    let names = loaded.interventions().iter().map(|what| what.action.source().map(|source| source.name()));
    assert_eq!(names.collect::<Vec<_>>(), [Some("texts"), Some("tokens"), Some("tokens"), None]);

    // The same by hand: the texts one by one, so that nothing is padded.
    let z = Hook::block(0, HookPoint::Z);
    let mut of_texts = Vec::new();
    for text in ["w5 w9 w12", "w7 w8 w9 w10 w11"] {
        let ids = case.model.ids(&[case.tokenizer.encode_with_specials(text)?])?;
        of_texts.push(no_grad(|| case.model.run_with_cache(&ids, NameFilter::all()))?.1.get(z)?.get(0));
    }
    let mean = Tensor::cat(&of_texts, 0).mean_dim(0, false, None::<Kind>);
    let ids = case.model.ids(&[vec![7, 8, 9, 10]])?;
    let (_, tokens) = no_grad(|| case.model.run_with_cache(&ids, NameFilter::all()))?;
    let mut by_hand = loaded.interventions().to_vec();
    by_hand[0].action = Action::Set(refrain_runner::Value::Vector(Vec::try_from(&mean.get(0))?));
    by_hand[1].action = Action::Replace("tokens".into());
    by_hand[2].action = Action::Mean(Mean { source: "tokens".into(), per_position: false });
    let sources = [("tokens", &tokens)];
    let by_hand = BoundInterventions::new(case.model.architecture(), &by_hand, &sources)?;

    let mut check = Check::new();
    let got = case.logits(&loaded.bind(case.model.architecture())?)?;
    check.close("logits", &got, &case.logits(&by_hand)?, 1e-12);
    let again = loaded.shallow_clone();
    check.same("another thread's", &case.logits(&again.bind(case.model.architecture())?)?, &got);
    let untouched = case.logits(&BoundInterventions::default())?;
    check.holds("something changes", (&got - &untouched).abs().max().double_value(&[]) > 1e-3);
    check.finish();
    Ok(())
}

#[test]
fn a_list_alone_and_a_byte_order_mark_are_read() -> Result {
    let case = Case::new()?;
    let one = r#"{"hook":"blocks.1.attn.hook_z","action":"zero"}"#;
    let wanted = [Intervention::new(Hook::block(1, HookPoint::Z), Action::Zero)];
    for text in [
        format!("[{one}]"),
        format!("\u{feff}[{one}]"),
        format!("\u{feff} {{\"interventions\": [{one}]}}"),
        format!(" \n[{one}]\n"),
    ] {
        assert_eq!(case.load(&text)?.interventions(), wanted, "{text:?}");
    }
    Ok(())
}

#[test]
fn what_is_written_is_read_back() -> Result {
    let hook = Hook::block(1, HookPoint::Z);
    let mean = Action::Mean(Mean { source: "base".into(), per_position: true });
    let file = InterventionFile {
        interventions: vec![
            Intervention {
                heads: Some(vec![1]),
                ..Intervention::new(hook, Action::Clamp { min: None, max: Some(0.5) })
            },
            Intervention::new(hook, mean),
        ],
        references: [("base".to_owned(), Reference::Texts(vec!["w1 w2".into()]))].into(),
    };
    let text = serde_json::to_string(&file)?;
    assert_eq!(InterventionFile::parse(&text)?, file, "{text}");
    Ok(())
}

#[test]
fn what_is_wrong_is_named_with_its_place() -> Result {
    let case = Case::new()?;
    let mean = r#"{"hook": "hook_embed", "action": {"mean": {"source": "a"}}}"#;
    for (text, messages) in [
        (r#"{"intervention": []}"#.to_owned(), ["unknown field `intervention`", "line 1"]),
        (
            "[\n{\"hook\": \"hook_embed\",\n\"head\": [0], \"action\": \"zero\"}]".into(),
            ["unknown field `head`", "line 3"],
        ),
        (
            r#"[{"hook": "blocks.0.attn.hook_zz", "action": "zero"}]"#.into(),
            ["did you mean `blocks.0.attn.hook_z`", "line 1"],
        ),
        (
            r#"[{"hook": "hook_embed", "action": {"dubble": 2}}]"#.into(),
            ["unknown variant `dubble`", "`scale`"],
        ),
        (
            r#"[{"hook": "hook_embed", "action": {"set": "x"}}]"#.into(),
            ["expected a number, or a list", "line 1"],
        ),
        (
            r#"[{"hook": "hook_embed", "positions": [0], "action": "zero"}]"#.into(),
            ["line 1", "interventions.json"],
        ),
        (
            r#"[{"hook": "blocks.7.attn.hook_z", "action": "zero"}]"#.into(),
            ["layers 0 to", "interventions.json"],
        ),
        (format!("[{mean}]"), ["no run named `a`", "none is given"]),
        (
            r#"{"interventions": [], "references": {"a": {"tokens": [[1]]}}}"#.into(),
            ["no intervention takes anything from the reference `a`", "hint"],
        ),
        (
            format!(r#"{{"interventions": [{mean}], "references": {{"a": {{"tokens": [[1], []]}}}}}}"#),
            ["the reference `a`", "one of its rows is"],
        ),
        (
            format!(r#"{{"interventions": [{mean}], "references": {{"a": {{"tokens": [[1, 4000]]}}}}}}"#),
            ["the reference `a`", "token 4000 does not exist"],
        ),
        (
            format!(r#"{{"interventions": [{mean}], "references": {{"a": {{"text": ["b"]}}}}}}"#),
            ["unknown variant `text`", "`texts` or `tokens`"],
        ),
    ] {
        let error = case.refusal(&text)?;
        for message in messages {
            assert!(error.contains(message), "{text}:\n{error}\nlacks {message}");
        }
    }
    let texts = format!(r#"{{"interventions": [{mean}], "references": {{"a": {{"texts": ["w1"]}}}}}}"#);
    let error = LoadedInterventions::load(&case.file(&texts)?, &case.model, None).unwrap_err().to_string();
    assert!(error.contains("a text needs a tokenizer"), "{error}");
    let absent = case.folder.path().join("absent.json");
    let error = LoadedInterventions::load(&absent, &case.model, None).unwrap_err().to_string();
    assert!(error.contains("absent.json") && error.contains("--intervene"), "{error}");
    Ok(())
}
