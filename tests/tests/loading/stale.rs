//! A file with all the weights beside the index of another save: the file counts, as in `transformers`.

use refrain_runner::{LoadOptions, Model, ModelFiles};
use refrain_tests::Result;
use refrain_tests::check::largest;
use refrain_tests::hub_server::NAME;
use refrain_tests::tiny::Tiny;

use crate::hub::World;
use crate::logits;

/// Shards of a model in `folder`, over which another was saved in one file; that other model.
fn saved_twice(folder: &std::path::Path) -> Result<Tiny> {
    let mut tiny = Tiny::new(folder)?;
    tiny.write_shards(2)?;
    let head = &tiny.weights["lm_head.weight"] * 2.0;
    tiny.weights.insert("lm_head.weight".into(), head);
    tiny.write()?;
    Ok(tiny)
}

#[test]
fn in_a_folder() -> Result {
    let (dir, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let tiny = saved_twice(dir.path())?;
    let alone = Tiny { folder: other.path().to_owned(), ..tiny };
    alone.write()?;
    let load = |folder| Model::load(&ModelFiles::folder(folder)?, &LoadOptions::default());
    let wanted = logits(&load(other.path())?)?;
    assert_eq!(largest(&logits(&load(dir.path())?)?, &wanted), 0.0);
    let hash = |folder| ModelFiles::folder(folder)?.model_sha256();
    assert_eq!(hash(dir.path())?, hash(other.path())?, "the hash is of the weights that are loaded");
    // The shards may be gone, and only their index left.
    for shard in 1..=2 {
        std::fs::remove_file(dir.path().join(format!("model-0000{shard}-of-00002.safetensors")))?;
    }
    assert_eq!(largest(&logits(&load(dir.path())?)?, &wanted), 0.0);
    Ok(())
}

#[test]
fn on_the_hub() -> Result {
    let mut world = World::new(1)?;
    world.tiny = saved_twice(&world.dir.path().join("tiny"))?;
    world.server.publish("main", &world.tiny.folder)?;
    let files = world.get()?;
    world.same(&files)?;
    let asked = world.server.state().requests.len();
    assert!(
        !world
            .server
            .state()
            .requests
            .iter()
            .any(|(path, _)| path.contains("index") || path.contains("-of-"))
    );
    world.same(&world.hub().model(NAME, None)?)?;
    assert_eq!(world.server.state().requests.len(), asked, "asked again for what it had");
    Ok(())
}
