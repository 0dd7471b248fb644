//! `--mount`: one line of comma-separated values, each `key=value` or a key alone.

use std::path::Path;

use engine::request::{BindRecursion, MountRequest, MountSource, TmpfsOptions, parse_bytes};

/// Reads `--mount`. A relative source is taken from `here`, the caller's working directory.
pub(crate) fn parse(text: &str, here: &Path) -> Result<MountRequest, String> {
    let mut options = Options::default();
    for field in fields(text)? {
        options.set(&field)?;
    }
    options.finish(here)
}

/// What was said, before it is known of which type.
#[derive(Default)]
struct Options {
    kind: Option<String>,
    source: Option<String>,
    target: Option<String>,
    readonly: bool,
    create: bool,
    propagation: Option<String>,
    recursion: Option<BindRecursion>,
    size: Option<u64>,
    mode: Option<u32>,
}

impl Options {
    fn set(&mut self, field: &str) -> Result<(), String> {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let key = key.to_ascii_lowercase();
        let bad = |why: &str| format!("invalid value for {key}: {}: {why}", value.unwrap_or_default());
        let boolean = || match value {
            None => Ok(true),
            Some(value) => crate::flags::parse::parse_bool(value).ok_or_else(|| bad("want true or false")),
        };
        match key.as_str() {
            "readonly" | "ro" => self.readonly = boolean()?,
            "bind-create-src" => self.create = boolean()?,
            "volume-nocopy" => return Err(later("volumes", &key)),
            _ => {
                let Some(value) = value else {
                    return Err(format!("invalid field '{field}' must be a key=value pair"));
                };
                match key.as_str() {
                    "type" => self.kind = Some(value.to_ascii_lowercase()),
                    "source" | "src" => self.source = Some(value.to_owned()),
                    "target" | "dst" | "destination" => self.target = Some(value.to_owned()),
                    "consistency" => {}
                    "bind-propagation" => self.propagation = Some(value.to_ascii_lowercase()),
                    "bind-recursive" => {
                        self.recursion = Some(
                            recursion(value)
                                .ok_or_else(|| bad("want enabled, disabled, writable or readonly"))?,
                        )
                    }
                    "bind-nonrecursive" => {
                        return Err("bind-nonrecursive is gone: use bind-recursive=disabled".into());
                    }
                    "tmpfs-size" => {
                        let size = parse_bytes(value).ok().and_then(|size| u64::try_from(size).ok());
                        self.size = Some(size.ok_or_else(|| bad("want a size such as 64m"))?);
                    }
                    "tmpfs-mode" => {
                        let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777);
                        self.mode = Some(mode.ok_or_else(|| bad("want octal permission bits"))?);
                    }
                    _ if key.starts_with("volume-") => return Err(later("volumes", &key)),
                    _ if key.starts_with("image-") => return Err(later("image mounts", &key)),
                    _ => return Err(format!("unexpected key '{key}' in '{field}'")),
                }
            }
        }
        Ok(())
    }

    fn finish(self, here: &Path) -> Result<MountRequest, String> {
        let target = self.target.clone().filter(|target| !target.is_empty()).ok_or("target is required")?;
        let (readonly, source) = (self.readonly, self.into_source(here)?);
        Ok(MountRequest { source, target, readonly, text: None })
    }

    fn into_source(self, here: &Path) -> Result<MountSource, String> {
        let bind_options = self.propagation.is_some() || self.recursion.is_some() || self.create;
        let tmpfs_options = self.size.is_some() || self.mode.is_some();
        match self.kind.as_deref().unwrap_or("volume") {
            "bind" if tmpfs_options => Err("cannot mix 'tmpfs-*' options with mount type 'bind'".into()),
            "bind" => {
                let source = self.source.filter(|source| !source.is_empty()).ok_or("source is required")?;
                let path = if source.starts_with('/') { source } else { join(here, &source)? };
                let recursion = self.recursion.unwrap_or_default();
                if recursion == BindRecursion::Readonly && !self.readonly {
                    return Err("option 'bind-recursive=readonly' requires 'readonly'".into());
                }
                Ok(MountSource::Bind { path, create: self.create, propagation: self.propagation, recursion })
            }
            "tmpfs" if bind_options => Err("cannot mix 'bind-*' options with mount type 'tmpfs'".into()),
            "tmpfs" if self.source.is_some() => {
                Err("source must not be specified for mount type 'tmpfs'".into())
            }
            "tmpfs" => {
                Ok(MountSource::Tmpfs(TmpfsOptions { size: self.size, mode: self.mode, options: Vec::new() }))
            }
            "volume" => {
                Err("type=volume is not supported yet: it comes with volumes; want bind or tmpfs".into())
            }
            "image" => {
                Err("type=image is not supported yet: it comes with image mounts; want bind or tmpfs".into())
            }
            other => Err(format!("unknown mount type {other:?}: want bind or tmpfs")),
        }
    }
}

/// A relative path, seen from `/`.
pub(crate) fn join(here: &Path, relative: &str) -> Result<String, String> {
    let mut path = here.to_path_buf();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path.into_os_string().into_string().map_err(|_| "the working directory is not UTF-8".to_owned())
}

fn later(with: &str, key: &str) -> String {
    format!("{key} is not supported yet: it comes with {with}")
}

fn recursion(value: &str) -> Option<BindRecursion> {
    match value {
        "enabled" => Some(BindRecursion::Enabled),
        "disabled" => Some(BindRecursion::Disabled),
        "writable" => Some(BindRecursion::Writable),
        "readonly" => Some(BindRecursion::Readonly),
        _ => None,
    }
}

/// The fields of a line of comma-separated values; one in quotes may hold commas, and `""` for a quote.
fn fields(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("value is empty".to_owned());
    }
    let mut fields = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(c) => field.push(c),
                    None => return Err("a quoted field does not end".to_owned()),
                }
            }
            if chars.peek().is_some_and(|c| *c != ',') {
                return Err("text follows a quoted field".to_owned());
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                if c == '"' {
                    return Err("a quote stands within a field".to_owned());
                }
                field.push(c);
            }
        }
        fields.push(field);
        if chars.next().is_none() {
            return Ok(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &str) -> MountSource {
        let (create, propagation, recursion) = (false, None, BindRecursion::Enabled);
        MountSource::Bind { path: path.to_owned(), create, propagation, recursion }
    }

    #[test]
    fn mounts_are_read_from_comma_separated_fields() {
        let request = |source, target: &str, readonly| MountRequest {
            source,
            target: target.to_owned(),
            readonly,
            text: None,
        };
        let tmpfs = |size, mode| MountSource::Tmpfs(TmpfsOptions { size, mode, options: Vec::new() });
        for (text, want) in [
            ("type=bind,source=/a,target=/b", request(bind("/a"), "/b", false)),
            ("type=bind,src=/a,dst=/b,ro", request(bind("/a"), "/b", true)),
            ("TYPE=bind,src=/a,destination=/b,readonly=false", request(bind("/a"), "/b", false)),
            ("type=bind,src=./x/../y,dst=/b", request(bind("/here/y"), "/b", false)),
            ("type=bind,\"src=/a,\"\"b\",dst=/b", request(bind("/a,\"b"), "/b", false)),
            ("type=tmpfs,dst=/t", request(tmpfs(None, None), "/t", false)),
            (
                "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770",
                request(tmpfs(Some(1 << 20), Some(0o1770)), "/t", false),
            ),
        ] {
            assert_eq!(parse(text, Path::new("/here")).unwrap(), want, "{text}");
        }
        let options = parse(
            "type=bind,src=/a,dst=/b,ro,bind-propagation=rslave,bind-recursive=readonly",
            Path::new("/"),
        );
        let MountSource::Bind { propagation, recursion, .. } = options.unwrap().source else {
            panic!("not a bind")
        };
        assert_eq!((propagation.as_deref(), recursion), (Some("rslave"), BindRecursion::Readonly));
    }

    #[test]
    fn bad_mounts_are_refused_with_docker_s_words() {
        for (text, want) in [
            ("", "value is empty"),
            ("type=bind,foo", "invalid field 'foo' must be a key=value pair"),
            ("type=bind,dst=/x,foo=1", "unexpected key 'foo' in 'foo=1'"),
            ("type=tmpfs", "target is required"),
            ("type=bind,dst=/x", "source is required"),
            ("type=tmpfs,src=/a,dst=/x", "source must not be specified for mount type 'tmpfs'"),
            ("type=bind,src=/a,dst=/x,tmpfs-size=1", "cannot mix 'tmpfs-*' options with mount type 'bind'"),
            (
                "type=tmpfs,dst=/x,bind-propagation=shared",
                "cannot mix 'bind-*' options with mount type 'tmpfs'",
            ),
            ("type=bind,src=/a,dst=/x,ro=maybe", "invalid value for ro: maybe: want true or false"),
            ("type=tmpfs,dst=/x,tmpfs-mode=9", "invalid value for tmpfs-mode: 9: want octal permission bits"),
            ("src=a,dst=/x", "type=volume is not supported yet: it comes with volumes; want bind or tmpfs"),
            ("type=npipe,dst=/x", "unknown mount type \"npipe\": want bind or tmpfs"),
            ("type=bind,\"src=/a", "a quoted field does not end"),
            (
                "type=bind,src=/a,dst=/b,bind-recursive=readonly",
                "option 'bind-recursive=readonly' requires 'readonly'",
            ),
        ] {
            assert_eq!(parse(text, Path::new("/")).unwrap_err(), want, "{text}");
        }
    }
}
