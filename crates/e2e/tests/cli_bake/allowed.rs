//! What has to be allowed by who calls.

use testkit::Output;

use crate::workshop::Workshop;

#[test]
fn what_a_file_asks_for_has_to_be_allowed() {
    let workshop = Workshop::new(&[
        (
            "work/Dockerfile",
            "FROM busybox\nARG T\nRUN --mount=type=secret,id=s : $T; cat /run/secrets/s > /said\n",
        ),
        ("secret", "secret\n"),
        (
            "work/docker-bake.hcl",
            "target \"host\" {\n network = \"host\"\n tags = [\"host\"]\n secret = [\"id=s,src=docker-bake.hcl\"]\n}\n\
             target \"secret\" {\n tags = [\"secret\"]\n args = { T = \"secret\" }\n secret = [\"id=s,src=../secret\"]\n}\n\
             target \"out\" {\n output = [\"type=local,dest=link/out\"]\n secret = [\"id=s,src=docker-bake.hcl\"]\n}\n\
             target \"kept\" {\n cache-to = [\"type=tar,dest=../kept\"]\n secret = [\"id=s,src=docker-bake.hcl\"]\n}\n",
        ),
    ]);
    let work = workshop.skiff.folder().join("work");
    std::os::unix::fs::symlink("..", work.join("link")).unwrap();
    let bake = |environment: &[(&str, &str)], words: &[&str]| {
        let mut command = workshop.skiff.command(&[&["bake", "--progress=plain"], words].concat());
        command.current_dir(&work).envs(environment.iter().copied()).stdin(std::process::Stdio::null());
        Output::of(command.output().unwrap())
    };
    let base = std::fs::canonicalize(workshop.skiff.folder()).unwrap();
    let secret = format!("fs.read={}", base.join("secret").display());
    let out = format!("fs.write={}", base.join("out").display());
    let kept = format!("fs.write={}", base.join("kept").display());
    for (target, flag, wide) in [
        ("host", "network.host", "network.host"),
        ("secret", secret.as_str(), "fs=.."),
        ("out", out.as_str(), "fs.write=*"),
        ("kept", kept.as_str(), "fs.write=*"),
    ] {
        let refused = bake(&[], &[target]);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        let wanted = format!("additional privileges requested by {target}: {flag}; pass --allow={flag}");
        assert!(refused.stderr.contains(&wanted), "no {wanted:?} in {}", refused.stderr);
        let refused = bake(&[], &["--allow=fs.read=/nonexistent", target]);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        for allow in [flag, wide] {
            let allowed = bake(&[], &[&format!("--allow={allow}"), target]);
            assert_eq!(allowed.code, 0, "{}", allowed.stderr);
        }
    }
    assert_eq!(workshop.in_image("secret", "cat /said"), "secret\n");
    assert!(base.join("out/said").exists());
    assert_eq!(bake(&[("BUILDX_BAKE_ENTITLEMENTS_FS", "0")], &["secret"]).code, 0);
    assert_eq!(bake(&[], &["--allow=everything", "secret"]).code, 125);
}

#[test]
fn policies_are_not_passed_over() {
    let workshop = Workshop::new(&[
        ("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n"),
        (
            "docker-bake.hcl",
            "target \"asks\" { policy = [{ filename = \"own.rego\" }] }\n\
             target \"off\" { policy = [\"filename=own.rego\", \"disabled=true\"] }\n\
             target \"forgets\" { policy = [\"filename=own.rego\", { reset = true }] }\n\
             target \"plain\" {}\n",
        ),
    ]);
    for (words, files) in [
        (&["bake", "asks"][..], "own.rego"),
        (&["bake", "plain", "--policy=filename=a.rego", "--policy=filename=b.rego"], "a.rego, b.rego"),
        (&["bake", "plain", "--set=*.policy=filename=a.rego"], "a.rego"),
        (&["build", "--policy=filename=a.rego", "."], "a.rego"),
    ] {
        let refused = workshop.try_with(&[], words);
        assert_eq!(refused.code, 1, "{words:?}: {}", refused.stderr);
        assert!(
            refused.stderr.contains(&format!("cannot evaluate {files}: ")),
            "{words:?}: {}",
            refused.stderr
        );
    }
    for target in ["off", "forgets", "plain"] {
        assert!(!workshop.bake(&[target]).contains("is not evaluated"), "{target}");
    }
    workshop.write("Dockerfile.rego", "package docker\n");
    assert!(workshop.bake(&["plain"]).contains("Dockerfile.rego is not evaluated"));
    for calm in ["off", "forgets"] {
        assert!(!workshop.bake(&[calm]).contains("is not evaluated"), "{calm}");
    }
    workshop.fails(&["plain", "--policy=strict=true"], &["cannot evaluate", "Dockerfile.rego"]);
}
