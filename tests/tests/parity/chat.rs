//! Chat templates: the text that `transformers` makes of the same conversations.

use std::collections::BTreeSet;
use std::fs;

use refrain_runner::{ChatOptions, ChatTemplate, Error, Message, ModelFiles};
use refrain_tests::Result;
use refrain_tests::golden::folder;
use serde_json::{Map, Value};

fn golden() -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(folder("chat").join("cases.json"))?)?)
}

/// The template as a model folder has it: in a file of its own, or within `tokenizer_config.json`.
fn load(name: &str, golden: &Value, own_file: bool) -> Result<ChatTemplate> {
    let text = match golden["ours"][name].as_str() {
        Some(text) => text.to_owned(),
        None => fs::read_to_string(folder("chat").join("templates").join(format!("{name}.jinja")))?,
    };
    let dir = tempfile::tempdir()?;
    let mut config = golden["specials"][name].as_object().ok_or("no special tokens")?.clone();
    if own_file {
        fs::write(dir.path().join("chat_template.jinja"), &text)?;
        // As older files have it.
        for token in config.values_mut() {
            *token = serde_json::json!({"content": token.clone(), "lstrip": false});
        }
    } else {
        config.insert("chat_template".into(), text.into());
    }
    fs::write(dir.path().join("tokenizer_config.json"), serde_json::to_vec(&config)?)?;
    fs::write(dir.path().join("config.json"), "{}")?;
    let files = ModelFiles::folder(dir.path())?;
    Ok(ChatTemplate::load(&files)?.ok_or("no template was found")?)
}

fn options(given: &Value, golden: &Value, name: &str) -> Result<ChatOptions> {
    let mut options = ChatOptions {
        now: Some(golden["now"].as_str().ok_or("no time")?.parse()?),
        ..ChatOptions::default()
    };
    let mut variables: Map<String, Value> = given.as_object().ok_or("no options")?.clone();
    options.add_generation_prompt = variables.remove("add_generation_prompt").is_some();
    options.tools = variables.remove("tools").and_then(|tools| tools.as_array().cloned());
    if name == "json" {
        variables.insert("data".into(), golden["data"].clone());
    }
    options.variables = variables;
    Ok(options)
}

#[test]
fn conversations_are_written_as_by_transformers() -> Result {
    let golden = golden()?;
    let mut wrong = Vec::new();
    let mut compared = 0;
    let mut templates = BTreeSet::new();
    for case in golden["cases"].as_array().ok_or("no cases")? {
        let name = case["template"].as_str().ok_or("no name")?;
        let title = case["conversation"].as_str().ok_or("no title")?;
        let template = load(name, &golden, compared % 2 == 0)?;
        let messages: Vec<Message> = serde_json::from_value(golden["conversations"][title].clone())?;
        let index = case["options"].as_u64().ok_or("no options")? as usize;
        let options = options(&golden["options"][index], &golden, name)?;
        let got = template.apply(&messages, &options);
        let right = match (&got, case["text"].as_str(), case["error"].as_str()) {
            (Ok(got), Some(want), _) => got == want,
            // What the template says itself must be passed on.
            (Err(Error::Template { what, .. }), None, Some(want)) => what == want,
            // Python will not go through `none`, the engine here takes it for an empty list.
            (Ok(got), None, Some(want)) => {
                want == "'NoneType' object is not iterable" && got.contains("<tools>  </tools>")
            }
            (Err(Error::Input(_)), None, Some(want)) => want.contains("empty conversation"),
            _ => false,
        };
        if !right {
            wrong.push(format!(
                "{name}, {title}, options {index}:\n got {got:?}\nwant {:?}",
                case.get("text").or(case.get("error"))
            ));
        }
        compared += 1;
        templates.insert(name.to_owned());
    }
    wrong.truncate(5);
    assert!(wrong.is_empty(), "of {compared}, among others these are wrong:\n{}", wrong.join("\n\n"));
    assert!(compared > 600 && templates.len() == 15, "{compared} cases of {templates:?}");
    Ok(())
}

#[test]
fn several_templates_are_chosen_by_name_and_tools() -> Result {
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("config.json"), "{}")?;
    let config = r#"{"chat_template": [
        {"name": "default", "template": "plain"}, {"name": "tool_use", "template": "{{ tools | length }} tools"}
    ]}"#;
    fs::write(dir.path().join("tokenizer_config.json"), config)?;
    let template = ChatTemplate::load(&ModelFiles::folder(dir.path())?)?.ok_or("no template")?;
    assert_eq!(template.names().collect::<Vec<_>>(), ["default", "tool_use"]);
    let said = [Message::new("user", "Hi")];
    let plain = ChatOptions::default();
    let tools = ChatOptions { tools: Some(vec![serde_json::json!({})]), ..plain.clone() };
    let named = ChatOptions { template: Some("default".into()), ..tools.clone() };
    let absent = ChatOptions { template: Some("rag".into()), ..plain.clone() };
    assert_eq!(template.apply(&said, &plain)?, "plain");
    assert_eq!(template.apply(&said, &tools)?, "1 tools");
    assert_eq!(template.apply(&said, &named)?, "plain");
    let error = template.apply(&said, &absent).unwrap_err().to_string();
    assert!(error.contains("no template `rag`; there are: default, tool_use"), "{error}");

    fs::write(dir.path().join("tokenizer_config.json"), r#"{"chat_template": 7}"#)?;
    let error = ChatTemplate::load(&ModelFiles::folder(dir.path())?).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json") && error.contains("chat_template"), "{error}");
    fs::remove_file(dir.path().join("tokenizer_config.json"))?;
    assert_eq!(ChatTemplate::load(&ModelFiles::folder(dir.path())?)?, None);
    Ok(())
}
