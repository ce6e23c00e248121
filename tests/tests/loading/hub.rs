//! The hub, played by a server in this process.

use std::path::PathBuf;

use refrain_runner::{Error, Hub, LoadOptions, Model, ModelFiles, ProgressCallback};
use refrain_tests::Result;
use refrain_tests::check::largest;
use refrain_tests::hub_server::{Fault, HubServer, NAME};
use refrain_tests::tiny::Tiny;

use crate::logits;

pub struct World {
    pub dir: tempfile::TempDir,
    pub server: HubServer,
    pub tiny: Tiny,
    pub commit: String,
}

impl World {
    /// A hub that has the tiny model as `main`, in `shards` files.
    pub fn new(shards: usize) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let tiny = Tiny::new(&dir.path().join("tiny"))?;
        if shards > 1 {
            tiny.write_shards(shards)?
        } else {
            tiny.write()?
        }
        std::fs::write(tiny.path("generation_config.json"), "{}")?;
        for other in ["README.md", "pytorch_model.bin", "onnx_model.bin", "token_counts.json"] {
            std::fs::write(tiny.path(other), "not for us")?;
        }
        let server = HubServer::new()?;
        let commit = server.publish("main", &tiny.folder)?;
        Ok(World { dir, server, tiny, commit })
    }

    pub fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    pub fn hub(&self) -> Hub {
        let (endpoint, cache) = (self.server.endpoint.clone(), self.cache());
        Hub { endpoint, cache, token: None, offline: false, watch: ProgressCallback::default() }
    }

    pub fn get(&self) -> refrain_runner::Result<ModelFiles> {
        self.hub().model(NAME, None)
    }

    /// The model of `files` is the one of the folder.
    pub fn same(&self, files: &ModelFiles) -> Result {
        std::fs::remove_file(self.tiny.path("pytorch_model.bin")).unwrap_or_default();
        let folder = Model::load(&ModelFiles::folder(&self.tiny.folder)?, &LoadOptions::default())?;
        let model = Model::load(files, &LoadOptions::default())?;
        assert_eq!(largest(&logits(&folder)?, &logits(&model)?), 0.0);
        Ok(())
    }

    pub fn fault(&self, fault: Fault, file: &str) {
        self.server.state().fault = Some((fault, file.into()));
    }

    fn requests(&self) -> usize {
        self.server.state().requests.len()
    }
}

/// The model is refused with `words`.
#[track_caller]
pub fn refused(found: refrain_runner::Result<ModelFiles>, words: &[&str]) {
    let error = found.expect_err("a model came");
    assert!(matches!(error, Error::Hub { .. }), "{error:?}");
    for word in ["hint: "].iter().chain(words) {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn a_model_is_fetched_once() -> Result {
    for shards in [1, 3] {
        let world = World::new(shards)?;
        let files = world.get()?;
        assert_eq!((files.name(), files.revision()), (NAME, Some(&world.commit[..])));
        world.same(&files)?;
        for (path, _) in &world.server.state().requests {
            assert!(
                !path.contains("onnx") && !path.contains("pytorch") && !path.contains("README"),
                "{path}"
            );
        }
        // The layout is that of Hugging Face's own tools.
        let model = world.cache().join("models--someone--tiny");
        assert_eq!(std::fs::read_to_string(model.join("refs/main"))?, world.commit);
        assert!(model.join("snapshots").join(&world.commit).join("tokenizer.json").is_file());
        assert!(model.join(".no_exist").join(&world.commit).join("chat_template.jinja").is_file());

        let before = world.requests();
        world.same(&world.get()?)?;
        assert_eq!(world.requests(), before, "asked again for what it had");
        let World { server, dir, tiny, .. } = world;
        let hub = |offline| {
            let (endpoint, cache) = (server.endpoint.clone(), dir.path().join("cache"));
            Hub { endpoint, cache, token: None, offline, watch: ProgressCallback::default() }
        };
        let (online, offline) = (hub(false), hub(true));
        drop(server);
        for hub in [online, offline] {
            let model = Model::load(&hub.model(NAME, None)?, &LoadOptions::default())?;
            assert_eq!(model.architecture().n_layers, 2, "{}", tiny.folder.display());
        }
    }
    Ok(())
}

#[test]
fn a_revision_is_another_model() -> Result {
    let mut world = World::new(1)?;
    let main = world.get()?;
    let scaled = &world.tiny.weights["lm_head.weight"] * 2.0;
    world.tiny.weights.insert("lm_head.weight".into(), scaled);
    world.tiny.write()?;
    let commit = world.server.publish("refs/pr/1", &world.tiny.folder)?;
    let other = world.hub().model(NAME, Some("refs/pr/1"))?;
    assert_eq!(other.revision(), Some(&commit[..]));
    world.same(&other)?;
    assert_ne!(main.model_sha256()?, other.model_sha256()?);
    // By its commit too, from the cache.
    let before = world.requests();
    assert_eq!(world.hub().model(NAME, Some(&commit))?.model_sha256()?, other.model_sha256()?);
    assert_eq!(world.requests(), before);
    assert_eq!(world.get()?.model_sha256()?, main.model_sha256()?);
    refused(world.hub().model(NAME, Some("nowhere")), &["someone/tiny", "nowhere", "404", "--revision"]);
    for revision in ["../main", "a//b", "", "/etc", "a b", "..", "main\n"] {
        assert!(matches!(world.hub().model(NAME, Some(revision)), Err(Error::Input(_))), "{revision:?}");
    }
    Ok(())
}

#[test]
fn a_gated_model_takes_a_token() -> Result {
    let world = World::new(1)?;
    world.server.state().token = Some("secret".into());
    refused(world.get(), &["someone/tiny", "config.json", "401", "accept its licence", "HF_TOKEN"]);
    let hub = |token: &str| Hub { token: Some(token.into()), ..world.hub() };
    let error = hub("stale").model(NAME, None);
    refused(error, &["403", "token is valid"]);
    assert!(!format!("{:?}", hub("secret")).contains("secret"));
    world.same(&hub("secret").model(NAME, None)?)?;
    let state = world.server.state();
    assert!(state.requests.iter().any(|(_, token)| token.as_deref() == Some("secret")));
    Ok(())
}

#[test]
fn a_name_that_is_not_there() -> Result {
    let world = World::new(1)?;
    refused(world.hub().model("someone/else", None), &["someone/else", "404", "check the name"]);
    for name in ["tiny", "a/b/c", "../tiny", "a/..", "/tiny", "a/", "-a/b", "a b/c", ".a/b", "a/b\\c"] {
        assert!(!Hub::is_name(name), "{name}");
        assert!(matches!(world.hub().model(name, None), Err(Error::Input(_))), "{name}");
    }
    assert!(Hub::is_name("HuggingFaceTB/SmolLM2-135M"));
    Ok(())
}

#[test]
fn a_folder_wins_over_a_name() -> Result {
    let world = World::new(1)?;
    world.fault(Fault::Gone, "config.json");
    let nobody = || Err(Error::Input("the hub was asked".into()));
    let folder = world.tiny.folder.display().to_string();
    std::fs::remove_file(world.tiny.path("pytorch_model.bin"))?;
    assert_eq!(ModelFiles::find(&folder, None, nobody)?.revision(), None);
    let error = ModelFiles::find(&folder, Some("main"), nobody).unwrap_err().to_string();
    assert!(error.contains("has no revision `main`"), "{error}");
    let error = ModelFiles::find("no/model", None, nobody).unwrap_err().to_string();
    assert_eq!(error, "the hub was asked");
    let error = ModelFiles::find("nowhere", None, nobody).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
    Ok(())
}

#[test]
fn offline_means_the_cache_or_nothing() -> Result {
    let world = World::new(2)?;
    let offline = Hub { offline: true, ..world.hub() };
    refused(offline.model(NAME, None), &["offline", "cache", "without --offline"]);
    assert_eq!(world.requests(), 0);
    let shard = "model-00002-of-00002.safetensors";
    world.fault(Fault::Gone, shard);
    refused(world.get(), &[shard, "404"]);
    // Half of a model is none.
    refused(offline.model(NAME, None), &["offline"]);
    world.server.state().fault = None;
    world.get()?;
    world.same(&offline.model(NAME, None)?)
}

#[test]
fn no_network_is_said() -> Result {
    let world = World::new(1)?;
    let nobody = Hub { endpoint: "http://127.0.0.1:9".into(), ..world.hub() };
    refused(
        nobody.model(NAME, None),
        &["http://127.0.0.1:9", "no such folder", "check the network", "--offline"],
    );
    Ok(())
}
