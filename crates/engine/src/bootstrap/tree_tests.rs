//! Trees that packages make, hostile ones too, in scratch directories.

use testkit::{Entry as Made, Scratch, layer};

use super::*;

fn tree() -> Tree {
    Tree::new(&Scratch::new(), "amd64").unwrap()
}

fn add(tree: &mut Tree, owner: &str, entries: &[Made<'_>], clash: Clash) -> Result<(), String> {
    tree.add(owner, &mut &layer(entries)[..], &|_| clash).map_err(|error| error.to_string())
}

/// Paths, with the targets of links.
fn shown(tree: &Tree) -> String {
    let mut bytes = Vec::new();
    tree.write(&mut bytes, 1000).unwrap();
    let mut parser = Parser::new(Limits::default());
    let mut lines = Vec::new();
    let mut take = |entry: Entry| {
        assert!(entry.mtime <= Time { secs: 1000, nanos: 0 });
        let path = String::from_utf8(entry.path.as_bytes().to_vec()).unwrap();
        lines.push(match entry.kind {
            Kind::Symlink(target) => format!("{path} -> {}", String::from_utf8_lossy(&target)),
            Kind::Hardlink(target) => format!("{path} = {}", String::from_utf8_lossy(target.as_bytes())),
            Kind::File(content) => format!("{path} {} {:o}", content.size, entry.mode),
            Kind::Directory | Kind::CharDevice(_) | Kind::BlockDevice(_) | Kind::Fifo => format!("{path}/"),
        });
        Ok::<(), image::tar::Error>(())
    };
    parser.push(&bytes, &mut take).unwrap();
    assert!(parser.finish().unwrap().terminated);
    lines.retain(|line| !line.starts_with("usr/sbin") && !line.starts_with("sbin") && !line.contains("lib"));
    lines.join("\n")
}

#[test]
fn what_lies_in_bin_is_put_below_usr() {
    let mut tree = tree();
    let entries = [
        Made::Directory("bin", 0o755),
        Made::File("bin/a", 0o4755, b"abc"),
        Made::Symlink("bin/b", "a"),
        Made::Symlink("bin", "usr/bin"),
    ];
    add(&mut tree, "p", &entries, Clash::Refuse).unwrap();
    assert_eq!(shown(&tree), "/\nbin -> usr/bin\nusr/\nusr/bin/\nusr/bin/a 3 4755\nusr/bin/b -> a");
    assert_eq!(tree.content("usr/bin/a", 3).unwrap(), b"abc");
    assert_eq!((tree.content("usr/bin/a", 2), tree.content("usr/bin/b", 9)), (None, None));
    assert_eq!(tree.list("usr/bin"), ["a", "b"]);
}

#[test]
fn names_of_one_file_stay_names_of_one_file_whichever_is_written_first() {
    let mut archive = Vec::new();
    let member = |path: &'static [u8], body| Member {
        path,
        body,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        xattrs: &[],
    };
    write_member(&member(b"bin/z", Body::File(2)), &mut archive);
    archive.extend(b"hi");
    archive.resize(archive.len() + padding(2), 0);
    write_member(&member(b"bin/a", Body::Hardlink(b"bin/z")), &mut archive);
    let end = archive.len();
    archive.extend(END);
    let mut tree = tree();
    tree.add("p", &mut &archive[..], &|_| Clash::Refuse).unwrap();
    assert_eq!(shown(&tree), "/\nbin -> usr/bin\nusr/\nusr/bin/\nusr/bin/a 2 644\nusr/bin/z = usr/bin/a");
    let truncated = tree.add("q", &mut &archive[..end], &|_| Clash::Replace).unwrap_err();
    assert!(truncated.to_string().contains("it is truncated"), "{truncated}");
}

#[test]
fn what_two_packages_have_is_decided_and_nothing_lies_below_a_link() {
    let mut tree = tree();
    add(&mut tree, "p", &[Made::File("etc/a", 0o644, b"1"), Made::Symlink("etc/l", "/tmp")], Clash::Refuse)
        .unwrap();
    let again = [Made::File("etc/a", 0o600, b"22")];
    assert!(
        add(&mut tree, "q", &again, Clash::Refuse)
            .unwrap_err()
            .starts_with("both p and q have the file /etc/a")
    );
    add(&mut tree, "q", &again, Clash::Keep).unwrap();
    assert_eq!(tree.content("etc/a", 9).unwrap(), b"1");
    add(&mut tree, "q", &again, Clash::Replace).unwrap();
    assert_eq!(tree.content("etc/a", 9).unwrap(), b"22");
    for entries in [
        &[Made::File("etc/l/x", 0o644, b"")][..],
        &[Made::File("etc/a/x", 0o644, b"")],
        &[Made::Directory("etc/a", 0o755)],
        &[Made::File("etc", 0o644, b"")],
        &[Made::Symlink("usr", "/tmp")],
    ] {
        let refused = add(&mut tree, "r", entries, Clash::Replace).unwrap_err();
        assert!(refused.starts_with("the package file of r cannot be used: /"), "{refused}");
    }
    tree.rewrite("etc/a", b"333").unwrap();
    tree.rewrite("etc/none", b"").unwrap();
    assert_eq!(tree.content("etc/a", 9).unwrap(), b"333");
    assert!(shown(&tree).contains("etc/a 3 600") && !tree.contains("etc/none"));
    tree.remove("etc/a");
    tree.remove("et");
    assert!(!tree.contains("etc/a") && tree.contains("etc/l"));
}
