//! Bills of materials of images with real databases: dpkg's of this host beside what dpkg says, rpm's as rpm writes it, and the same in
//! Berkeley DB, as perl writes that. And those that an image makes which somebody has named as the generator.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testkit::{Skiff, require};

struct Workshop {
    skiff: Skiff,
    context: PathBuf,
}

impl Workshop {
    fn new() -> Workshop {
        let skiff = Skiff::new().that_builds();
        let context = skiff.folder().join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY tree /\n").unwrap();
        std::fs::create_dir(context.join("tree")).unwrap();
        Workshop { skiff, context }
    }

    /// A file of the image, whose folders are made.
    fn file(&self, path: &str) -> PathBuf {
        let path = self.context.join("tree").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// The document that is written beside the files.
    fn document(&self) -> Value {
        let out = self.skiff.folder().join("out");
        let (output, context) =
            (format!("type=local,dest={},mode=delete", out.display()), self.context.to_str().unwrap());
        let built = self.skiff.run(&["build", "--progress=plain", "--sbom=true", "-o", &output, context]);
        assert_eq!(built.code, 0, "{}", built.stderr);
        let statement = std::fs::read(out.join("sbom.spdx.json")).unwrap();
        let statement: Value = serde_json::from_slice(&statement).unwrap();
        assert_eq!(statement["predicateType"], "https://spdx.dev/Document");
        statement["predicate"].clone()
    }

    fn purls(&self) -> BTreeSet<String> {
        let document = self.document();
        assert!(document["creationInfo"]["comment"].is_null(), "{}", document["creationInfo"]);
        let packages = document["packages"].as_array().unwrap().iter();
        packages
            .filter_map(|one| Some(one["externalRefs"][0]["referenceLocator"].as_str()?.to_owned()))
            .collect()
    }
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_dpkg_has_installed_is_listed() {
    let workshop = Workshop::new();
    std::fs::copy("/var/lib/dpkg/status", workshop.file("var/lib/dpkg/status")).unwrap();
    std::fs::write(workshop.file("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\n").unwrap();
    let format =
        "${db:Status-Status} pkg:deb/debian/${Package}@${Version}?arch=${Architecture}&distro=debian-12\n";
    let wanted = said(Command::new("dpkg-query").args(["--show", "-f", format]));
    let installed = wanted.lines().filter_map(|line| line.strip_prefix("installed "));
    // In addresses a sign stands for something.
    let wanted: BTreeSet<String> = installed.map(|line| line.replace('+', "%2B")).collect();
    assert!(wanted.len() > 50, "{wanted:?}");
    let found: BTreeSet<String> = workshop
        .purls()
        .into_iter()
        .map(|purl| purl.split("&upstream=").next().unwrap().to_owned())
        .collect();
    let missing: Vec<_> = wanted.symmetric_difference(&found).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// A database of rpm with these packages, made by rpm itself.
fn rpm(folder: &Path, packages: &[(&str, &str)]) -> PathBuf {
    require("rpmbuild", "rpm");
    let (top, root) = (folder.join("top"), folder.join("root"));
    for (name, version) in packages {
        let spec = folder.join(format!("{name}.spec"));
        let text = format!(
            "Name: {name}\nVersion: {version}\nRelease: 3\nEpoch: 4\nSummary: x\nLicense: GPLv2+ and MIT\nBuildArch: noarch\nVendor: Example\n%description\nx\n%files\n"
        );
        std::fs::write(&spec, text).unwrap();
        let top = format!("_topdir {}", top.display());
        said(Command::new("rpmbuild").args(["--quiet", "--define", &top, "-bb"]).arg(&spec));
        let package = folder.join(format!("top/RPMS/noarch/{name}-{version}-3.noarch.rpm"));
        said(
            Command::new("rpm")
                .args([
                    "--define",
                    "_db_backend sqlite",
                    "--define",
                    "_dbpath /var/lib/rpm",
                    "--nosignature",
                    "--nodigest",
                    "--nodeps",
                    "--noscripts",
                ])
                .arg("--root")
                .arg(&root)
                .arg("-i")
                .arg(&package),
        );
    }
    root.join("var/lib/rpm/rpmdb.sqlite")
}

#[test]
fn what_rpm_has_installed_is_listed_from_whichever_database() {
    let workshop = Workshop::new();
    let folder = workshop.skiff.folder().join("rpm");
    std::fs::create_dir(&folder).unwrap();
    let database = rpm(&folder, &[("hello", "1.2"), ("world", "2.0")]);
    let place = workshop.file("var/lib/rpm/rpmdb.sqlite");
    std::fs::copy(&database, &place).unwrap();
    let wanted: BTreeSet<String> = ["hello@1.2", "world@2.0"]
        .iter()
        .map(|name| {
            let source = name.replace('@', "-");
            format!("pkg:rpm/{name}-3?arch=noarch&epoch=4&upstream={source}-3.src.rpm")
        })
        .collect();
    assert_eq!(workshop.purls(), wanted);
    let document = workshop.document();
    // Words that are none of SPDX's are told as such.
    assert_eq!(document["hasExtractedLicensingInfos"][0]["extractedText"], "GPLv2+ and MIT");
    let license = &document["hasExtractedLicensingInfos"][0]["licenseId"];
    assert_eq!(&document["packages"][1]["licenseDeclared"], license);
    assert_eq!(document["packages"][1]["supplier"], "Organization: Example");

    // The same packages as rpm had them before: rows of SQLite become those of a hash.
    std::fs::remove_file(&place).unwrap();
    let rows = folder.join("rows");
    std::fs::create_dir(&rows).unwrap();
    let dump = "import sqlite3,sys
for number, blob in sqlite3.connect(sys.argv[1]).execute('SELECT hnum, blob FROM Packages'):
    open('%s/%d' % (sys.argv[2], number), 'wb').write(blob)";
    said(Command::new("python3").args(["-c", dump]).arg(&database).arg(&rows));
    let load = "my %h; tie %h, 'DB_File', $ARGV[0], O_RDWR|O_CREAT, 0644, $DB_HASH or die; undef $/;
$h{pack('L', 0)} = pack('L', 9);
for my $file (glob(\"$ARGV[1]/*\")) { open F, '<:raw', $file or die; $file =~ m{(\\d+)$}; $h{pack('L', $1)} = <F>; }";
    let place = workshop.file("var/lib/rpm/Packages");
    said(Command::new("perl").args(["-MDB_File", "-e", load]).arg(&place).arg(&rows));
    assert_eq!(workshop.purls(), wanted);
    // What is damaged is told of, and ends nothing.
    std::fs::write(&place, "no database").unwrap();
    let document = workshop.document();
    assert_eq!(document["creationInfo"]["comment"], "not understood, and left out: /var/lib/rpm/Packages");
}

#[test]
fn what_rpm_has_in_the_log_of_its_database_alone_is_listed() {
    let workshop = Workshop::new();
    let folder = workshop.skiff.folder().join("rpm");
    std::fs::create_dir(&folder).unwrap();
    let database = rpm(&folder, &[("hello", "1.2"), ("world", "2.0")]);
    // A database as it lies there while rpm works, or after it was killed: nothing has been brought from the log into the file, and
    // the last that was written is of no commit.
    let copy = "import shutil, sqlite3, sys
source, target = sys.argv[1:]
rows = sqlite3.connect(source).execute('SELECT hnum, blob FROM Packages').fetchall()
db = sqlite3.connect(target + '.work', isolation_level=None)
db.executescript('PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=1; CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL); PRAGMA wal_checkpoint(TRUNCATE)')
db.executemany('INSERT INTO Packages VALUES (?, ?)', rows)
db.execute('BEGIN')
db.executemany('INSERT INTO Packages VALUES (?, ?)', [(9 + n, b'x' * 9000) for n in range(50)])
shutil.copy(target + '.work', target)
shutil.copy(target + '.work-wal', target + '-wal')
db.execute('ROLLBACK')
db.close()";
    let place = folder.join("rpmdb.sqlite");
    said(Command::new("python3").args(["-c", copy]).arg(&database).arg(&place));
    std::fs::copy(&place, workshop.file("var/lib/rpm/rpmdb.sqlite")).unwrap();
    assert!(workshop.purls().is_empty(), "the file alone has none");
    // The log may come with another layer.
    std::fs::copy(folder.join("rpmdb.sqlite-wal"), workshop.context.join("log")).unwrap();
    let lines = "FROM scratch\nCOPY tree /\nCOPY log /var/lib/rpm/rpmdb.sqlite-wal\n";
    std::fs::write(workshop.context.join("Dockerfile"), lines).unwrap();
    let found = workshop.purls();
    let found: Vec<&str> = found.iter().map(|purl| purl.split('?').next().unwrap()).collect();
    assert_eq!(found, ["pkg:rpm/hello@1.2-3", "pkg:rpm/world@2.0-3"]);
}

/// A package of dpkg's that is there in a folder.
fn packaged(folder: &Path, name: &str) {
    std::fs::create_dir_all(folder.join("var/lib/dpkg")).unwrap();
    std::fs::create_dir_all(folder.join("etc")).unwrap();
    let status = format!("Package: {name}\nStatus: install ok installed\nVersion: 1-1\nArchitecture: all\n");
    std::fs::write(folder.join("var/lib/dpkg/status"), status).unwrap();
    std::fs::write(folder.join("etc/os-release"), "ID=debian\nVERSION_ID=\"12\"\n").unwrap();
}

#[test]
fn stages_and_the_context_are_listed_where_the_dockerfile_wants_it() {
    let workshop = Workshop::new();
    let context = &workshop.context;
    packaged(context, "of-context");
    for name in ["tree", "tools", "base"] {
        packaged(&context.join(name), &format!("of-{name}"));
    }
    let dockerfile = "ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\n\
        FROM scratch AS base\nCOPY base /\n\
        FROM scratch AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY tools /\n\
        FROM scratch AS unused\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY tools /\n\
        FROM base\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY tree /\nCOPY --from=tools /etc/os-release /copied\n";
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    let out = workshop.skiff.folder().join("out");
    let listed = |flags: &[&str]| -> Vec<(String, String)> {
        let output = format!("type=local,dest={},mode=delete", out.display());
        let begin = ["build", "--progress=plain", "--sbom=true", "-o", &output];
        let built = workshop.skiff.run(&[&begin[..], flags, &[context.to_str().unwrap()]].concat());
        assert_eq!(built.code, 0, "{}", built.stderr);
        let files = std::fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().path());
        let mut listed = Vec::new();
        for path in files.filter(|path| path.to_string_lossy().ends_with(".spdx.json")) {
            let statement: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(statement["predicateType"], "https://spdx.dev/Document");
            let packages = statement["predicate"]["packages"].as_array().unwrap();
            let names: Vec<&str> = packages[1..].iter().map(|one| one["name"].as_str().unwrap()).collect();
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            listed.push((file, names.join(" ")));
        }
        listed.sort();
        listed
    };
    let entry = |file: &str, names: &str| (format!("{file}.spdx.json"), names.to_owned());
    let (own, of_context) = (entry("sbom", "of-tree"), entry("sbom-context", "of-context"));
    let of_tools = entry("sbom-tools", "of-tools");
    let all = [of_context.clone(), of_tools.clone(), own.clone()];
    assert_eq!(listed(&[]), all);
    // Also where all is known.
    assert_eq!(listed(&[]), all);
    let argument = |name: &str, value: &str| format!("--build-arg=BUILDKIT_SBOM_SCAN_{name}={value}");
    assert_eq!(listed(&[&argument("STAGE", "false")]), [of_context.clone(), own.clone()]);
    assert_eq!(
        listed(&[&argument("STAGE", "other,tools"), &argument("CONTEXT", "base")]),
        [of_tools.clone(), own.clone()]
    );
    // Where no stage asks for it, nobody else can.
    assert_eq!(
        listed(&["--target=base", &argument("CONTEXT", "0"), &argument("STAGE", "1")]),
        [entry("sbom", "of-base")]
    );

    let layout = workshop.skiff.folder().join("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let words = ["build", "--sbom=true", "--provenance=false", "-o", &output, context.to_str().unwrap()];
    let built = workshop.skiff.run(&words);
    assert_eq!(built.code, 0, "{}", built.stderr);
    let read = |digest: &Value| -> Value {
        let digest = digest.as_str().unwrap().trim_start_matches("sha256:");
        serde_json::from_slice(&std::fs::read(layout.join("blobs/sha256").join(digest)).unwrap()).unwrap()
    };
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let index = read(&index["manifests"][0]["digest"]);
    let attested = read(&index["manifests"][1]["digest"]);
    let statements: Vec<Value> =
        attested["layers"].as_array().unwrap().iter().map(|layer| read(&layer["digest"])).collect();
    let names: Vec<&str> =
        statements.iter().map(|statement| statement["predicate"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["image", "context", "tools"]);
    let subject = &index["manifests"][0]["digest"].as_str().unwrap()["sha256:".len()..];
    assert!(statements.iter().all(|one| one["subject"][0]["digest"]["sha256"] == subject), "{statements:?}");
    let spaces: BTreeSet<&str> =
        statements.iter().map(|one| one["predicate"]["documentNamespace"].as_str().unwrap()).collect();
    assert_eq!(spaces.len(), 3);
}

/// Whatever it is shown, by its variables and its directories, as statements.
const GENERATOR: &str = r#"
set -e
scan() {
    name=${1##*/}
    if echo > "$1/written"; then exit 9; fi
    found=
    for file in "$1"/*; do found="$found ${file##*/}"; done
    echo "scans $name"
    cat > "$BUILDKIT_SCAN_DESTINATION/$name.spdx.json" <<END
{ "_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document",
  "subject": [{ "name": "mine", "digest": { "sha256": "00" } }],
  "predicate": { "name": "$name", "found": "$found", "mode": "$BUILDKIT_SCAN_Mode", "own": "$OWN", "cwd": "$PWD", "number": 1.50 } }
END
}
scan "$BUILDKIT_SCAN_SOURCE"
if [ -n "$BUILDKIT_SCAN_SOURCE_EXTRAS" ]; then
    for tree in "$BUILDKIT_SCAN_SOURCE_EXTRAS"/*; do scan "$tree"; done
fi
touch /tmp/scratch
"#;

impl Workshop {
    /// One that has the generator `scanner` of that script, and a Dockerfile whose stages and context are to be scanned.
    fn with_generator(script: &str) -> Workshop {
        let skiff = Skiff::with_busybox().that_builds();
        let folder = skiff.folder().join("scanner");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("scan"), script).unwrap();
        let dockerfile = "FROM busybox\nCOPY scan /\nENV OWN=mine\nWORKDIR /work\nUSER app\n\
            ENTRYPOINT [\"sh\"]\nCMD [\"/scan\"]\n";
        std::fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
        let built = skiff.run(&["build", "--progress=plain", "-t", "scanner", folder.to_str().unwrap()]);
        assert_eq!(built.code, 0, "{}", built.stderr);
        let context = skiff.folder().join("context");
        std::fs::create_dir(&context).unwrap();
        let dockerfile = "ARG BUILDKIT_SBOM_SCAN_CONTEXT=true\n\
            FROM scratch AS tools\nARG BUILDKIT_SBOM_SCAN_STAGE=true\nCOPY tool /\n\
            FROM scratch\nCOPY --from=tools tool /copied\nCOPY app /\n";
        for (name, content) in [("Dockerfile", dockerfile), ("tool", "a"), ("app", "b")] {
            std::fs::write(context.join(name), content).unwrap();
        }
        Workshop { skiff, context }
    }

    fn generate(&self, flags: &[&str]) -> testkit::Output {
        let words = [&["build", "--progress=plain"], flags, &[self.context.to_str().unwrap()]].concat();
        self.skiff.run(&words)
    }

    /// The statements in a layout, in their order, and the digest of the image that they are of.
    fn of_layout(&self, layout: &Path) -> (Vec<Value>, String) {
        let read = |digest: &Value| -> Value {
            let digest = digest.as_str().unwrap().trim_start_matches("sha256:");
            serde_json::from_slice(&std::fs::read(layout.join("blobs/sha256").join(digest)).unwrap()).unwrap()
        };
        let index: Value =
            serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
        let index = read(&index["manifests"][0]["digest"]);
        let attested = read(&index["manifests"][1]["digest"]);
        let layers = attested["layers"].as_array().unwrap().iter();
        let statements = layers.map(|layer| {
            let statement = read(&layer["digest"]);
            assert_eq!(statement["predicateType"], layer["annotations"]["in-toto.io/predicate-type"]);
            statement
        });
        let subject = index["manifests"][0]["digest"].as_str().unwrap()["sha256:".len()..].to_owned();
        (statements.collect(), subject)
    }
}

#[test]
fn an_image_lists_what_is_in_others_where_it_is_named() {
    let workshop = Workshop::with_generator(GENERATOR);
    let layout = workshop.skiff.folder().join("layout");
    let output = format!("type=oci,tar=false,dest={}", layout.display());
    let flags =
        ["--attest=type=sbom,generator=scanner,Mode=fast", "--provenance=false", "-o", output.as_str()];
    let built = workshop.generate(&flags);
    assert_eq!(built.code, 0, "{}", built.stderr);
    let step = "generating sbom using docker.io/library/scanner:latest";
    assert!(
        built.stderr.contains(&format!("/amd64] {step}"))
            || built.stderr.contains(&format!("/arm64] {step}")),
        "{}",
        built.stderr
    );
    for said in ["scans sbom\n", "scans sbom-context\n", "scans sbom-tools\n"] {
        assert_eq!(built.stderr.matches(said).count(), 1, "{said:?}: {}", built.stderr);
    }
    let (statements, subject) = workshop.of_layout(&layout);
    let told: Vec<(&str, &str)> = statements
        .iter()
        .map(|one| (one["predicate"]["name"].as_str().unwrap(), one["predicate"]["found"].as_str().unwrap()))
        .collect();
    let want = [("sbom", " app copied"), ("sbom-context", " Dockerfile app tool"), ("sbom-tools", " tool")];
    assert_eq!(told, want);
    for statement in &statements {
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://spdx.dev/Document");
        // Its own subject is not asked for.
        assert_eq!(statement["subject"].as_array().unwrap().len(), 1, "{statement}");
        assert_eq!(statement["subject"][0]["digest"]["sha256"], subject);
        for (key, want) in [("mode", "fast"), ("own", "mine"), ("cwd", "/work")] {
            assert_eq!(statement["predicate"][key], want, "{statement}");
        }
    }

    // What is known is not run again, wherever it goes.
    let out = workshop.skiff.folder().join("out");
    let local = format!("type=local,dest={}", out.display());
    let again = workshop.generate(&["--attest=type=sbom,generator=scanner,Mode=fast", "-o", &local]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(!again.stderr.contains("scans "), "{}", again.stderr);
    let mut names: Vec<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["app", "copied", "sbom-context.spdx.json", "sbom-tools.spdx.json", "sbom.spdx.json"]);
    let own = std::fs::read_to_string(out.join("sbom.spdx.json")).unwrap();
    assert!(own.contains("\"number\": 1.50"), "it stays as it was written: {own}");
    let own: Value = serde_json::from_str(&own).unwrap();
    assert_eq!(own["subject"].as_array().unwrap().len(), 2, "{own}");

    // What it is told, and what it is shown, decides.
    let built = workshop.generate(&["--sbom=generator=scanner", "--provenance=mode=min", "-o", &local]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(built.stderr.contains("scans sbom\n"), "{}", built.stderr);
    let told = std::fs::read_to_string(out.join("provenance.json")).unwrap();
    assert!(told.contains("\"uri\":\"pkg:docker/scanner@latest?platform=linux%2F"), "{told}");
    std::fs::write(workshop.context.join("app"), "c").unwrap();
    let built = workshop.generate(&["--sbom=generator=scanner", "-o", &local]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(built.stderr.contains("scans sbom\n"), "{}", built.stderr);
    // Without extras nobody is told of any.
    let none = ["--build-arg=BUILDKIT_SBOM_SCAN_CONTEXT=0", "--build-arg=BUILDKIT_SBOM_SCAN_STAGE=0"];
    let built = workshop.generate(&[&none[..], &["--sbom=generator=scanner", "-o", &local]].concat());
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(
        built.stderr.contains("scans sbom\n") && !built.stderr.contains("scans sbom-"),
        "{}",
        built.stderr
    );
    // It runs here, whatever the images are for.
    let both = ["--platform=linux/amd64,linux/arm64", "--sbom=generator=scanner", "-o", &local];
    let built = workshop.generate(&[&none[..], &both].concat());
    assert_eq!(built.code, 0, "{}", built.stderr);
    for folder in ["linux_amd64", "linux_arm64"] {
        assert!(out.join(folder).join("sbom.spdx.json").exists(), "{folder}: {}", built.stderr);
    }
    // There may be nothing to be scanned.
    std::fs::write(workshop.context.join("Dockerfile"), "FROM scratch\nLABEL a=b\n").unwrap();
    let built = workshop.generate(&["--sbom=generator=scanner", "-o", &local]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(built.stderr.contains("scans sbom\n"), "{}", built.stderr);
}

#[test]
fn what_is_no_generator_ends_the_build_and_is_named() {
    let script = "case $BUILDKIT_SCAN_Do in\n\
        fail) echo no luck; exit 3 ;;\n\
        text) echo hello > $BUILDKIT_SCAN_DESTINATION/a.spdx.json ;;\n\
        other) echo '{}' > $BUILDKIT_SCAN_DESTINATION/a.spdx.json ;;\n\
        link) ln -s /etc/passwd $BUILDKIT_SCAN_DESTINATION/a.spdx.json ;;\n\
        provenance) echo '{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicateType\":\"https://slsa.dev/provenance/v1\",\"predicate\":{}}' > $BUILDKIT_SCAN_DESTINATION/a.json ;;\n\
        esac\n";
    let workshop = Workshop::with_generator(script);
    let out = workshop.skiff.folder().join("out");
    let local = format!("type=local,dest={}", out.display());
    let image = "docker.io/library/scanner:latest";
    for (way, want) in [
        ("nothing", "it left no statement; a generator writes NAME.spdx.json to $BUILDKIT_SCAN_DESTINATION"),
        ("fail", "exit code: 3"),
        ("text", "\"a.spdx.json\" is no in-toto statement in JSON"),
        ("other", "missing field `_type`"),
        ("link", "\"a.spdx.json\" is no file"),
        ("provenance", "is a statement of type \"https://slsa.dev/provenance/v1\""),
    ] {
        let attest = format!("--attest=type=sbom,generator=scanner,Do={way}");
        let built = workshop.generate(&[&attest, "-o", &local]);
        assert_eq!(built.code, 1, "{way}: {}", built.stderr);
        let last = built.stderr.lines().last().unwrap();
        assert!(last.contains(want) && last.contains(image), "{way}: {}", built.stderr);
        assert!(!out.exists(), "{way}: nothing is written of what failed");
    }
    let empty = workshop.skiff.folder().join("empty");
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(empty.join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
    let built = workshop.skiff.run(&["build", "--progress=plain", "-t", "empty", empty.to_str().unwrap()]);
    assert_eq!(built.code, 0, "{}", built.stderr);
    for (flag, want) in [
        ("--sbom=generator=empty", "it has neither ENTRYPOINT nor CMD"),
        ("--sbom=generator=BAD", "is no name of an image"),
        ("--sbom=generator=scanner,SOURCE=/etc", "SOURCE is told to the generator by the builder"),
        ("--attest=type=sbom,Mode=fast", "generator=IMAGE alone takes parameters"),
    ] {
        let built = workshop.generate(&[flag, "-o", &local]);
        assert_ne!(built.code, 0, "{flag}");
        assert!(built.stderr.contains(want), "{flag}: {}", built.stderr);
        assert!(!built.stderr.contains("COPY"), "{flag}: nothing is built before: {}", built.stderr);
    }
}
