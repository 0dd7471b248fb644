//! Restart policies, as users write them.

use monitor::RestartPolicy;

use crate::{Error, Result};

/// Reads `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:n`, with Docker's refusals.
pub fn parse_restart(text: &str) -> Result<RestartPolicy> {
    let invalid = |reason: String| Error::InvalidRestartPolicy { reason };
    let (name, count) = match text.split_once(':') {
        Some((_, count)) if count.contains(':') => {
            return Err(invalid("invalid restart policy format: too many colons".to_owned()));
        }
        Some((name, count)) => (name, Some(count)),
        None => (text, None),
    };
    if name.is_empty() && count.is_some() {
        return Err(invalid("invalid restart policy format: no policy provided before colon".to_owned()));
    }
    let count = count.filter(|count| !count.is_empty());
    let retries = match count.map(str::parse::<i64>) {
        None => 0,
        Some(Ok(count)) => count,
        Some(Err(_)) => {
            let reason = "invalid restart policy format: maximum retry count must be an integer";
            return Err(invalid(reason.to_owned()));
        }
    };
    let policy = match name {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => {
            let negative = || "invalid restart policy: maximum retry count cannot be negative".to_owned();
            let retries = u32::try_from(retries).map_err(|_| invalid(negative()))?;
            return Ok(RestartPolicy::OnFailure { retries });
        }
        other => {
            return Err(invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or \
                 'unless-stopped'"
            )));
        }
    };
    if retries != 0 {
        let with = "invalid restart policy: maximum retry count can only be used with 'on-failure'";
        let negative = if retries < 0 { " and cannot be negative" } else { "" };
        return Err(invalid(format!("{with}{negative}")));
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_what_is_none_is_refused() {
        use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
        for (text, policy) in [
            ("", No),
            ("no", No),
            ("always", Always),
            ("always:0", Always),
            ("unless-stopped", UnlessStopped),
            ("on-failure", OnFailure { retries: 0 }),
            ("on-failure:", OnFailure { retries: 0 }),
            ("on-failure:5", OnFailure { retries: 5 }),
        ] {
            assert_eq!(parse_restart(text).unwrap(), policy, "{text}");
        }
        for (text, complaint) in [
            ("never", "unknown policy 'never'"),
            (":5", "no policy provided before colon"),
            ("on-failure:1:2", "too many colons"),
            ("on-failure:x", "maximum retry count must be an integer"),
            ("on-failure:-1", "maximum retry count cannot be negative"),
            ("always:3", "maximum retry count can only be used with 'on-failure'"),
            ("no:-3", "can only be used with 'on-failure' and cannot be negative"),
        ] {
            let error = parse_restart(text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{text}: {error}");
        }
    }
}
