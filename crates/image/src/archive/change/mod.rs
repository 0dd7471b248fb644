//! Dockerfile instructions that change an image's config, as `--change` takes them. Pure.
//!
//! The rules are those of a Dockerfile: a JSON array is the exec form, anything else the shell form; words
//! may be quoted; where Docker expands variables it does so here, from the config's own environment.

mod health;
mod words;

use oci::{ContainerConfig, ExposedPort};

use crate::error::{Error, Result};

/// The shell of instructions in shell form, unless the config names one.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Applies one instruction.
pub(super) fn apply(config: &mut ContainerConfig, text: &str) -> Result<()> {
    one(config, text).map_err(|reason| Error::Change { text: text.to_owned(), reason })
}

/// What is wrong with an instruction.
type Reason = String;

fn one(config: &mut ContainerConfig, text: &str) -> Result<(), Reason> {
    if text.contains('\0') {
        return Err("it holds a NUL".to_owned());
    }
    let text = text.trim();
    let (name, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim_start();
    let name = name.to_ascii_uppercase();
    if rest.is_empty() && KNOWN.contains(&name.as_str()) && name != "CMD" && name != "ENTRYPOINT" {
        return Err(format!("{name} needs an argument"));
    }
    match name.as_str() {
        "CMD" => config.cmd = Some(command(config, rest)?),
        "ENTRYPOINT" => config.entrypoint = Some(command(config, rest)?),
        "ENV" => {
            for (key, value) in pairs("ENV", rest, config)? {
                set_env(config, &key, &value);
            }
        }
        "EXPOSE" => {
            for word in words::split(rest)? {
                let ports: ExposedPort = words::expand(&word, &config.env)?
                    .parse()
                    .map_err(|error: oci::Error| error.to_string())?;
                for port in ports.first..=ports.last {
                    config.exposed_ports.insert(format!("{port}/{}", ports.protocol));
                }
            }
        }
        "HEALTHCHECK" => config.healthcheck = Some(health::parse(rest, |text| command(config, text))?),
        "LABEL" => config.labels.extend(pairs("LABEL", rest, config)?),
        "ONBUILD" => config.on_build.push(trigger(rest)?),
        "STOPSIGNAL" => config.stop_signal = signal(&words::expand(rest, &config.env)?)?,
        "USER" => config.user = single("USER", &words::expand(rest, &config.env)?)?,
        "VOLUME" => config.volumes.extend(volumes(config, rest)?),
        "WORKDIR" => config.working_dir = directory(&config.working_dir, &words::expand(rest, &config.env)?),
        other => return Err(format!("{other} cannot be used in a change; only {} can", KNOWN.join(", "))),
    }
    Ok(())
}

const KNOWN: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// A JSON array as it is; anything else for the shell.
fn command(config: &ContainerConfig, text: &str) -> Result<Vec<String>, Reason> {
    if let Some(list) = words::json_list(text) {
        return Ok(list);
    }
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let shell: Vec<String> = match config.shell.as_slice() {
        [] => SHELL.map(str::to_owned).to_vec(),
        shell => shell.to_vec(),
    };
    Ok(shell.into_iter().chain([text.to_owned()]).collect())
}

/// `KEY=value KEY="two words"`, or the old form `KEY the rest`.
fn pairs(name: &str, text: &str, config: &ContainerConfig) -> Result<Vec<(String, String)>, Reason> {
    let words = words::split(text)?;
    let expand = |text: &str| words::expand(text, &config.env);
    if !words.first().is_some_and(|first| first.contains('=')) {
        let (key, value) = text.split_once(char::is_whitespace).ok_or(format!("{name} needs KEY=VALUE"))?;
        return Ok(vec![(expand(key)?, expand(value.trim())?)]);
    }
    let pair = |word: &String| {
        let (key, value) = word.split_once('=').ok_or(format!("{word:?} is not KEY=VALUE"))?;
        let key = expand(key)?;
        if key.is_empty() { Err(format!("{word:?} has no key")) } else { Ok((key, expand(value)?)) }
    };
    words.iter().map(pair).collect()
}

/// Replaces a variable in place, or adds it.
fn set_env(config: &mut ContainerConfig, key: &str, value: &str) {
    let entry = format!("{key}={value}");
    let same = |old: &&mut String| old.split('=').next() == Some(key);
    match config.env.iter_mut().find(same) {
        Some(old) => *old = entry,
        None => config.env.push(entry),
    }
}

fn trigger(text: &str) -> Result<String, Reason> {
    let name = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match name.as_str() {
        "ONBUILD" | "FROM" | "MAINTAINER" => Err(format!("{name} cannot be a trigger of ONBUILD")),
        _ => Ok(text.to_owned()),
    }
}

/// A signal by number or name, with or without `SIG`; kept as written.
fn signal(text: &str) -> Result<String, Reason> {
    const NAMES: &str = " HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS RTMIN RTMAX ";
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    let real_time = ["RTMIN+", "RTMAX-"].iter().find_map(|prefix| name.strip_prefix(prefix));
    let real_time = real_time.is_some_and(|offset| offset.parse::<u8>().is_ok_and(|offset| offset <= 30));
    if number
        || real_time
        || (!name.contains(' ') && !name.is_empty() && NAMES.contains(&format!(" {name} ")))
    {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is no signal"))
}

fn single(name: &str, text: &str) -> Result<String, Reason> {
    match text.split_whitespace().count() {
        1 => Ok(text.to_owned()),
        _ => Err(format!("{name} takes one argument")),
    }
}

fn volumes(config: &ContainerConfig, text: &str) -> Result<Vec<String>, Reason> {
    let paths = match words::json_list(text) {
        Some(list) => list,
        None => text.split_whitespace().map(str::to_owned).collect(),
    };
    let check = |path: String| {
        let path = words::expand(&path, &config.env)?;
        if path.trim().is_empty() {
            return Err("a volume's path cannot be empty".to_owned());
        }
        Ok(path)
    };
    paths.into_iter().map(check).collect()
}

/// `text` below the directory so far, without `.`, `..` and double slashes.
fn directory(now: &str, text: &str) -> String {
    let joined = if text.starts_with('/') { text.to_owned() } else { format!("{now}/{text}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> String {
        let mut config = ContainerConfig::default();
        for change in changes {
            apply(&mut config, change).unwrap();
        }
        serde_json::to_string(&config).unwrap()
    }

    #[test]
    fn each_instruction_changes_its_part() {
        for (changes, json) in [
            (&["CMD echo $HOME"][..], r#"{"Cmd":["/bin/sh","-c","echo $HOME"]}"#),
            (&[r#"cmd ["a", "b c"]"#], r#"{"Cmd":["a","b c"]}"#),
            (&["CMD"], r#"{"Cmd":[]}"#),
            (&["ENTRYPOINT [\"/init\"]"], r#"{"Entrypoint":["/init"]}"#),
            (
                &["ENV A=1 B=\"two words\" C=three\\ words"],
                r#"{"Env":["A=1","B=two words","C=three words"]}"#,
            ),
            (&["ENV A the rest"], r#"{"Env":["A=the rest"]}"#),
            (
                &["ENV A=1", "ENV B=x${A}y A=2", "ENV C=${D:-no} E='$A' F=${A:+yes}"],
                r#"{"Env":["A=2","B=x1y","C=no","E=$A","F=yes"]}"#,
            ),
            (
                &["EXPOSE 80 53/udp 1-2/tcp"],
                r#"{"ExposedPorts":{"1/tcp":{},"2/tcp":{},"53/udp":{},"80/tcp":{}}}"#,
            ),
            (&["LABEL a=b \"c d\"=\"e f\""], r#"{"Labels":{"a":"b","c d":"e f"}}"#),
            (&["ONBUILD RUN make"], r#"{"OnBuild":["RUN make"]}"#),
            (&["STOPSIGNAL SIGRTMIN+3"], r#"{"StopSignal":"SIGRTMIN+3"}"#),
            (&["STOPSIGNAL 9"], r#"{"StopSignal":"9"}"#),
            (&["USER app:staff"], r#"{"User":"app:staff"}"#),
            (&["VOLUME /a /b", "VOLUME [\"/c d\"]"], r#"{"Volumes":{"/a":{},"/b":{},"/c d":{}}}"#),
            (&["WORKDIR /a", "WORKDIR b/./c/../d"], r#"{"WorkingDir":"/a/b/d"}"#),
            (&["HEALTHCHECK NONE"], r#"{"Healthcheck":{"Test":["NONE"]}}"#),
            (
                &["HEALTHCHECK --interval=1m30s --retries=2 CMD curl x"],
                r#"{"Healthcheck":{"Test":["CMD-SHELL","curl x"],"Interval":90000000000,"Retries":2}}"#,
            ),
            (
                &["HEALTHCHECK --timeout=500ms CMD [\"a\",\"b\"]"],
                r#"{"Healthcheck":{"Test":["CMD","a","b"],"Timeout":500000000}}"#,
            ),
        ] {
            assert_eq!(changed(changes), json, "{changes:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "",
            "RUN x",
            "FROM x",
            "ADD a b",
            "ENV",
            "ENV A",
            "ENV =x",
            "EXPOSE x",
            "EXPOSE 0",
            "LABEL",
            "ONBUILD FROM x",
            "ONBUILD ONBUILD RUN x",
            "STOPSIGNAL NOPE",
            "STOPSIGNAL 65",
            "STOPSIGNAL TERM INT",
            "USER a b",
            "VOLUME",
            "VOLUME [\"\"]",
            "WORKDIR",
            "HEALTHCHECK",
            "HEALTHCHECK NONE x",
            "HEALTHCHECK --interval=1 CMD x",
            "HEALTHCHECK --nope=1s CMD x",
            "HEALTHCHECK CMD",
            "ENV A=\"open",
            "ENV A=${B",
            "CMD a\0b",
            "HEALTHCHECK --retries=-1 CMD x",
            "HEALTHCHECK --interval=1us CMD x",
        ] {
            let mut config = ContainerConfig::default();
            let error = apply(&mut config, bad).unwrap_err();
            assert!(matches!(error, Error::Change { .. }), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "(CMD|ENV|LABEL|EXPOSE|HEALTHCHECK|VOLUME|WORKDIR|STOPSIGNAL|USER|ONBUILD)? ?[\\PC]{0,40}") {
            drop(apply(&mut ContainerConfig::default(), &text));
        }
    }
}
