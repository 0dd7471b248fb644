//! What instructions write into configs and histories.

use super::super::*;
use super::{lowered_into, made, options};
use crate::stage::ImageKey;

#[test]
fn histories_have_dockers_words() {
    for (text, expected) in [
        ("RUN x  y", "RUN /bin/sh -c x  y # buildkit"),
        ("RUN [\"x\", \"y z\"]", "RUN x y z # buildkit"),
        ("ENV a=1 b=\"x y\"", "ENV a=1 b=x y"),
        ("LABEL a=b", "LABEL a=b"),
        ("CMD [\"a\", \"b \\\"c\"]", "CMD [\"a\" \"b \\\"c\"]"),
        ("CMD a b", "CMD [\"/bin/sh\" \"-c\" \"a b\"]"),
        ("ENTRYPOINT [\"a\"]", "ENTRYPOINT [\"a\"]"),
        ("EXPOSE 443 80/udp", "EXPOSE [443/tcp 80/udp]"),
        ("EXPOSE 8000-8002", "EXPOSE [8000/tcp 8001/tcp 8002/tcp]"),
        ("VOLUME /a /b", "VOLUME [/a /b]"),
        ("USER a:b", "USER a:b"),
        ("WORKDIR /a/../b", "WORKDIR /b"),
        ("WORKDIR x", "WORKDIR /x"),
        ("ARG A=1 B", "ARG A=1 B"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGTERM"),
        ("SHELL [\"a\", \"b\"]", "SHELL [a b]"),
        ("MAINTAINER me <m@x>", "MAINTAINER me <m@x>"),
        ("COPY --chown=a:b --chmod=755 x y /z/", "COPY --chown=a:b --chmod=755 x y /z/ # buildkit"),
        ("COPY --parents x /z/", "COPY --parents x /z/ # buildkit"),
        ("ADD https://h/x /z", "ADD https://h/x /z # buildkit"),
        ("ADD https://me:secret@h/x@y /z", "ADD https://xxxxx:xxxxx@h/x@y /z # buildkit"),
        ("ARG T=token\nADD https://$T@h/x.git#main /z", "ADD https://xxxxx@h/x.git#main /z # buildkit"),
        ("ADD ssh://git@h/x.git /z", "ADD ssh://git@h/x.git /z # buildkit"),
        ("COPY <<f /z\nf", "COPY <<f /z # buildkit"),
        ("HEALTHCHECK NONE", r#"HEALTHCHECK &{["NONE"] "0s" "0s" "0s" "0s" '\x00'}"#),
        (
            "HEALTHCHECK --interval=90s --timeout=1500ms --retries=2 CMD x y",
            r#"HEALTHCHECK &{["CMD-SHELL" "x y"] "1m30s" "1.5s" "0s" "0s" '\x02'}"#,
        ),
    ] {
        let history = made(&format!("FROM a\n{text}")).config.history;
        assert_eq!(history.last().unwrap().created_by, expected, "{text}");
        assert_eq!(history.last().unwrap().comment, "buildkit.dockerfile.v0");
    }
    let history = made("FROM a\nARG A=1\nARG B\nRUN x").config.history;
    assert_eq!(history[2].created_by, "RUN |2 A=1 B= /bin/sh -c x # buildkit");
    let empty: Vec<bool> = history.iter().map(|step| step.empty_layer).collect();
    assert_eq!(empty, [true, true, false]);
}

#[test]
fn configs() {
    let config = made("FROM a\nENV A=1 B=$A\nENV A=2 C=$A\nARG A=3\nLABEL l=$A\nUSER u\nEXPOSE 80\nVOLUME /v\nSTOPSIGNAL 9\nSHELL [\"s\"]\nENTRYPOINT e\nCMD [\"c\"]\nONBUILD RUN x\nWORKDIR w\nMAINTAINER m").config;
    let inner = &config.config;
    let path = format!("PATH={}", config::DEFAULT_PATH);
    assert_eq!(inner.env, [path.as_str(), "A=2", "B=", "C=1"]);
    assert_eq!(inner.labels.get("l").map(String::as_str), Some("3"));
    assert_eq!(inner.entrypoint.as_deref(), Some(&["s".to_owned(), "e".to_owned()][..]));
    assert_eq!(inner.cmd.as_deref(), Some(&["c".to_owned()][..]));
    assert_eq!(
        (inner.user.as_str(), inner.working_dir.as_str(), inner.stop_signal.as_str()),
        ("u", "/w", "9")
    );
    assert_eq!(inner.on_build, ["RUN x"]);
    assert!(inner.exposed_ports.contains("80/tcp") && inner.volumes.contains("/v"));
    assert_eq!((config.author.as_str(), config.platform.to_string().as_str()), ("m", "linux/amd64"));
}

#[test]
fn a_base_hands_its_config_on() {
    let key = ImageKey { reference: "a:latest".parse().unwrap(), platform: "linux/amd64".into() };
    let mut base = ImageConfig { platform: "linux/amd64".parse().unwrap(), ..ImageConfig::default() };
    base.config.env = vec!["PATH=/p".into(), "X=1".into()];
    base.config.cmd = Some(vec!["base".into()]);
    base.config.working_dir = "/base".into();
    base.config.on_build = vec!["RUN triggered".into()];
    let images: Images = [(key, base)].into();
    let of = |text: &str| lowered_into(&mut Graph::default(), text, &options(), &images).unwrap().config;
    let kept = of("FROM a\nENV Y=$X\nWORKDIR sub");
    assert_eq!(kept.config.env, ["PATH=/p", "X=1", "Y=1"]);
    assert_eq!(
        (kept.config.working_dir.as_str(), kept.config.cmd.clone().unwrap()),
        ("/base/sub", vec!["base".to_owned()])
    );
    assert!(kept.config.on_build.is_empty());
    assert_eq!(kept.history[0].created_by, "RUN /bin/sh -c triggered # buildkit");
    // The base's command is not for another entrypoint; the stage's own is.
    assert_eq!(of("FROM a\nENTRYPOINT [\"e\"]").config.cmd, None);
    assert_eq!(of("FROM a\nCMD [\"c\"]\nENTRYPOINT [\"e\"]").config.cmd, Some(vec!["c".to_owned()]));
    assert_eq!(of("FROM a AS b\nCMD [\"c\"]\nFROM b\nENTRYPOINT [\"e\"]").config.cmd, None);
    assert_eq!(of("FROM a AS b\nARG Q=1\nFROM b\nLABEL q=$Q").config.labels.get("q").unwrap(), "1");
}

#[test]
fn a_long_chain_of_stages_shares_its_variables() {
    let mut chain = "FROM a AS s0\nENV V=image\nARG V=argument\n".to_owned();
    for index in 1..8000 {
        chain.push_str(&format!("FROM s{} AS s{index}\nENV V{index}=$V\n", index - 1));
    }
    let config = made(&chain).config;
    assert_eq!((config.config.env.len(), config.history.len()), (8001, 8001));
    // A variable of the image comes before an argument of the base.
    assert_eq!(config.config.env.last().map(String::as_str), Some("V7999=image"));
    // Those that branch off share them, too, and do not see what others set.
    let side: String =
        (1..500).map(|index| format!("FROM s{index} AS t{index}\nENV T{index}=$V{}\n", index + 1)).collect();
    let copies: String = (1..500).map(|index| format!("COPY --from=t{index} /x /\n")).collect();
    let config = made(&format!("{chain}{side}FROM t499\n{copies}")).config;
    assert_eq!(config.config.env.last().map(String::as_str), Some("T499="));
}
