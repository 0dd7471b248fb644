//! Tables of `RUN --mount`.

use super::*;
use crate::expand::{Environment, Lexer};
use crate::syntax::{Mount, MountKind};

fn mount(value: &str) -> Result<Mount, String> {
    let source = source(&format!("FROM x\nRUN --mount={value} y"));
    let file = parse(&source).map_err(|errors| errors.first().message.clone())?;
    let Kind::Run(run) = &file.stages[0].instructions[0].kind else { panic!() };
    let env: Environment = [("T", "cache"), ("V", "/v")].into_iter().collect();
    let expand = |word: &str| {
        Ok(Lexer::new('\\').expand(word, &env).map_err(|e| Diagnostic::error(e.to_string(), None))?.text)
    };
    resolve_mount(&run.mounts[0], expand).map_err(|error| error.message)
}

#[test]
fn mounts_and_their_defaults() {
    let identity = |mode, uid, gid| crate::syntax::Identity { mode, uid, gid };
    let bind = |from: Option<&str>, source: &str| MountKind::Bind {
        from: from.map(Into::into),
        source: source.into(),
    };
    let cache = |id: &str, sharing, identity| MountKind::Cache {
        id: id.into(),
        from: None,
        source: String::new(),
        sharing,
        identity,
    };
    let secret = |id: &str, file, env: Option<&str>| MountKind::Secret {
        id: id.into(),
        file,
        env: env.map(Into::into),
        required: false,
        identity: identity(0o400, 0, 0),
    };
    use crate::syntax::Sharing::{Locked, Shared};
    for (value, target, read_only, expected) in [
        ("target=/a", "/a", true, bind(None, "")),
        ("type=bind,dst=/a,src=b,from=c", "/a", true, bind(Some("c"), "b")),
        ("destination=/a,rw", "/a", false, bind(None, "")),
        ("target=/a,readonly=false", "/a", false, bind(None, "")),
        ("TARGET=/a,Type=BIND", "/a", true, bind(None, "")),
        ("type=cache,target=/a", "/a", false, cache("/a", Shared, identity(0o755, 0, 0))),
        (
            "type=cache,target=/a,id=x,sharing=locked,mode=0700,uid=1,gid=2,ro",
            "/a",
            true,
            cache("x", Locked, identity(0o700, 1, 2)),
        ),
        ("type=$T,target=$V", "/v", false, cache("/v", Shared, identity(0o755, 0, 0))),
        ("type=tmpfs,target=/a,size=1k", "/a", false, MountKind::Tmpfs { size: Some(1024) }),
        ("type=secret,id=x", "", true, secret("x", true, None)),
        ("type=secret,source=x", "", true, secret("x", true, None)),
        ("type=secret,target=/a/b/", "/a/b/", true, secret("b", true, None)),
        ("type=secret,id=x,env=E", "", true, secret("x", false, Some("E"))),
        ("type=secret,id=x,env=E,target=/a", "/a", true, secret("x", true, Some("E"))),
        (
            "type=ssh,required",
            "",
            true,
            MountKind::Ssh { id: "default".into(), required: true, identity: identity(0o600, 0, 0) },
        ),
        ("target=/a,\"source=b,c\"", "/a", true, bind(None, "b,c")),
    ] {
        // The flag itself takes quotes away, so those of the fields are escaped.
        let found = mount(&value.replace('"', "\\\"")).unwrap_or_else(|error| panic!("{value}: {error}"));
        assert_eq!(found, Mount { target: target.into(), read_only, kind: expected }, "{value}");
    }
}

#[test]
fn mounts_that_are_none() {
    for (value, expected) in [
        ("type=foo,target=/a", "unsupported mount type \"foo\""),
        ("type=cahe,target=/a", "unsupported mount type \"cahe\" (did you mean cache?)"),
        ("target=/a,foo", "invalid field 'foo' must be a key=value pair"),
        ("target=/a,bogus=b", "unexpected key 'bogus' in 'bogus=b'"),
        ("tagret=/a", "unexpected key 'tagret' in 'tagret=/a' (did you mean target?)"),
        ("target=/a,ro=maybe", "invalid value for ro: maybe"),
        ("target=/a,required", "unexpected key 'required' for mount type 'bind'"),
        ("type=cache,target=/a,required=true", "unexpected key 'required' for mount type 'cache'"),
        ("target=/a,size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,target=/a,size=x", "invalid value for size: x"),
        ("type=cache,target=/a,sharing=lock", "unsupported sharing value \"lock\" (did you mean locked?)"),
        ("target=/a,sharing=shared", "invalid cache sharing set for bind mount"),
        ("target=/a,mode=0755", "mode not allowed for \"bind\" type mounts"),
        ("type=tmpfs,target=/a,uid=1", "uid not allowed for \"tmpfs\" type mounts"),
        ("target=/a,gid=1", "gid not allowed for \"bind\" type mounts"),
        ("type=cache,target=/a,mode=9", "invalid value 9 for mode"),
        ("type=cache,target=/a,uid=-1", "invalid value -1 for uid"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=secret,id=a,source=b", "both source and id can't be set"),
        ("type=secret,id=a,sharing=locked", "secret mount should not define sharing"),
        ("from=$T,target=/a", "'from' doesn't support variable expansion, define alias stage instead"),
        ("target=a\\\"b", "failed to parse csv mounts: bare \" in non-quoted field"),
    ] {
        assert_eq!(mount(value).unwrap_err(), expected, "{value}");
    }
}
