//! The functions that expressions may call: those of go-cty's standard library, and the original's own.
//!
//! Missing are `bytesslice` (there are no values of bytes) and `rsadecrypt` (a bake file is no place for a private key).
//! Of `byteslen`, which takes the same values, the length of a string in bytes is given.
//!
//! No function makes more than [`MAX_TEXT`] of text or [`MAX_ELEMENTS`] of elements, whatever it is asked for.

mod arithmetic;
mod collection;
mod encode;
mod format;
mod network;
mod regular;
mod set;
mod text;
mod time;
mod version;

use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::number::Number;
use crate::value::{Type, Value, convert};

/// How many bytes a function may make.
const MAX_TEXT: usize = 4 << 20;
/// How many elements a function may make.
const MAX_ELEMENTS: usize = 64 << 10;

type Result<T> = std::result::Result<T, String>;
type Function = fn(&mut Host, &[Value]) -> Result<Value>;

/// What functions may know of the outside.
#[derive(Debug)]
pub(crate) struct Host {
    now: Option<SystemTime>,
    seed: Option<[u8; 32]>,
    home: Option<String>,
    /// How often something random was made.
    drawn: u64,
    /// How often something was made that takes long on purpose.
    slow: u32,
}

impl Host {
    pub(crate) fn new(now: Option<SystemTime>, seed: Option<[u8; 32]>, home: Option<String>) -> Self {
        Self { now, seed, home, drawn: 0, slow: 0 }
    }

    /// Bytes that nobody else has.
    fn random(&mut self) -> Result<[u8; 32]> {
        let seed = self.seed.ok_or("nothing random is at hand here")?;
        self.drawn += 1;
        Ok(Sha256::new().chain_update(seed).chain_update(self.drawn.to_le_bytes()).finalize().into())
    }
}

/// The function of a name, with how many arguments it takes at least and at most.
fn find(name: &str) -> Option<(usize, usize, Function)> {
    const ANY: usize = usize::MAX;
    Some(match name {
        "absolute" => (1, 1, arithmetic::absolute),
        "add" => (2, 2, arithmetic::add),
        "and" => (2, 2, arithmetic::and),
        "base64decode" => (1, 1, encode::base64_decode),
        "base64encode" => (1, 1, encode::base64_encode),
        "basename" => (1, 1, text::basename),
        "bcrypt" => (1, 2, encode::bcrypt),
        "byteslen" => (1, 1, text::byteslen),
        "ceil" => (1, 1, arithmetic::ceil),
        "chomp" => (1, 1, text::chomp),
        "chunklist" => (2, 2, collection::chunklist),
        "cidrhost" => (2, 2, network::host),
        "cidrnetmask" => (1, 1, network::netmask),
        "cidrsubnet" => (3, 3, network::subnet),
        "cidrsubnets" => (1, ANY, network::subnets),
        "coalesce" => (1, ANY, collection::coalesce),
        "coalescelist" => (1, ANY, collection::coalescelist),
        "compact" => (1, 1, collection::compact),
        "concat" => (1, ANY, collection::concat),
        "contains" => (2, 2, collection::contains),
        "csvdecode" => (1, 1, encode::csv_decode),
        "dirname" => (1, 1, text::dirname),
        "distinct" => (1, 1, collection::distinct),
        "divide" => (2, 2, arithmetic::divide),
        "element" => (2, 2, collection::element),
        "equal" => (2, 2, arithmetic::equal),
        "flatten" => (1, 1, collection::flatten),
        "floor" => (1, 1, arithmetic::floor),
        "format" => (1, ANY, format::format),
        "formatdate" => (2, 2, time::format_date),
        "formatlist" => (1, ANY, format::format_list),
        "formattimestamp" => (2, 2, time::format_timestamp),
        "greaterthan" => (2, 2, arithmetic::greater_than),
        "greaterthanorequalto" => (2, 2, arithmetic::greater_than_or_equal),
        "hasindex" => (2, 2, collection::has_index),
        "homedir" => (0, 0, text::home_directory),
        "indent" => (2, 2, text::indent),
        "index" => (2, 2, collection::index),
        "indexof" => (2, 2, collection::index_of),
        "int" => (1, 1, arithmetic::int),
        "join" => (2, ANY, text::join),
        "jsondecode" => (1, 1, encode::json_decode),
        "jsonencode" => (1, 1, encode::json_encode),
        "keys" => (1, 1, collection::keys),
        "length" => (1, 1, collection::length),
        "lessthan" => (2, 2, arithmetic::less_than),
        "lessthanorequalto" => (2, 2, arithmetic::less_than_or_equal),
        "log" => (2, 2, arithmetic::log),
        "lookup" => (2, 3, collection::lookup),
        "lower" => (1, 1, text::lower),
        "max" => (1, ANY, arithmetic::max),
        "md5" => (1, 1, encode::md5),
        "merge" => (0, ANY, collection::merge),
        "min" => (1, ANY, arithmetic::min),
        "modulo" => (2, 2, arithmetic::modulo),
        "multiply" => (2, 2, arithmetic::multiply),
        "negate" => (1, 1, arithmetic::negate),
        "not" => (1, 1, arithmetic::not),
        "notequal" => (2, 2, arithmetic::not_equal),
        "or" => (2, 2, arithmetic::or),
        "parseint" => (2, 2, arithmetic::parse_int),
        "pow" => (2, 2, arithmetic::pow),
        "range" => (1, 3, collection::range),
        "regex" => (2, 2, regular::regex),
        "regex_replace" => (3, 3, regular::regex_replace),
        "regexall" => (2, 2, regular::regex_all),
        "replace" => (3, 3, text::replace),
        "reverse" => (1, 1, text::reverse),
        "reverselist" => (1, 1, collection::reverse_list),
        "sanitize" => (1, 1, text::sanitize),
        "semvercmp" => (2, 2, version::semvercmp),
        "sethaselement" => (2, 2, set::has_element),
        "setintersection" => (1, ANY, set::intersection),
        "setproduct" => (1, ANY, set::product),
        "setsubtract" => (2, 2, set::subtract),
        "setsymmetricdifference" => (1, ANY, set::symmetric_difference),
        "setunion" => (1, ANY, set::union),
        "sha1" => (1, 1, encode::sha1),
        "sha256" => (1, 1, encode::sha256),
        "sha512" => (1, 1, encode::sha512),
        "signum" => (1, 1, arithmetic::signum),
        "slice" => (3, 3, collection::slice),
        "sort" => (1, 1, collection::sort),
        "split" => (2, 2, text::split),
        "strlen" => (1, 1, text::strlen),
        "substr" => (3, 3, text::substr),
        "subtract" => (2, 2, arithmetic::subtract),
        "timeadd" => (2, 2, time::add),
        "timestamp" => (0, 0, time::timestamp),
        "title" => (1, 1, text::title),
        "trim" => (2, 2, text::trim),
        "trimprefix" => (2, 2, text::trim_prefix),
        "trimspace" => (1, 1, text::trim_space),
        "trimsuffix" => (2, 2, text::trim_suffix),
        "unixtimestampparse" => (1, 1, time::unix_timestamp_parse),
        "upper" => (1, 1, text::upper),
        "urlencode" => (1, 1, encode::url_encode),
        "uuidv4" => (0, 0, encode::uuid_v4),
        "uuidv5" => (2, 2, encode::uuid_v5),
        "values" => (1, 1, collection::values),
        "zipmap" => (2, 2, collection::zipmap),
        _ => return None,
    })
}

/// The names of all functions.
#[cfg(test)]
pub(crate) const NAMES: &[&str] = &[
    "absolute",
    "add",
    "and",
    "base64decode",
    "base64encode",
    "basename",
    "bcrypt",
    "byteslen",
    "ceil",
    "chomp",
    "chunklist",
    "cidrhost",
    "cidrnetmask",
    "cidrsubnet",
    "cidrsubnets",
    "coalesce",
    "coalescelist",
    "compact",
    "concat",
    "contains",
    "csvdecode",
    "dirname",
    "distinct",
    "divide",
    "element",
    "equal",
    "flatten",
    "floor",
    "format",
    "formatdate",
    "formatlist",
    "formattimestamp",
    "greaterthan",
    "greaterthanorequalto",
    "hasindex",
    "homedir",
    "indent",
    "index",
    "indexof",
    "int",
    "join",
    "jsondecode",
    "jsonencode",
    "keys",
    "length",
    "lessthan",
    "lessthanorequalto",
    "log",
    "lookup",
    "lower",
    "max",
    "md5",
    "merge",
    "min",
    "modulo",
    "multiply",
    "negate",
    "not",
    "notequal",
    "or",
    "parseint",
    "pow",
    "range",
    "regex",
    "regex_replace",
    "regexall",
    "replace",
    "reverse",
    "reverselist",
    "sanitize",
    "semvercmp",
    "sethaselement",
    "setintersection",
    "setproduct",
    "setsubtract",
    "setsymmetricdifference",
    "setunion",
    "sha1",
    "sha256",
    "sha512",
    "signum",
    "slice",
    "sort",
    "split",
    "strlen",
    "substr",
    "subtract",
    "timeadd",
    "timestamp",
    "title",
    "trim",
    "trimprefix",
    "trimspace",
    "trimsuffix",
    "unixtimestampparse",
    "upper",
    "urlencode",
    "uuidv4",
    "uuidv5",
    "values",
    "zipmap",
    "try",
    "can",
    "convert",
];

/// Whether there is a function of that name here.
pub(crate) fn exists(name: &str) -> bool {
    find(name).is_some()
}

/// What is said of a name that is no function's.
pub(crate) fn unknown(name: &str) -> String {
    match name {
        "bytesslice" => "bytesslice takes a buffer of bytes, of which there is none in bake files".to_owned(),
        "rsadecrypt" => "rsadecrypt is not there: a bake file is no place for a private key".to_owned(),
        _ => format!("there is no function named {name:?}"),
    }
}

/// Calls a function.
pub(crate) fn call(name: &str, arguments: &[Value], host: &mut Host) -> Result<Value> {
    let (least, most, function) = find(name).ok_or_else(|| unknown(name))?;
    if arguments.len() < least || arguments.len() > most {
        let wanted = match (least, most) {
            (least, most) if least == most => format!("{least} arguments"),
            (least, usize::MAX) => format!("at least {least} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        return Err(format!("{name} takes {wanted}, not {}", arguments.len()));
    }
    function(host, arguments).map_err(|reason| format!("call of {name}: {reason}"))
}

/// An argument as a string.
fn text(value: &Value) -> Result<String> {
    match convert(value, &Type::String)? {
        Value::String(text) => Ok(text),
        _ => Err("argument must not be null".to_owned()),
    }
}

/// An argument as a number.
fn number(value: &Value) -> Result<Number> {
    match convert(value, &Type::Number)? {
        Value::Number(number) => Ok(number),
        _ => Err("argument must not be null".to_owned()),
    }
}

/// An argument as a whole number.
fn whole(value: &Value) -> Result<i64> {
    let number = number(value)?;
    number.to_i64().ok_or_else(|| format!("a whole number is required, not {number}"))
}

/// An argument as a truth.
fn flag(value: &Value) -> Result<bool> {
    match convert(value, &Type::Bool)? {
        Value::Bool(flag) => Ok(flag),
        _ => Err("argument must not be null".to_owned()),
    }
}

/// The elements of a list, tuple or set.
fn elements(value: &Value) -> Result<&[Value]> {
    value.elements().ok_or_else(|| format!("a list is required, not a {}", value.kind()))
}

/// The elements of a list, as strings.
fn texts(value: &Value) -> Result<Vec<String>> {
    elements(value)?.iter().map(text).collect()
}

/// The entries of a map or an object.
fn entries(value: &Value) -> Result<&std::collections::BTreeMap<String, Value>> {
    value.entries().ok_or_else(|| format!("a map is required, not a {}", value.kind()))
}

/// Fails for a text that would be too long.
fn check_length(bytes: Option<usize>) -> Result<()> {
    match bytes {
        Some(bytes) if bytes <= MAX_TEXT => Ok(()),
        _ => Err(format!("the result would be longer than {MAX_TEXT} bytes")),
    }
}

/// Fails for a list that would be too long.
fn check_count(elements: Option<usize>) -> Result<()> {
    match elements {
        Some(elements) if elements <= MAX_ELEMENTS => Ok(()),
        _ => Err(format!("the result would have more than {MAX_ELEMENTS} elements")),
    }
}
