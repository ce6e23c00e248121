//! Downloads that fail, and servers that are no hub.

use refrain_runner::Hub;
use refrain_tests::Result;
use refrain_tests::hub_server::{Fault, NAME};
use refrain_tests::program::files;

use crate::hub::{World, refused};

/// Whatever comes that is not the whole file does not count, now or later, and the next try puts it right.
#[test]
fn a_file_that_is_not_whole_never_counts() -> Result {
    for (fault, file) in [
        (Fault::Cut, "model.safetensors"),
        (Fault::Half, "model.safetensors"),
        (Fault::Garbled, "model.safetensors"),
        (Fault::Half, "config.json"),
        (Fault::Cut, "tokenizer.json"),
        (Fault::Half, "generation_config.json"),
    ] {
        let world = World::new(1)?;
        world.fault(fault, file);
        refused(world.get(), &[file, "interrupted or is not whole", "run it again"]);
        let snapshot = world.cache().join("models--someone--tiny/snapshots").join(&world.commit);
        assert!(!snapshot.join(file).exists(), "{fault:?} {file}");
        let offline = Hub { offline: true, ..world.hub() };
        if !file.starts_with("gen") && !file.starts_with("tok") {
            refused(offline.model(NAME, None), &["offline"]);
        }
        world.server.state().fault = None;
        let found = world.get().map_err(|error| format!("after {fault:?} of {file}: {error}"))?;
        world.same(&found)?;
        assert!(files(&world.cache()).iter().all(|path| path.extension() != Some("part".as_ref())));
    }
    Ok(())
}

/// A part that is left behind is continued where it can be, and else does no harm.
#[test]
fn a_part_left_behind() -> Result {
    let world = World::new(1)?;
    world.fault(Fault::Cut, "model.safetensors");
    refused(world.get(), &["run it again"]);
    world.fault(Fault::NoRange, "model.safetensors");
    refused(world.get(), &["bytes came"]);
    world.same(&world.get()?)?;

    let world = World::new(1)?;
    world.fault(Fault::Cut, "model.safetensors");
    refused(world.get(), &["run it again"]);
    let part = files(&world.cache()).into_iter().find(|path| path.extension() == Some("part".as_ref()));
    let part = part.ok_or("nothing is left to be continued")?;
    let whole = std::fs::read(world.tiny.path("model.safetensors"))?;
    for length in [whole.len(), whole.len() + 9] {
        std::fs::write(&part, vec![7; length])?;
        world.server.state().fault = None;
        world.same(&world.get()?)?;
        std::fs::remove_file(
            world
                .cache()
                .join("models--someone--tiny/snapshots")
                .join(&world.commit)
                .join("model.safetensors"),
        )?;
    }
    Ok(())
}

/// The program was killed after a download and before the check.
#[test]
fn an_unchecked_file_is_fetched_again() -> Result {
    let world = World::new(1)?;
    world.get()?;
    let model = world.cache().join("models--someone--tiny");
    let file = model.join("snapshots").join(&world.commit).join("model.safetensors");
    std::fs::write(std::fs::canonicalize(file)?, "half")?;
    std::fs::create_dir_all(model.join(".unchecked").join(&world.commit))?;
    std::fs::write(model.join(".unchecked").join(&world.commit).join("model.safetensors"), "")?;
    refused(Hub { offline: true, ..world.hub() }.model(NAME, None), &["offline"]);
    world.same(&world.get()?)
}

#[test]
fn a_pickle_on_the_hub_is_not_fetched() -> Result {
    let world = World::new(1)?;
    std::fs::remove_file(world.tiny.path("model.safetensors"))?;
    world.server.publish("main", &world.tiny.folder)?;
    let error = world.get().unwrap_err().to_string();
    for word in ["pytorch_model.bin", "is a pickle", "from_pretrained(\"someone/tiny\""] {
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(files(&world.cache()).len(), 0);
    Ok(())
}

#[test]
fn an_index_on_the_hub_that_reaches_outside() -> Result {
    let world = World::new(2)?;
    let index = r#"{"weight_map": {"a": "../../../../outside.safetensors"}}"#;
    std::fs::write(world.tiny.path("model.safetensors.index.json"), index)?;
    world.server.publish("main", &world.tiny.folder)?;
    let error = world.get().unwrap_err().to_string();
    assert!(error.contains("not a file name"), "{error}");
    assert!(world.server.state().requests.iter().all(|(path, _)| !path.contains("outside")));
    Ok(())
}

/// Answers that no hub gives: an error, not a panic, and no file outside the cache.
#[test]
fn a_server_that_is_no_hub() -> Result {
    let world = World::new(1)?;
    let commit = world.commit.clone();
    for (from, to) in [(&commit, "../../../outside".to_owned()), (&commit, String::new())] {
        if let Some((commit, _)) = world.server.state().revisions.get_mut("main") {
            assert_eq!(commit, from);
            *commit = to;
        }
        refused(world.get(), &["no commit"]);
        assert_eq!(files(&world.cache()).len(), 0);
        if let Some((commit, _)) = world.server.state().revisions.get_mut("main") {
            *commit = from.clone();
        }
    }
    Ok(())
}
