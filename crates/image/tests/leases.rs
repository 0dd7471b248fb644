//! What is fetched beside a collector: neither waits for the other, and nothing that is relied on goes.
#![allow(clippy::disallowed_methods, reason = "tests handle their own files")]
#![allow(clippy::unwrap_used, reason = "what fails to be set up fails the test")]

mod archives_support;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use archives_support::*;
use image::{Compression, Live, Remote, RemoteImage, Store};
use oci::{Descriptor, Digest, Manifest};
use serde_json::json;

/// What leads to the image, as far as the store cares.
const INDEX: &[u8] = b"{}";

/// An image of a registry: the bytes of manifest and config, and the blobs of its layers.
struct Image {
    manifest: Vec<u8>,
    config: Vec<u8>,
    blobs: Vec<(Digest, Vec<u8>)>,
}

fn image_of(layers: &[Vec<u8>]) -> Image {
    let plain: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    let config = config(&plain).to_string().into_bytes();
    let blobs: Vec<(Digest, Vec<u8>)> = layers
        .iter()
        .map(|layer| compress(Compression::Gzip, layer))
        .map(|blob| (Digest::of(&blob), blob))
        .collect();
    let of = |kind: &str, digest: &Digest, size: usize| json!({"mediaType": kind, "digest": digest.as_str(), "size": size});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": of("application/vnd.oci.image.config.v1+json", &Digest::of(&config), config.len()),
        "layers": blobs.iter().map(|(digest, blob)| {
            of("application/vnd.oci.image.layer.v1.tar+gzip", digest, blob.len())
        }).collect::<Vec<_>>(),
    });
    Image { manifest: manifest.to_string().into_bytes(), config, blobs }
}

impl Image {
    /// Fetches it; blobs come from `open`.
    fn fetch(
        &self,
        store: &Store,
        open: &(dyn Fn(&[u8]) -> Box<dyn Read + Send> + Sync),
    ) -> image::Result<image::Loaded> {
        let descriptor: Descriptor = serde_json::from_value(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": Digest::of(&self.manifest).as_str(), "size": self.manifest.len()}))
        .unwrap();
        let open = |wanted: &Descriptor, _: u64| -> io::Result<Box<dyn Read + Send>> {
            let found = self.blobs.iter().find(|(digest, _)| *digest == wanted.digest);
            Ok(open(&found.unwrap().1))
        };
        let manifest = Manifest::parse(&self.manifest).unwrap();
        image::fetch(
            store,
            Remote {
                name: "image".to_owned(),
                images: vec![RemoteImage {
                    manifest: (descriptor, self.manifest.clone(), manifest),
                    config: self.config.clone(),
                }],
                documents: vec![(Digest::of(INDEX), INDEX.to_vec())],
                platform: None,
                open: &open,
                watch: &|_, _| (),
            },
        )
    }
}

fn at_once(blob: &[u8]) -> Box<dyn Read + Send> {
    Box::new(io::Cursor::new(blob.to_vec()))
}

/// Has nothing to say before the other end is gone.
struct Behind(Receiver<()>, io::Cursor<Vec<u8>>);

impl Read for Behind {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv().unwrap_or_default();
        self.1.read(buffer)
    }
}

fn count(root: &Path, directory: &str) -> usize {
    std::fs::read_dir(root.join(directory)).map_or(0, Iterator::count)
}

#[test]
fn nothing_that_a_fetch_relies_on_is_collected_and_neither_waits_for_the_other() {
    let layers = [layer("base"), layer("top")];
    let (below, above) = (image_of(&layers[..1]), image_of(&layers));
    let scratch = Scratch::new();
    let store = scratch.store();
    // The base is here, and no name leads to it.
    drop(below.fetch(&store, &at_once).unwrap());
    let (told, asked) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(Some((told, gate)));
    let slow = |blob: &[u8]| -> Box<dyn Read + Send> {
        let (told, gate) = gate.lock().unwrap().take().expect("one blob is missing");
        told.send(()).unwrap();
        Box::new(Behind(gate, io::Cursor::new(blob.to_vec())))
    };
    std::thread::scope(|scope| {
        let fetched = scope.spawn(|| above.fetch(&store, &slow).unwrap());
        asked.recv_timeout(Duration::from_secs(60)).unwrap();
        // It would wait for ever if the store were held.
        let collected = store.collector().unwrap().collect(&Live::default()).unwrap();
        assert!(collected.layers.is_empty(), "{collected:?}");
        assert_eq!(
            collected.documents.len(),
            2,
            "config and manifest of the base alone, the index is the other one's, too: {collected:?}"
        );
        assert_eq!(count(store.root(), "layers"), 1);
        drop(go);
        let fetched = fetched.join().unwrap();
        assert!(store.try_collector().unwrap().is_none(), "its names are not committed");
        assert_eq!(image::verify(&store, &fetched.images[0].id, None).unwrap(), []);
    });
    let collected = store.collector().unwrap().collect(&Live::default()).unwrap();
    assert_eq!(collected.layers.len(), 2, "the lease has ended: {collected:?}");
    assert_eq!(count(store.root(), "tmp"), 0);
}

#[test]
fn the_lease_of_who_is_gone_keeps_nothing_and_that_of_the_living_does() {
    let scratch = Scratch::new();
    let store = scratch.store();
    let base = [layer("base")];
    drop(image_of(&base).fetch(&store, &at_once).unwrap());
    let maker = store.root().join("tmp/1-0-maker");
    std::fs::create_dir(&maker).unwrap();
    std::fs::write(
        maker.join("lease"),
        format!("layer {}\nunknown x\nlayer\n", Digest::of(&base[0]).encoded()),
    )
    .unwrap();
    let lock = std::fs::File::open(&maker).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    // What is no scratch directory is in nobody's way.
    std::fs::write(store.root().join("tmp/stray"), b"").unwrap();
    let collected = store.collector().unwrap().collect(&Live::default()).unwrap();
    assert!(collected.layers.is_empty() && collected.documents.len() == 3, "{collected:?}");
    drop(lock);
    let collected = store.collector().unwrap().collect(&Live::default()).unwrap();
    assert_eq!(collected.layers.len(), 1);
    assert_eq!((count(store.root(), "layers"), count(store.root(), "tmp")), (0, 0));
}
