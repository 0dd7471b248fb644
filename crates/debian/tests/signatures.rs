//! Signatures that GnuPG makes, with keys that it makes: good ones, changed ones, and those that do not count.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test starts gpg and may fail")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use debian::openpgp::{Keyring, SignatureError};
use testkit::Scratch;

const TEXT: &str = "Origin: Test\n- dashes  \n\n-----BEGIN x\nlast: ü\t\n";

/// A home of GnuPG, which ends with its test.
struct Gpg {
    home: Scratch,
}

impl Gpg {
    fn new() -> Gpg {
        testkit::require("gpg", "gnupg");
        let home = Scratch::new();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&*home, mode).unwrap();
        Gpg { home }
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new("gpg")
            .args(["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(arguments)
            .env("GNUPGHOME", &*self.home)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key that signs; its fingerprint.
    fn key(&self, name: &str, kind: &str, expires: &str, more: &[&str]) -> String {
        let mut arguments = more.to_vec();
        arguments.extend(["--quick-gen-key", name, kind, "cert,sign", expires]);
        self.run(&arguments);
        self.fingerprint(name)
    }

    fn fingerprint(&self, name: &str) -> String {
        let listed = String::from_utf8(self.run(&["--with-colons", "--list-keys", name])).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn keyring(&self, names: &[&str]) -> Keyring {
        let mut arguments = vec!["--export"];
        arguments.extend(names);
        Keyring::parse(&self.run(&arguments)).unwrap()
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn sign(&self, how: &str, by: &[&str], text: &str, more: &[&str]) -> Vec<u8> {
        let path = self.file("text", text);
        let mut arguments = more.to_vec();
        for name in by {
            arguments.extend(["-u", name]);
        }
        arguments.extend([how, "-o", "-", path.to_str().unwrap()]);
        self.run(&arguments)
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // Its agent would outlive the test.
        let mut command = Command::new("gpgconf");
        drop(command.args(["--kill", "all"]).env("GNUPGHOME", &*self.home).status());
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

#[test]
fn what_gpg_signs_is_good_and_what_is_changed_is_wrong() {
    let gpg = Gpg::new();
    for (name, kind) in [("rsa@test", "rsa2048"), ("ed@test", "ed25519")] {
        let fingerprint = gpg.key(name, kind, "0", &[]);
        let keyring = gpg.keyring(&[name]);
        let clear = String::from_utf8(gpg.sign("--clear-sign", &[name], TEXT, &[])).unwrap();
        let (text, signers) = keyring.verify_clear_signed(clear.as_bytes(), now()).unwrap();
        assert_eq!(text, TEXT.replace("  \n", "\n").replace("\t\n", "\n"));
        assert_eq!(signers[0].fingerprint, fingerprint);
        assert!((0..60).contains(&(now() - signers[0].made)));
        let wrong = Err(SignatureError::Wrong { fingerprint });
        assert_eq!(keyring.verify_clear_signed(clear.replace("Test", "Tess").as_bytes(), now()), wrong);
        assert!(keyring.verify_clear_signed(clear.replace("\n\n-", "\n-").as_bytes(), now()).is_err());
        for (before, after) in [("x\n", ""), ("", "x\n")] {
            let text = format!("{before}{clear}{after}");
            assert!(keyring.verify_clear_signed(text.as_bytes(), now()).is_err(), "{before:?} {after:?}");
        }
        let binary = gpg.sign("--detach-sign", &[name], TEXT, &[]);
        let armored = gpg.sign("--detach-sign", &[name], TEXT, &["--armor"]);
        let textual = gpg.sign("--detach-sign", &[name], TEXT, &["--textmode"]);
        for signature in [&binary, &armored, &textual] {
            assert_eq!(keyring.verify_detached(TEXT.as_bytes(), signature, now()).unwrap().len(), 1);
            assert!(keyring.verify_detached(&TEXT.as_bytes()[1..], signature, now()).is_err());
        }
    }
}

#[test]
fn a_subkey_signs_for_its_primary_key_until_it_is_revoked() {
    let gpg = Gpg::new();
    let primary = gpg.key("sub@test", "rsa2048", "0", &[]);
    gpg.run(&["--quick-add-key", &primary, "rsa2048", "sign", "1d"]);
    let clear = gpg.sign("--clear-sign", &["sub@test"], TEXT, &[]);
    let keyring = gpg.keyring(&["sub@test"]);
    let (_, signers) = keyring.verify_clear_signed(&clear, now()).unwrap();
    assert_ne!(signers[0].fingerprint, primary, "gpg signs with the newest subkey");
    let late = keyring.verify_clear_signed(&clear, now() + 2 * 86_400).unwrap_err();
    assert!(late.to_string().contains("the key has expired"), "{late}");
    // Revoked by the certificate that GnuPG has made with the key.
    let path = gpg.home.join(format!("openpgp-revocs.d/{primary}.rev"));
    let revocation = std::fs::read_to_string(path).unwrap().replace(":-----BEGIN", "-----BEGIN");
    let file = gpg.file("revocation", &revocation);
    gpg.run(&["--import", file.to_str().unwrap()]);
    let revoked = gpg.keyring(&["sub@test"]).verify_clear_signed(&clear, now()).unwrap_err();
    assert!(revoked.to_string().contains("the key was revoked"), "{revoked}");
}

#[test]
fn one_good_signature_of_several_is_enough_but_a_wrong_one_spoils_all() {
    let gpg = Gpg::new();
    gpg.key("one@test", "ed25519", "0", &[]);
    gpg.key("two@test", "rsa2048", "0", &[]);
    let clear = gpg.sign("--clear-sign", &["one@test", "two@test"], TEXT, &[]);
    assert_eq!(gpg.keyring(&[]).verify_clear_signed(&clear, now()).unwrap().1.len(), 2);
    assert_eq!(gpg.keyring(&["two@test"]).verify_clear_signed(&clear, now()).unwrap().1.len(), 1);
    gpg.key("three@test", "ed25519", "0", &[]);
    let unknown = gpg.keyring(&["three@test"]).verify_clear_signed(&clear, now()).unwrap_err();
    let shown = unknown.to_string();
    assert!(
        shown.contains(&gpg.fingerprint("one@test")) && shown.contains("is not in the keyring"),
        "{shown}"
    );
    let one = gpg.sign("--detach-sign", &["one@test"], TEXT, &[]);
    let other = gpg.sign("--detach-sign", &["two@test"], "other", &[]);
    let both = [one, other].concat();
    let spoiled = gpg.keyring(&[]).verify_detached(TEXT.as_bytes(), &both, now()).unwrap_err();
    assert!(matches!(spoiled, SignatureError::Wrong { .. }), "{spoiled}");
}

#[test]
fn weak_expired_and_future_signatures_do_not_count() {
    let gpg = Gpg::new();
    gpg.key("a@test", "rsa2048", "2d", &[]);
    gpg.key("short@test", "rsa1024", "0", &[]);
    let keyring = gpg.keyring(&[]);
    let signed = |by: &str, more: &[&str]| gpg.sign("--clear-sign", &[by], TEXT, more);
    let weak = ["--digest-algo", "SHA1", "--allow-weak-digest-algos"];
    for (clear, at, reason) in [
        (signed("a@test", &weak), now(), "its hash is too weak"),
        (signed("a@test", &["--default-sig-expire", "1d"]), now() + 86_500, "it has expired"),
        (signed("a@test", &[]), now() - 86_400, "it is from the future"),
        (signed("a@test", &[]), now() + 3 * 86_400, "the key has expired"),
        (signed("short@test", &[]), now(), "its key is too short"),
    ] {
        let error = keyring.verify_clear_signed(&clear, at).unwrap_err().to_string();
        // A key of 1,024 bits cannot even vouch for itself.
        let short = reason.contains("short") && error.contains("is not in the keyring");
        assert!(error.contains(reason) || short, "{reason}: {error}");
    }
}

#[test]
fn a_key_that_claims_another_s_subkey_signs_nothing() {
    let gpg = Gpg::new();
    let primary = gpg.key("victim@test", "rsa2048", "0", &[]);
    gpg.run(&["--quick-add-key", &primary, "rsa2048", "sign", "0"]);
    let clear = gpg.sign("--clear-sign", &["victim@test"], TEXT, &[]);
    gpg.key("thief@test", "rsa2048", "0", &[]);
    // The victim's subkey with its binding, put behind the thief's primary key: the binding is not the thief's.
    let victim = gpg.run(&["--export", "victim@test"]);
    let mut stolen = gpg.run(&["--export", "thief@test"]);
    let at = packet_starts(&victim).into_iter().find(|(_, tag)| *tag == 14).unwrap().0;
    stolen.extend_from_slice(&victim[at..]);
    let error = Keyring::parse(&stolen).unwrap().verify_clear_signed(&clear, now()).unwrap_err();
    assert!(error.to_string().contains("is not in the keyring"), "{error}");
}

/// Offsets and tags of packets of the old format.
fn packet_starts(bytes: &[u8]) -> Vec<(usize, u8)> {
    let (mut at, mut all) = (0, Vec::new());
    while at < bytes.len() {
        all.push((at, (bytes[at] >> 2) & 0x0f));
        at += match bytes[at] & 3 {
            0 => 2 + usize::from(bytes[at + 1]),
            _ => 3 + usize::from(u16::from_be_bytes([bytes[at + 1], bytes[at + 2]])),
        };
    }
    all
}

#[test]
fn the_keyring_of_the_distribution_is_read() {
    let path = Path::new("/usr/share/keyrings/debian-archive-keyring.gpg");
    testkit::require("debootstrap", "debootstrap");
    Keyring::parse(&std::fs::read(path).unwrap()).unwrap();
    let gpg = Gpg::new();
    gpg.key("a@test", "ed25519", "0", &[]);
    Keyring::parse(&gpg.run(&["--export", "--armor"])).unwrap();
    let keybox = std::fs::read(gpg.home.join("pubring.kbx")).unwrap();
    assert_eq!(Keyring::parse(&keybox).unwrap_err(), SignatureError::Keybox);
    assert_eq!(Keyring::parse(b"").unwrap_err(), SignatureError::EmptyKeyring);
}

#[test]
fn no_changed_byte_makes_the_readers_panic() {
    let gpg = Gpg::new();
    gpg.key("a@test", "ed25519", "0", &[]);
    let (keyring, clear) = (gpg.run(&["--export"]), gpg.sign("--detach-sign", &["a@test"], TEXT, &[]));
    let good = Keyring::parse(&keyring).unwrap();
    let mut accepted = 0;
    for at in 0..keyring.len() {
        for to in [0, 0x7f, 0xff, keyring[at] ^ 1] {
            let mut changed = keyring.clone();
            changed[at] = to;
            drop(Keyring::parse(&changed));
        }
    }
    for at in 0..clear.len() {
        for to in [0, 0x7f, 0xff, clear[at] ^ 1] {
            let mut changed = clear.clone();
            changed[at] = to;
            accepted += usize::from(
                changed != clear && good.verify_detached(TEXT.as_bytes(), &changed, now()).is_ok(),
            );
        }
    }
    // What was not signed may change: the two bytes of the hash, and parts of the key's number in the unsigned area.
    assert!(accepted < 60, "{accepted} changes of {} bytes went unnoticed", clear.len());
}
