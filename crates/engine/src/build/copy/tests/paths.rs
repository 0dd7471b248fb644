//! Where copies go: files, directories, links, patterns.

use super::*;

#[test]
fn a_context_is_copied_whole() {
    check(expect![[r#"
        COPY . /
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
    "#]]);
}

#[test]
fn a_file_goes_where_its_destination_says() {
    check(expect![[r#"
        COPY a.txt /x/y
            0755 0:0 /x/
            0644 0:0 /x/y = a

        COPY a.txt /x/y/
            0755 0:0 /x/
            0755 0:0 /x/y/
            0644 0:0 /x/y/a.txt = a

        over d x/y 700
        COPY a.txt /x/y
            0755 0:0 /x/
            0700 0:0 /x/y/
            0644 0:0 /x/y/a.txt = a

        over f x 644 old
        COPY a.txt /x
            0644 0:0 /x = a

        over f x 644 old
        COPY a.txt /x/y
            mkdir /x: not a directory

        COPY a.txt b.txt /x/
            0755 0:0 /x/
            0644 0:0 /x/a.txt = a
            0600 0:0 /x/b.txt = b

        COPY out /x
            failed to compute cache key: failed to calculate checksum of ref context: "/out": not found

        COPY dir/link /x
            0644 0:0 /x = a
    "#]]);
}

#[test]
fn a_directory_stands_for_what_is_in_it() {
    check(expect![[r#"
        COPY dir /x
            0755 0:0 /x/
            0777 0:0 /x/link -> ../a.txt
            0600 0:0 /x/pipe (pipe)
            0755 0:0 /x/run = run
            0755 0:0 /x/sub/
            0644 0:0 /x/sub/deep = deep

        COPY dir/ /x/
            0755 0:0 /x/
            0777 0:0 /x/link -> ../a.txt
            0600 0:0 /x/pipe (pipe)
            0755 0:0 /x/run = run
            0755 0:0 /x/sub/
            0644 0:0 /x/sub/deep = deep

        over d x 711
        over d x/sub 711
        over f x/sub/deep 600 old
        over f x/kept 644 kept
        COPY dir /x
            0711 0:0 /x/
            0644 0:0 /x/kept = kept
            0777 0:0 /x/link -> ../a.txt
            0600 0:0 /x/pipe (pipe)
            0755 0:0 /x/run = run
            0755 0:0 /x/sub/
            0644 0:0 /x/sub/deep = deep

        over f x 644 file
        COPY dir /x
            cannot copy to non-directory: /x

        over f x/sub 644 file
        COPY dir /x
            cannot copy to non-directory: /x/sub

        over d x/run 755
        COPY dir /x
            cannot replace to directory /x/run with file
    "#]]);
}

#[test]
fn links_of_the_destination_are_followed_within_the_tree() {
    check(expect![[r#"
        over d usr/lib 755
        over l lib usr/lib
        COPY a.txt /lib/
            0777 0:0 /lib -> usr/lib
            0755 0:0 /usr/
            0755 0:0 /usr/lib/
            0644 0:0 /usr/lib/a.txt = a

        over d usr/lib 755
        over l lib /usr/lib
        COPY dir /lib/x
            0777 0:0 /lib -> /usr/lib
            0755 0:0 /usr/
            0755 0:0 /usr/lib/
            0755 0:0 /usr/lib/x/
            0777 0:0 /usr/lib/x/link -> ../a.txt
            0600 0:0 /usr/lib/x/pipe (pipe)
            0755 0:0 /usr/lib/x/run = run
            0755 0:0 /usr/lib/x/sub/
            0644 0:0 /usr/lib/x/sub/deep = deep

        over l up ../../../../etc
        COPY a.txt /up/x
            0755 0:0 /etc/
            0644 0:0 /etc/x = a
            0777 0:0 /up -> ../../../../etc

        over l x /y
        COPY a.txt /x
            0777 0:0 /x -> /y
            0644 0:0 /y = a

        over l x y
        over l y x
        COPY a.txt /x
            /x: too many levels of symbolic links

        # One that a copied directory meets is replaced by a file, and refused for a directory.
        over d t 755
        over l x/run ../t
        COPY dir /x
            0755 0:0 /t/
            0755 0:0 /x/
            0777 0:0 /x/link -> ../a.txt
            0600 0:0 /x/pipe (pipe)
            0755 0:0 /x/run = run
            0755 0:0 /x/sub/
            0644 0:0 /x/sub/deep = deep

        over d t 755
        over l x/sub ../t
        COPY dir /x
            cannot copy to non-directory: /x/sub
    "#]]);
}

#[test]
fn patterns_name_several_files() {
    check(expect![[r#"
        COPY *.txt /x/
            0755 0:0 /x/
            0644 0:0 /x/a.txt = a
            0600 0:0 /x/b.txt = b

        COPY di? /x/
            0755 0:0 /x/
            0777 0:0 /x/link -> ../a.txt
            0600 0:0 /x/pipe (pipe)
            0755 0:0 /x/run = run
            0755 0:0 /x/sub/
            0644 0:0 /x/sub/deep = deep

        COPY */sub/* /x/
            0755 0:0 /x/
            0644 0:0 /x/deep = deep

        COPY a.txt none* /x/
            0755 0:0 /x/
            0644 0:0 /x/a.txt = a

        COPY none* /x/

        COPY none /x/
            failed to compute cache key: failed to calculate checksum of ref context: "/none": not found

        COPY dir/none /x/
            failed to compute cache key: failed to calculate checksum of ref context: "/dir/none": not found

        COPY ../../a.txt /x/
            0755 0:0 /x/
            0644 0:0 /x/a.txt = a
    "#]]);
}

#[test]
fn files_of_several_sources_are_files_of_their_own() {
    check(expect![[r#"
        COPY a.txt hard /x/
        COPY [ah]* /y/
        COPY . /z
            0755 0:0 /x/
            0644 0:0 /x/a.txt = a
            0644 0:0 /x/hard = a
            0755 0:0 /y/
            0644 0:0 /y/a.txt = a
            0644 0:0 /y/hard = a
            0755 0:0 /z/
            0644 0:0 /z/a.txt = a (2 links)
            0600 0:0 /z/b.txt = b
            0750 0:0 /z/dir/
            0777 0:0 /z/dir/link -> ../a.txt
            0600 0:0 /z/dir/pipe (pipe)
            0755 0:0 /z/dir/run = run
            0755 0:0 /z/dir/sub/
            0644 0:0 /z/dir/sub/deep = deep
            0644 0:0 /z/hard = a (2 links)
            0777 0:0 /z/out -> /etc/hostname
    "#]]);
}
