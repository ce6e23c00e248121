//! `--model ORG/NAME`, through the program.

use std::process::Command;

use refrain_tests::Result;
use refrain_tests::hub_server::{Fault, HubServer, NAME};
use refrain_tests::program::{Place, Ran, SMALL, same_tables, tables};

use crate::place;

/// The program on the model of that name, with no environment of the hub's but what is here.
fn command(place: &Place, endpoint: &str, out: &str, more: &[&str]) -> Command {
    let mut command = place.bare(&["--no-figures", "--texts", "texts.txt", "--out", out, "--model", NAME]);
    command.args(SMALL).args(more);
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"] {
        command.env_remove(name);
    }
    command.env("HF_ENDPOINT", endpoint).env("HF_HOME", place.path("hf"));
    command
}

fn run(place: &Place, endpoint: &str, out: &str, more: &[&str]) -> Result<Ran> {
    Ran::of(&mut command(place, endpoint, out, more))
}

#[test]
fn a_model_of_the_hub_gives_the_tables_of_its_folder() -> Result {
    let place = place()?;
    let server = HubServer::new()?;
    let commit = server.publish("main", &place.tiny.folder)?;
    run(&place, &server.endpoint, "from-hub", &[])?.succeeded();
    let manifest: toml::Table = toml::from_str(&std::fs::read_to_string(place.path("from-hub/run.toml"))?)?;
    let provenance = &manifest["provenance"];
    for (key, value) in [("model", NAME), ("revision", &commit), ("dtype", "f32"), ("device", "cpu")] {
        assert_eq!(provenance[key].as_str(), Some(value), "{key}");
    }
    drop(server);
    // The cache is enough now, however it is said.
    run(&place, "http://127.0.0.1:9", "again", &["--offline"])?.succeeded();
    let again = tables(&place.path("again"))?;
    same_tables(&tables(&place.path("from-hub"))?, &again);
    let mut offline = command(&place, "http://127.0.0.1:9", "by-commit", &["--revision", &commit]);
    Ran::of(offline.env("HF_HUB_OFFLINE", "1"))?.succeeded();
    Ok(())
}

#[test]
fn what_the_hub_refuses() -> Result {
    let place = place()?;
    let server = HubServer::new()?;
    let run = |more: &[&str]| run(&place, &server.endpoint, "out", more);
    run(&[])?.refused(&[NAME, "404", "hint: check the name"]);
    server.publish("main", &place.tiny.folder)?;
    run(&["--offline"])?.refused(&[NAME, "offline", "hint: fetch it once"]);
    run(&["--revision", "v9"])?.refused(&[NAME, "v9", "404", "hint: check the name and --revision"]);
    server.state().token = Some("secret".into());
    run(&[])?.refused(&[NAME, "401", "hint: ", "HF_TOKEN"]);
    let ran = Ran::of(command(&place, &server.endpoint, "out", &[]).env("HF_TOKEN", "stale-token"))?;
    assert!(!ran.stderr.contains("stale-token"), "{ran:?}");
    ran.refused(&[NAME, "403", "hint: "]);
    // The token that `hf auth login` leaves.
    std::fs::create_dir_all(place.path("hf"))?;
    std::fs::write(place.path("hf/token"), "secret\n")?;
    server.state().fault = Some((Fault::Half, "model.safetensors".into()));
    run(&[])?.refused(&["model.safetensors", "not whole", "hint: run it again"]);
    place.no_table();
    server.state().fault = None;
    run(&[])?.succeeded();
    Ok(())
}

#[test]
fn no_network() -> Result {
    let place = place()?;
    let ran = run(&place, "http://127.0.0.1:9", "out", &[])?;
    ran.refused(&[NAME, "no such folder here", "http://127.0.0.1:9", "hint: check the network"]);
    place.no_table();
    Ok(())
}
