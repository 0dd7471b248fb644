//! Images by name: load, import, save, tag, list, remove, prune, verify.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and may fail"
)]

mod common;

use common::*;
use engine::info::ImageRemoval;
use engine::request::{Create, LoadImages, Pull, Remove, RemoveImage, WaitFor};
use engine::{Archive, Kind};

#[test]
fn an_image_is_found_by_every_name_it_has() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let id = engine.images().unwrap()[0].id.clone();
    engine.tag("busybox", "example.org/a/b:1").unwrap();
    let hex = id.strip_prefix("sha256:").unwrap();
    for name in [
        "busybox",
        "busybox:latest",
        "docker.io/library/busybox",
        "example.org/a/b:1",
        &id,
        hex,
        &hex[..12],
        &hex[..2],
        &format!("sha256:{}", &hex[..8]),
    ] {
        assert_eq!(engine.image_inspect(name, None).unwrap().summary.id, id, "{name}");
    }
    for (name, message) in [
        ("nothing", "No such image: nothing:latest"),
        ("example.org/a/b", "No such image: example.org/a/b:latest"),
        ("busybox:2", "No such image: busybox:2"),
    ] {
        let error = engine.image_inspect(name, None).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.kind()), (message, Kind::NotFound));
    }
    assert_eq!(engine.image_inspect("Bad Name", None).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(engine.images().unwrap()[0].tags, ["busybox:latest", "example.org/a/b:1"]);
}

#[test]
fn what_is_saved_is_loaded_again() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    engine.tag("busybox", "other:1").unwrap();
    let id = engine.images().unwrap()[0].id.clone();
    let mut archive = Vec::new();
    engine.save(&["busybox".to_owned(), "other:1".to_owned()], &[], &mut archive).unwrap();
    let second = Fixture::empty();
    let loaded = second.engine.load(Archive::Stream(&mut &archive[..]), &LoadImages::default()).unwrap();
    assert_eq!(
        (loaded.len(), &loaded[0].id, &loaded[0].tags),
        (1, &id, &vec!["busybox:latest".to_owned(), "other:1".to_owned()])
    );
    assert_eq!(second.output(&Fixture::shell("echo loaded")), (0, "loaded\n".to_owned()));
    let mut nameless = Vec::new();
    engine.save(std::slice::from_ref(&id), &[], &mut nameless).unwrap();
    let third = Fixture::empty();
    assert!(
        third.engine.load(Archive::Stream(&mut &nameless[..]), &LoadImages::default()).unwrap()[0]
            .tags
            .is_empty()
    );
    assert!(engine.save(&["nothing".to_owned()], &[], &mut Vec::new()).is_err());
}

#[test]
fn a_name_that_moves_leaves_the_other_image_dangling() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let first = engine.images().unwrap()[0].id.clone();
    let second = fixture.import("busybox", &["ENV A=1"]);
    assert_ne!(first, second);
    let images = engine.images().unwrap();
    assert_eq!(images.len(), 2);
    assert!(images.iter().any(|image| image.id == first && image.tags.is_empty()));
    let pruned = engine.prune_images(false, &|_| false).unwrap();
    assert!(pruned.removed.contains(&ImageRemoval::Deleted(first)), "{pruned:?}");
    assert_eq!(engine.images().unwrap().len(), 1);
    assert_eq!(
        fixture.output(&Fixture::shell("echo $A")),
        (0, "1\n".to_owned()),
        "its layer is shared and stays"
    );
}

#[test]
fn an_image_goes_with_its_last_name() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let remove =
        |name: &str, force| engine.remove_image(name, &RemoveImage { force, ..RemoveImage::default() });
    engine.tag("busybox", "other").unwrap();
    let id = engine.images().unwrap()[0].id.clone();
    let error = remove(&id, false).unwrap_err();
    assert!(
        error.to_string().contains("(must be forced) - image is referenced in multiple repositories"),
        "{error}"
    );
    assert_eq!(remove("other", false).unwrap(), [ImageRemoval::Untagged("other:latest".to_owned())]);
    let removed = remove("busybox", false).unwrap();
    assert_eq!(
        removed[..2],
        [ImageRemoval::Untagged("busybox:latest".to_owned()), ImageRemoval::Deleted(id)]
    );
    assert_eq!(removed.len(), 3, "and its layer: {removed:?}");
    assert_eq!(std::fs::read_dir(fixture.base.join("root/layers")).unwrap().count(), 0);
    assert_eq!(remove("busybox", true).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn what_a_container_needs_stays() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    let mut request = Fixture::shell("sleep 1000");
    request.name = Some("web".to_owned());
    engine.run(&request, None).unwrap();
    let remove = |force| engine.remove_image("busybox", &RemoveImage { force, ..RemoveImage::default() });
    let error = remove(false).unwrap_err();
    assert!(
        error.to_string().contains("(must force) - container")
            || error.to_string().contains("being used by running container"),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Conflict);
    engine.stop("web", &engine::request::Stop { timeout_secs: Some(0), ..Default::default() }).unwrap();
    assert_eq!(remove(true).unwrap(), [ImageRemoval::Untagged("busybox:latest".to_owned())]);
    assert!(engine.prune_images(true, &|_| false).unwrap().removed.is_empty(), "a container uses it");
    engine.start("web", None).unwrap().unwrap();
    engine.remove("web", &Remove { force: true, ..Remove::default() }).unwrap();
    assert_eq!(engine.prune_images(false, &|_| false).unwrap().removed.len(), 2);
    assert!(engine.images().unwrap().is_empty());
}

#[test]
fn a_missing_image_says_where_images_come_from() {
    let fixture = Fixture::new();
    let mut request = Create { image: "nothing".to_owned(), ..Create::default() };
    let error = fixture.engine.create(&request).unwrap_err();
    assert!(error.to_string().starts_with("Unable to find image 'nothing:latest' locally"), "{error}");
    request.pull = Pull::Never;
    assert_eq!(fixture.engine.create(&request).unwrap_err().to_string(), "No such image: nothing:latest");
    request.image = "busybox".to_owned();
    request.pull = Pull::Always;
    assert_eq!(fixture.engine.create(&request).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn damage_is_found_and_named() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    assert!(engine.verify_images(&[]).unwrap()[0].faults.is_empty());
    let layer = std::fs::read_dir(fixture.base.join("root/layers")).unwrap().next().unwrap().unwrap().path();
    drop(std::process::Command::new("chattr").arg("-i").arg(&layer).output());
    std::fs::set_permissions(&layer, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut content = std::fs::read(&layer).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 1;
    std::fs::write(&layer, content).unwrap();
    let found = engine.verify_images(&["busybox".to_owned()]).unwrap();
    assert_eq!(found[0].faults.len(), 1, "{found:?}");
    assert!(found[0].faults[0].contains(&*layer.file_stem().unwrap().to_string_lossy()), "{found:?}");
}

#[test]
fn history_tells_each_step_with_its_size() {
    let fixture = Fixture::empty();
    fixture.import("busybox", &["ENV A=1"]);
    let steps = fixture.engine.history("busybox", None).unwrap();
    assert!(steps[0].id.is_some() && steps[0].tags == ["busybox:latest"]);
    assert!(steps.iter().map(|step| step.size).sum::<u64>() > 1_000_000);
    assert!(steps.iter().any(|step| step.comment == "Imported from -"), "{steps:?}");
    let summary = &fixture.engine.images().unwrap()[0];
    assert_eq!(steps.iter().map(|step| step.size).sum::<u64>(), summary.size);
}

#[test]
fn info_counts_what_there_is() {
    let fixture = Fixture::new();
    let engine = &fixture.engine;
    engine.run(&Fixture::shell("sleep 1000"), None).unwrap();
    let done = engine.run(&Fixture::shell("true"), None).unwrap();
    engine.wait(done.id.as_str(), WaitFor::NotRunning).unwrap();
    let info = engine.info().unwrap();
    assert_eq!((info.containers, info.running, info.stopped, info.images), (2, 1, 1, 1));
    assert!(info.cpus >= 1 && info.memory > 0 && !info.rootless);
    assert_eq!(info.version.schema, state::SCHEMA_VERSION);
}
