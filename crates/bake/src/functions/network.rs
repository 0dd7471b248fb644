//! Addresses in CIDR notation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Host, Result, number, text, whole};
use crate::value::Value;

/// A network: the bits of its address, how many of them there are, and how many name the network.
struct Network {
    bits: u128,
    size: u32,
    prefix: u32,
}

impl Network {
    fn parse(text: &str) -> Result<Self> {
        let invalid = || format!("invalid CIDR expression: {text:?}");
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let (bits, size) = match address.parse().map_err(|_| invalid())? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let prefix = prefix.parse().ok().filter(|prefix| *prefix <= size).ok_or_else(invalid)?;
        let mut network = Self { bits, size, prefix };
        network.bits &= network.mask();
        Ok(network)
    }

    fn mask(&self) -> u128 {
        let host = self.size - self.prefix;
        let all = if self.size == 128 { u128::MAX } else { (1 << self.size) - 1 };
        if host >= 128 { 0 } else { all & (u128::MAX << host) }
    }

    fn address(&self, bits: u128) -> String {
        match u32::try_from(bits) {
            Ok(bits) if self.size == 32 => Ipv4Addr::from_bits(bits).to_string(),
            _ => Ipv6Addr::from_bits(bits).to_string(),
        }
    }

    /// The network of `more` further bits that has this number in it.
    fn inner(&self, more: u32, at: u128) -> Result<Self> {
        let prefix = self.prefix.checked_add(more).filter(|prefix| *prefix <= self.size);
        let prefix = prefix.ok_or_else(|| {
            format!("insufficient address space to extend prefix of {} by {more}", self.prefix)
        })?;
        if more < 128 && at >> more != 0 {
            return Err(format!("prefix extension of {more} does not accommodate a subnet numbered {at}"));
        }
        let shift = self.size - prefix;
        Ok(Self { bits: self.bits | if shift >= 128 { 0 } else { at << shift }, size: self.size, prefix })
    }

    fn show(&self) -> String {
        format!("{}/{}", self.address(self.bits), self.prefix)
    }
}

fn bits(value: &Value) -> Result<u32> {
    u32::try_from(whole(value)?).map_err(|_| "a number of bits is not negative".to_owned())
}

/// The address of a number in a network; negative numbers count from its end.
pub(super) fn host(_: &mut Host, it: &[Value]) -> Result<Value> {
    let network = Network::parse(&text(&it[0])?)?;
    let at = number(&it[1])?.to_i128().ok_or("a whole number is required")?;
    let hosts = network.size - network.prefix;
    let invalid = || format!("prefix of {} does not accommodate a host numbered {at}", network.prefix);
    let last = if hosts >= 128 { u128::MAX } else { (1 << hosts) - 1 };
    let offset = match u128::try_from(at) {
        Ok(at) => at,
        Err(_) => last.checked_sub(at.unsigned_abs() - 1).ok_or_else(invalid)?,
    };
    if offset > last {
        return Err(invalid());
    }
    Ok(Value::String(network.address(network.bits | offset)))
}

pub(super) fn netmask(_: &mut Host, it: &[Value]) -> Result<Value> {
    let network = Network::parse(&text(&it[0])?)?;
    Ok(Value::String(network.address(network.mask())))
}

pub(super) fn subnet(_: &mut Host, it: &[Value]) -> Result<Value> {
    let network = Network::parse(&text(&it[0])?)?;
    let at = number(&it[2])?
        .to_i128()
        .and_then(|at| u128::try_from(at).ok())
        .ok_or("the number of a subnet is whole")?;
    Ok(Value::String(network.inner(bits(&it[1])?, at)?.show()))
}

/// Networks that follow each other, of so many more bits each.
pub(super) fn subnets(_: &mut Host, it: &[Value]) -> Result<Value> {
    let network = Network::parse(&text(&it[0])?)?;
    let end = network.bits | !network.mask() & if network.size == 128 { u128::MAX } else { u32::MAX.into() };
    let mut next = Some(network.bits);
    let mut all = Vec::new();
    for more in &it[1..] {
        let inner = network.inner(bits(more)?, 0)?;
        let size = network.size - inner.prefix;
        let step = 1u128.checked_shl(size);
        let full = || "not enough remaining address space for a subnet".to_owned();
        // Up to the next address at which a network of that size may begin.
        let start = match step {
            Some(step) => next.and_then(|next| next.checked_add(step - 1)).map(|next| next & !(step - 1)),
            None => next,
        };
        let start = start.ok_or_else(full)?;
        let last = start.checked_add(step.map_or(u128::MAX, |step| step - 1)).filter(|last| *last <= end);
        let last = last.ok_or_else(full)?;
        all.push(Network { bits: start, ..inner }.show());
        next = last.checked_add(1);
    }
    Ok(Value::texts(all))
}
