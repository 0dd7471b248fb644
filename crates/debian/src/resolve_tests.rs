//! Dependencies of small archives of one line a package: what is chosen, refused, and in which words.

use super::*;

/// An archive of one line a package: `name version [Field=value]…`, where `_` stands for a space.
fn index(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        text += &format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nFilename: pool/{name}_{version}.deb\nSize: 1\nSHA256: {}\n",
            "0".repeat(64)
        );
        for word in words {
            let (field, value) = word.split_once('=').unwrap();
            text += &format!("{field}: {}\n", value.replace('_', " "));
        }
        text.push('\n');
    }
    text
}

fn selected(lines: &[&str], packages: &[&str], base: Base) -> Result<String, Unresolved> {
    let index = index(lines);
    let mut universe = Universe::default();
    universe.add(&index, "amd64", 0).unwrap();
    let packages: Vec<String> = packages.iter().map(|name| (*name).to_owned()).collect();
    let selection =
        resolve(&universe, Wanted { packages: &packages, base, omit: &nothing_omitted, prefer: &[] })?;
    let mut staged: Vec<usize> = selection.stages.concat();
    staged.sort_unstable();
    let mut all = selection.packages.clone();
    all.sort_unstable();
    assert_eq!(staged, all);
    let names: Vec<String> =
        selection.packages.iter().map(|at| universe.packages()[*at].full_name()).collect();
    Ok(names.join(" "))
}

#[test]
fn what_is_wanted_brings_what_it_depends_on() {
    let archive = [
        "base 1 Essential=yes",
        "req 1 Priority=required",
        "apt 2 Depends=lib_(>=_2)",
        "lib 1",
        "lib 2 Depends=lib-data_(=_2)",
        "lib-data 1",
        "lib-data 2",
        "lib-data 3",
        "a 1 Depends=lib,missing_|_b:any Recommends=never",
        "b 1 Pre-Depends=a",
        "never 1",
    ];
    for (packages, base, expected) in [
        (&["lib"][..], Base::None, "lib=2 lib-data=2"),
        (&["lib=1"], Base::None, "lib=1"),
        (&["a"], Base::None, "a=1 b=1 lib=2 lib-data=2"),
        (&[], Base::Minimal, "apt=2 base=1 lib=2 lib-data=2 req=1"),
        (&[], Base::None, ""),
    ] {
        assert_eq!(selected(&archive, packages, base).as_deref(), Ok(expected), "{packages:?}");
    }
}

#[test]
fn the_core_is_the_base_and_what_it_depends_on() {
    let archive = [
        "base 1 Essential=yes Pre-Depends=awk",
        "mawk 1 Provides=awk",
        "apt 1 Depends=lib",
        "lib 1",
        "tool 1 Depends=lib,more",
        "more 1",
    ];
    let index = index(&archive);
    let mut universe = Universe::default();
    universe.add(&index, "amd64", 0).unwrap();
    let packages = ["tool".to_owned()];
    let wanted = Wanted { packages: &packages, base: Base::Minimal, omit: &nothing_omitted, prefer: &[] };
    let selection = resolve(&universe, wanted).unwrap();
    let names: Vec<&str> = selection.core.iter().map(|at| universe.packages()[*at].name).collect();
    assert_eq!(names, ["apt", "base", "lib", "mawk"]);
    assert_eq!(selection.packages.len(), 6);
}

#[test]
fn providers_stand_in_unless_a_version_is_asked_for_that_they_do_not_say() {
    let archive = [
        "mawk 1 Provides=awk Priority=required",
        "gawk 2 Provides=awk_(=_5)",
        "bwk 1 Provides=awk",
        "a 1 Depends=awk",
        "b 1 Depends=awk_(>=_4)",
        "c 1 Depends=gawk,a",
        "d 1 Depends=awk_(>=_6)",
        "e 1 Depends=bwk:amd64",
    ];
    for (wanted, expected) in [("a", "a=1 mawk=1"), ("b", "b=1 gawk=2"), ("c", "a=1 c=1 gawk=2")] {
        assert_eq!(selected(&archive, &[wanted], Base::None).as_deref(), Ok(expected));
    }
    // What another package brings in any case is no choice, whichever of the two comes first.
    assert_eq!(selected(&archive, &["a", "gawk"], Base::None).as_deref(), Ok("a=1 gawk=2"));
    for (wanted, relation) in [("d", "awk (>= 6)"), ("e", "bwk:amd64")] {
        let missing = Unresolved::Missing { by: format!("{wanted}=1"), relation: relation.to_owned() };
        assert_eq!(selected(&archive, &[wanted], Base::None), Err(missing));
    }
}

#[test]
fn a_choice_that_leads_to_a_conflict_is_taken_back() {
    let archive = [
        "mta 1 Depends=exim_|_postfix",
        "exim 1 Depends=exim-data",
        "exim-data 1 Conflicts=tool",
        "postfix 1",
        "tool 1",
        "late 1 Depends=mta,tool-user",
        "tool-user 1 Depends=tool_|_other",
        "other 1",
    ];
    assert_eq!(selected(&archive, &["mta", "tool"], Base::None).as_deref(), Ok("mta=1 postfix=1 tool=1"));
    assert_eq!(
        selected(&archive, &["late"], Base::None).as_deref(),
        Ok("exim=1 exim-data=1 late=1 mta=1 other=1 tool-user=1")
    );
}

#[test]
fn an_older_version_is_taken_where_the_newest_does_not_fit() {
    let archive = ["app 1 Depends=lib,tool", "lib 2", "lib 1", "tool 1 Breaks=lib_(>>_1)"];
    assert_eq!(selected(&archive, &["app"], Base::None).as_deref(), Ok("app=1 lib=1 tool=1"));
}

#[test]
fn conflicts_are_told_by_name_and_a_package_never_conflicts_with_itself() {
    let archive = [
        "exim 1 Provides=mta Conflicts=mta",
        "postfix 1 Provides=mta Conflicts=mta",
        "old 1",
        "new 2 Breaks=old_(<<_2)",
    ];
    assert_eq!(selected(&archive, &["exim"], Base::None).as_deref(), Ok("exim=1"));
    let told = |packages: &[&str]| selected(&archive, packages, Base::None).unwrap_err().to_string();
    assert_eq!(
        told(&["exim", "postfix"]),
        "the request needs postfix, but postfix=1 conflicts with mta, which exim=1 fulfils"
    );
    assert_eq!(
        told(&["new", "old"]),
        "the request needs old, but new=2 conflicts with old (<< 2), which old=1 fulfils"
    );
    assert_eq!(told(&["nothing"]), "the archive has no package nothing");
    assert_eq!(told(&["old=2"]), "the archive has no version 2 of old, but 1");
    assert_eq!(told(&["old="]), "\"old=\" is no package: wanted is NAME or NAME=VERSION");
    assert_eq!(told(&["../old"]), "\"../old\" is no package: wanted is NAME or NAME=VERSION");
}

#[test]
fn what_a_package_needs_to_be_unpacked_is_in_a_stage_before_it() {
    let lines = [
        "a 1 Pre-Depends=b",
        "b 1 Depends=c",
        "c 1",
        "d 1 Pre-Depends=e",
        "e 1 Pre-Depends=d",
        "f 1 Pre-Depends=a",
    ];
    let index = index(&lines);
    let mut universe = Universe::default();
    universe.add(&index, "amd64", 0).unwrap();
    let packages: Vec<String> = ["d", "f"].map(str::to_owned).to_vec();
    let selection = resolve(
        &universe,
        Wanted { packages: &packages, base: Base::None, omit: &nothing_omitted, prefer: &[] },
    )
    .unwrap();
    let stages: Vec<String> = selection
        .stages
        .iter()
        .map(|stage| stage.iter().map(|at| universe.packages()[*at].name).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(stages, ["b c", "a", "f", "d e"]);
}

#[test]
fn a_hostile_tangle_ends() {
    // Each of 40 needs one of two, and all of the second ones conflict with what is only met at the end.
    let mut lines = vec!["end 1 Depends=nowhere".to_owned()];
    let mut names = Vec::new();
    for number in 0..40 {
        lines.push(format!("p{number} 1 Depends=x{number}_|_y{number}"));
        lines.push(format!("x{number} 1"));
        lines.push(format!("y{number} 1"));
        names.push(format!("p{number}"));
    }
    lines.push("z 1 Depends=end_|_end".to_owned());
    lines.push("zz 1 Depends=z_|_zzz".to_owned());
    lines.push("zzz 1 Conflicts=p0".to_owned());
    names.push("zz".to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = selected(&lines, &names, Base::None).unwrap_err();
    assert!(matches!(error, Unresolved::Entangled { .. }), "{error}");
}

#[test]
fn what_may_be_omitted_comes_only_where_it_is_wanted() {
    let archive = ["a 1 Depends=tool_|_other,lib", "lib 1 Pre-Depends=tool", "tool 1", "other 1"];
    let index = index(&archive);
    let mut universe = Universe::default();
    universe.add(&index, "amd64", 0).unwrap();
    let omit = |_: &str, needed: &str| needed == "tool";
    for (wanted, expected) in [(&["a"][..], "a lib"), (&["a", "tool"], "a lib tool")] {
        let packages: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let selection =
            resolve(&universe, Wanted { packages: &packages, base: Base::None, omit: &omit, prefer: &[] })
                .unwrap();
        let names: Vec<&str> = selection.packages.iter().map(|at| universe.packages()[*at].name).collect();
        assert_eq!(names.join(" "), expected);
    }
}

#[test]
fn what_is_preferred_comes_before_what_stands_first() {
    let index = index(&["a 1 Depends=good_|_better", "good 1", "better 1"]);
    let mut universe = Universe::default();
    universe.add(&index, "amd64", 0).unwrap();
    let packages = ["a".to_owned()];
    for (prefer, expected) in [(&[][..], "good"), (&["better"], "better")] {
        let wanted = Wanted { packages: &packages, base: Base::None, omit: &nothing_omitted, prefer };
        let chosen = resolve(&universe, wanted).unwrap().packages;
        assert!(chosen.iter().any(|at| universe.packages()[*at].name == expected) && chosen.len() == 2);
    }
}
