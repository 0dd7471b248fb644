//! What is refused once variables have values.

use super::{error, made};

#[test]
fn values_that_are_none() {
    for (text, expected) in [
        ("FROM a\nEXPOSE x", "invalid containerPort: x"),
        ("FROM a\nEXPOSE 80/foo", "invalid proto: foo"),
        ("FROM a\nEXPOSE 70000", "invalid containerPort: 70000"),
        ("FROM a\nEXPOSE x:1:1", "invalid IP address: x"),
        ("FROM a\nSTOPSIGNAL SIGFOO", "invalid signal: SIGFOO"),
        ("FROM a\nSTOPSIGNAL 65", "invalid signal: 65"),
        (
            "FROM a\nCOPY --chmod=999 x /y",
            "invalid chmod parameter: '999'. it should be octal string and between 0 and 07777",
        ),
        ("FROM a\nCOPY https://h/x /y", "source can't be a URL for COPY"),
        ("FROM a\nCOPY git@h:x /y", "source can't be a git ref for COPY"),
        ("FROM a\nADD --checksum=sha256:x a /y", "checksum requires HTTP(S) or Git sources"),
        (
            "FROM a\nADD --checksum=sha256:x https://h/a https://h/b /y/",
            "checksum can't be specified for multiple sources",
        ),
        (
            "FROM a\nADD --keep-git-dir https://h/a.git?keep-git-dir=false /y",
            "inconsistent keep-git-dir configuration",
        ),
        ("FROM a\nADD https://h/a.git#:../x /y", "a subdirectory of a repository lies inside it"),
        ("FROM a\nRUN --mount=target=/ x", "invalid mount target \"/\""),
        ("FROM a\nRUN --mount=type=foo,target=/x y", "unsupported mount type \"foo\""),
        ("FROM a\nENV A=${B:?needed}", "failed to process \"${B:?needed}\": B: needed"),
        ("FROM a\nVOLUME $X", "VOLUME specified can not be an empty string"),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn long_files_are_bounded() {
    let mut chain = "FROM a AS s0\n".to_owned();
    for index in 1..10_000 {
        chain.push_str(&format!("FROM s{} AS s{index}\nENV V{}=1\n", index - 1, index % 500));
    }
    assert_eq!(error(&chain), "the image would have more than 8192 steps");
    assert_eq!(
        error(&format!("FROM a\n{}", "RUN x\n".repeat(2000))),
        "the image would have more than 1000 layers"
    );
    let wide: String = (0..10_000).map(|index| format!("FROM a AS s{index}\nRUN x{index}\n")).collect();
    assert_eq!(made(&wide).layers.len(), 1);
}
