//! Files to which somebody may be writing without that their times tell.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ::build::Step;
use linux::mapping::Mapping;
use oci::Digest;
use testkit::Scratch;

use super::{Hashes as _, Identity};
use crate::build::copy;
use crate::build::tree::Tree;
use crate::build::world::{World, copied, key, listed, op, quiet, words};

/// Waits until a file's times do not say any more that it may have changed within the same tick.
fn settle(path: &Path) {
    testkit::wait_until("the file is left alone for a while", || !identity(path).is_recent(2000));
}

fn identity(path: &Path) -> Identity {
    Identity::of(&rustix::fs::stat(path).unwrap())
}

/// An archive that has the word in a file of its own.
fn archive(word: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(word.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "word", word.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn what_is_written_through_a_mapping_is_seen_without_a_change_of_times() {
    let world = World::new();
    let session = world.session();
    let directory = world.directory("context", "");
    let path = directory.join("file");
    std::fs::write(&path, archive("one")).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut mapping = Mapping::new(&file, archive("one").len()).unwrap();
    drop(file);
    for line in ["COPY file /x", "ADD file /x/", "ADD file /x"] {
        mapping.write(0, &archive("one"));
        settle(&path);
        let (op, inputs) = (op(line), [Tree::empty(), world.open(&directory, "")]);
        let step = Step::new(0, session.cancel, &quiet);
        let perform = || copy::perform(&session, &op, &inputs, &step);
        copy::content(&session, &op, &inputs, &step).unwrap();
        assert_eq!(world.hashes.find(&[identity(&path)]), [None], "what may be written to is not remembered");
        perform().expect("who has it mapped need not write");
        mapping.write(0, &archive("two"));
        let error = perform().unwrap_err();
        assert!(words(&error).contains("file changed while it was read"), "{line}: {}", words(&error));
    }
    drop(mapping);
    settle(&path);
    key(&session, &Tree::empty(), &world.open(&directory, ""), "COPY file /x").unwrap();
    let known = world.hashes.find(&[identity(&path)]);
    assert_eq!(known, [Some(Digest::of(&archive("two")))], "nobody writes to it any more");
}

#[test]
fn a_file_with_holes_is_doubted_as_any() {
    let world = World::new();
    let session = world.session();
    let directory = world.directory("context", "");
    let file = File::create_new(directory.join("sparse")).unwrap();
    file.set_len(3 << 20).unwrap();
    for (offset, text) in [(1 << 20, "middle"), ((2 << 20) + 5, "more")] {
        file.write_at(text.as_bytes(), offset).unwrap();
    }
    // Open for writing, so it is doubted, and is what it was.
    let tree = copied(&session, &Tree::empty(), &world.open(&directory, ""), "COPY . /").unwrap();
    assert!(tree.layers()[0].size < 1 << 20, "{} bytes", tree.layers()[0].size);
    drop(file);
}

#[test]
fn where_times_do_not_tell_a_wrong_digest_is_found_out_and_forgotten() {
    let world = World::new();
    let session = world.session();
    let memory = Scratch::in_memory();
    std::fs::write(memory.join("file"), "content").unwrap();
    let identity = identity(&memory.join("file"));
    world.hashes.keep(&[(identity, Digest::of(b"what it was before it was mapped"))]);
    let copied = || copied(&session, &Tree::empty(), &world.open(memory.as_ref(), ""), "COPY file /x");
    let error = copied().unwrap_err();
    assert!(words(&error).contains("file changed while it was read"), "{}", words(&error));
    assert_eq!(listed(&session, &copied().unwrap()), "0644 0:0 /x = content\n");
}
