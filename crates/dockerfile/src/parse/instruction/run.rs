//! RUN and HEALTHCHECK: programs with flags.

use super::super::flags::Shape;
use super::super::{duration, mount, words};
use super::Line;
use crate::source::{Diagnostic, Result};
use crate::syntax::{CommandLine, Healthcheck, Heredoc, Kind, Network, Run, Security, Text};

/// The shortest time between two health checks, in nanoseconds.
const SHORTEST_INTERVAL: i64 = 1_000_000;

impl Line<'_> {
    pub(super) fn run(mut self, heredocs: Vec<Heredoc>) -> Result<Kind> {
        let mut flags = self.flags(&[
            ("mount", Shape::Each),
            ("network", Shape::Once),
            ("security", Shape::Once),
            ("device", Shape::Each),
        ])?;
        let network = match flags.take("network") {
            None => Network::Default,
            Some(text) => match text.value.as_str() {
                "default" => Network::Default,
                "none" => Network::None,
                "host" => Network::Host,
                other => {
                    return Err(Diagnostic::error(format!("invalid network mode {other:?}"), text.span)
                        .with_help("there are default, none and host"));
                }
            },
        };
        let security = match flags.take("security") {
            None => Security::Sandbox,
            Some(text) => match text.value.as_str() {
                "sandbox" => Security::Sandbox,
                "insecure" => Security::Insecure,
                other => {
                    return Err(Diagnostic::error(format!("security {other:?} is not valid"), text.span)
                        .with_help("there are sandbox and insecure"));
                }
            },
        };
        let mounts = flags.take_each("mount").iter().map(mount::flag).collect::<Result<_>>()?;
        let devices = flags.take_each("device").iter().map(mount::device).collect::<Result<_>>()?;
        Ok(Kind::Run(Run { command: self.command(), heredocs, mounts, network, security, devices }))
    }

    pub(super) fn healthcheck(mut self) -> Result<Healthcheck> {
        let names = ["interval", "timeout", "start-period", "start-interval"];
        let mut known: Vec<(&'static str, Shape)> = names.map(|name| (name, Shape::Once)).to_vec();
        known.push(("retries", Shape::Once));
        let mut flags = self.flags(&known)?;
        if self.arguments.is_empty() {
            return self.refuse("HEALTHCHECK requires at least one argument");
        }
        let all = self.arguments.str();
        let end = all.find(char::is_whitespace).unwrap_or(all.len());
        let rest = self.arguments.part(end, all.len()).trim();
        match all[..end].to_uppercase().as_str() {
            "NONE" if rest.is_empty() => return Ok(Healthcheck::None),
            "NONE" => return self.refuse("HEALTHCHECK NONE takes no arguments"),
            "CMD" => {}
            other => return self.refuse(format!("Unknown type {other:?} in HEALTHCHECK (try CMD)")),
        }
        let json = words::json(rest)?;
        if rest.is_empty() || json.as_ref().is_some_and(Vec::is_empty) {
            return self.refuse("Missing command after HEALTHCHECK CMD");
        }
        let command = json.map_or_else(|| CommandLine::Shell(rest.text()), CommandLine::Exec);
        let mut times = [0; 4];
        for (time, name) in times.iter_mut().zip(names) {
            *time = flags.take(name).map_or(Ok(0), |text| interval(name, &text))?;
        }
        let [interval, timeout, start_period, start_interval] = times;
        let retries = flags.take("retries").map_or(Ok(0), |text| retries(&text))?;
        Ok(Healthcheck::Command { command, interval, timeout, start_period, start_interval, retries })
    }
}

fn interval(name: &str, text: &Text) -> Result<i64> {
    match duration::parse(&text.value) {
        Ok(time) if time == 0 || time >= SHORTEST_INTERVAL => Ok(time),
        Ok(_) => Err(Diagnostic::error(format!("Interval {name:?} cannot be less than 1ms"), text.span)),
        Err(message) => Err(Diagnostic::error(message, text.span)),
    }
}

fn retries(text: &Text) -> Result<i64> {
    let shown = &text.value;
    let message = match shown.parse::<i32>() {
        Ok(number) if number >= 0 => return Ok(i64::from(number)),
        Ok(number) => format!("--retries cannot be negative ({number})"),
        Err(_) => format!("strconv.ParseInt: parsing {shown:?}: invalid syntax"),
    };
    Err(Diagnostic::error(message, text.span))
}
