//! Where copies go: files, directories, links, patterns.

use super::*;

#[test]
fn a_context_is_copied_whole() {
    check(
        "",
        TREE,
        "COPY . /",
        expect![[r#"
        0644 0:0 /a.txt = a (2 links)
        0600 0:0 /b.txt = b
        0750 0:0 /dir/
        0777 0:0 /dir/link -> ../a.txt
        0600 0:0 /dir/pipe (pipe)
        0755 0:0 /dir/run = run
        0755 0:0 /dir/sub/
        0644 0:0 /dir/sub/deep = deep
        0644 0:0 /hard = a (2 links)
        0777 0:0 /out -> /etc/hostname
    "#]],
    );
}

#[test]
fn a_file_goes_where_its_destination_says() {
    check(
        "",
        TREE,
        "COPY a.txt /x/y",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/y = a
    "#]],
    );
    check(
        "",
        TREE,
        "COPY a.txt /x/y/",
        expect![[r#"
        0755 0:0 /x/
        0755 0:0 /x/y/
        0644 0:0 /x/y/a.txt = a
    "#]],
    );
    check(
        "d x/y 700",
        TREE,
        "COPY a.txt /x/y",
        expect![[r#"
        0755 0:0 /x/
        0700 0:0 /x/y/
        0644 0:0 /x/y/a.txt = a
    "#]],
    );
    check(
        "f x 644 old",
        TREE,
        "COPY a.txt /x",
        expect![[r#"
        0644 0:0 /x = a
    "#]],
    );
    check(
        "f x 644 old",
        TREE,
        "COPY a.txt /x/y",
        expect![[r#"
        mkdir /x: not a directory
    "#]],
    );
    check(
        "",
        TREE,
        "COPY a.txt b.txt /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a
        0600 0:0 /x/b.txt = b
    "#]],
    );
    check(
        "",
        TREE,
        "COPY out /x",
        expect![[r#"
        failed to compute cache key: failed to calculate checksum of ref context: "/out": not found
    "#]],
    );
    check(
        "",
        TREE,
        "COPY dir/link /x",
        expect![[r#"
        0644 0:0 /x = a
    "#]],
    );
}

#[test]
fn a_directory_stands_for_what_is_in_it() {
    check(
        "",
        TREE,
        "COPY dir /x",
        expect![[r#"
        0755 0:0 /x/
        0777 0:0 /x/link -> ../a.txt
        0600 0:0 /x/pipe (pipe)
        0755 0:0 /x/run = run
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY dir/ /x/",
        expect![[r#"
        0755 0:0 /x/
        0777 0:0 /x/link -> ../a.txt
        0600 0:0 /x/pipe (pipe)
        0755 0:0 /x/run = run
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "d x 711\nd x/sub 711\nf x/sub/deep 600 old\nf x/kept 644 kept",
        TREE,
        "COPY dir /x",
        expect![[r#"
            0711 0:0 /x/
            0644 0:0 /x/kept = kept
            0777 0:0 /x/link -> ../a.txt
            0600 0:0 /x/pipe (pipe)
            0755 0:0 /x/run = run
            0755 0:0 /x/sub/
            0644 0:0 /x/sub/deep = deep
        "#]],
    );
    check(
        "f x 644 file",
        TREE,
        "COPY dir /x",
        expect![[r#"
        cannot copy to non-directory: /x
    "#]],
    );
    check(
        "f x/sub 644 file",
        TREE,
        "COPY dir /x",
        expect![[r#"
        cannot copy to non-directory: /x/sub
    "#]],
    );
    check(
        "d x/run 755",
        TREE,
        "COPY dir /x",
        expect![[r#"
        cannot replace to directory /x/run with file
    "#]],
    );
}

#[test]
fn links_of_the_destination_are_followed_within_the_tree() {
    check(
        "d usr/lib 755\nl lib usr/lib",
        TREE,
        "COPY a.txt /lib/",
        expect![[r#"
        0777 0:0 /lib -> usr/lib
        0755 0:0 /usr/
        0755 0:0 /usr/lib/
        0644 0:0 /usr/lib/a.txt = a
    "#]],
    );
    check(
        "d usr/lib 755\nl lib /usr/lib",
        TREE,
        "COPY dir /lib/x",
        expect![[r#"
        0777 0:0 /lib -> /usr/lib
        0755 0:0 /usr/
        0755 0:0 /usr/lib/
        0755 0:0 /usr/lib/x/
        0777 0:0 /usr/lib/x/link -> ../a.txt
        0600 0:0 /usr/lib/x/pipe (pipe)
        0755 0:0 /usr/lib/x/run = run
        0755 0:0 /usr/lib/x/sub/
        0644 0:0 /usr/lib/x/sub/deep = deep
    "#]],
    );
    check(
        "l up ../../../../etc",
        TREE,
        "COPY a.txt /up/x",
        expect![[r#"
        0755 0:0 /etc/
        0644 0:0 /etc/x = a
        0777 0:0 /up -> ../../../../etc
    "#]],
    );
    check(
        "l x /y",
        TREE,
        "COPY a.txt /x",
        expect![[r#"
        0777 0:0 /x -> /y
        0644 0:0 /y = a
    "#]],
    );
    check(
        "l x y\nl y x",
        TREE,
        "COPY a.txt /x",
        expect![[r#"
        /x: too many levels of symbolic links
    "#]],
    );
    // One that a copied directory meets is replaced by a file, and refused for a directory.
    check(
        "d t 755\nl x/run ../t",
        TREE,
        "COPY dir /x",
        expect![[r#"
        0755 0:0 /t/
        0755 0:0 /x/
        0777 0:0 /x/link -> ../a.txt
        0600 0:0 /x/pipe (pipe)
        0755 0:0 /x/run = run
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "d t 755\nl x/sub ../t",
        TREE,
        "COPY dir /x",
        expect![[r#"
        cannot copy to non-directory: /x/sub
    "#]],
    );
}

#[test]
fn patterns_name_several_files() {
    check(
        "",
        TREE,
        "COPY *.txt /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a
        0600 0:0 /x/b.txt = b
    "#]],
    );
    check(
        "",
        TREE,
        "COPY di? /x/",
        expect![[r#"
        0755 0:0 /x/
        0777 0:0 /x/link -> ../a.txt
        0600 0:0 /x/pipe (pipe)
        0755 0:0 /x/run = run
        0755 0:0 /x/sub/
        0644 0:0 /x/sub/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY */sub/* /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/deep = deep
    "#]],
    );
    check(
        "",
        TREE,
        "COPY a.txt none* /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a
    "#]],
    );
    check("", TREE, "COPY none* /x/", expect![[r#""#]]);
    check(
        "",
        TREE,
        "COPY none /x/",
        expect![[r#"
        failed to compute cache key: failed to calculate checksum of ref context: "/none": not found
    "#]],
    );
    check(
        "",
        TREE,
        "COPY dir/none /x/",
        expect![[r#"
        failed to compute cache key: failed to calculate checksum of ref context: "/dir/none": not found
    "#]],
    );
    check(
        "",
        TREE,
        "COPY ../../a.txt /x/",
        expect![[r#"
        0755 0:0 /x/
        0644 0:0 /x/a.txt = a
    "#]],
    );
}
