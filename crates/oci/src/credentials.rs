//! Credentials in addresses, and texts without them.
//!
//! Names of steps, histories, messages and attestations tell addresses as somebody wrote them, and somebody writes
//! `https://user:password@host/`, `https://token@host/` or `https://host/?token=…`. Here alone is decided where in a text such a thing
//! is, and what stands in its place: `https://xxxxx:xxxxx@host/`, as by BuildKit.
//!
//! It is text of any kind: JSON, a shell's, a Dockerfile with lines that go on. Where it cannot be told whether something is a part of
//! a password, it counts as one: a word too few can be borne. Work is linear in the text, whatever it is.
//!
//! Who knows the addresses that a build has used knows its credentials as well, and masks them wherever else they stand: an address may
//! be put together of arguments, of which one is the token ([`Known`]).

use std::borrow::Cow;
use std::ops::Range;

/// What stands for a user, a password or a token.
const MASK: &str = "xxxxx";
/// How far the end of a variable (`${…}`) is looked for.
const VARIABLE: usize = 200;
/// The shortest password, and the shortest token in a user's place, that is looked for by itself; and how many are.
const PASSWORD: usize = 4;
const TOKEN: usize = 8;
const KNOWN: usize = 64;
/// Words that the name of a secret in a query has in it, in lower case.
const SECRET: [&str; 13] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "accesskey",
    "signature",
    "credential",
    "authorization",
];
/// Such names in full.
const NAMED: [&str; 5] = ["sig", "key", "auth", "pass", "jwt"];

/// Where in a text, of any kind, credentials of addresses are: in order, apart from each other, none over the end of a line.
#[must_use]
pub fn credentials(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut from, mut region) = (0, Region { end: 0, last_at: None });
    while let Some(at) = text.get(from..).and_then(|rest| rest.find("://")) {
        let (colon, start) = (from + at, from + at + 3);
        from = start;
        if !text.as_bytes().get(..colon).is_some_and(|before| before.last().is_some_and(is_of_scheme)) {
            continue;
        }
        // An address may be in another one's query; what the two lie in is looked through once.
        let is_new = start >= region.end;
        if is_new {
            region = Region::of(text, start, end_of(text.as_bytes(), start));
        }
        Address { text, start, region: &region }.look(is_new, &mut found);
    }
    apart(text, found)
}

/// The text with a mask for each of its [`credentials`].
#[must_use]
pub fn without_credentials(text: &str) -> Cow<'_, str> {
    masked(text, &credentials(text))
}

/// The same of a text that is one address, so that whatever a password holds is a part of it.
#[must_use]
pub fn address_without_credentials(address: &str) -> Cow<'_, str> {
    let Some(start) = address.find("://").map(|at| at + 3) else { return Cow::Borrowed(address) };
    let (mut found, region) = (Vec::new(), Region::of(address, start, address.len()));
    Address { text: address, start, region: &region }.look(true, &mut found);
    let masked = masked(address, &apart(address, found));
    // What is in a query may be another address.
    Cow::Owned(without_credentials(&masked).into_owned())
}

/// Credentials that are known because addresses have them: they are masked also where they stand for themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(Vec<String>);

impl Known {
    /// Those of some addresses: passwords, tokens and secrets of queries. Users are none, nor is what is too short to be looked for.
    #[must_use]
    pub fn of<'a>(addresses: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all: Vec<String> = Vec::new();
        for address in addresses {
            let Some(start) = address.find("://").map(|at| at + 3) else { continue };
            let (mut found, region) = (Vec::new(), Region::of(address, start, address.len()));
            Address { text: address, start, region: &region }.look(true, &mut found);
            for place in found {
                let is_user = address[place.end..].starts_with(':');
                let is_alone = place.start == start;
                let secret = &address[place];
                let least = if is_alone { TOKEN } else { PASSWORD };
                if !is_user && secret.len() >= least && !secret.contains(char::is_whitespace) {
                    all.extend([Some(secret.to_owned()), unescaped(secret)].into_iter().flatten());
                }
            }
        }
        all.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        all.dedup();
        all.truncate(KNOWN);
        Self(all)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text without them, and [`without_credentials`] of all addresses in it.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut places = credentials(text);
        let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        for secret in &self.0 {
            let places_of = text.match_indices(secret.as_str()).map(|(at, _)| at..at + secret.len());
            let before = |at: usize| at.checked_sub(1).and_then(|at| text.as_bytes().get(at));
            places.extend(
                places_of.filter(|place| {
                    !is_word(before(place.start)) && !is_word(text.as_bytes().get(place.end))
                }),
            );
        }
        match self.0.is_empty() {
            true => masked(text, &places),
            false => masked(text, &apart(text, places)),
        }
    }
}

/// What `%2F` and the like stand for, if there is any of that.
fn unescaped(text: &str) -> Option<String> {
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    let (mut plain, mut bytes) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            byte => byte,
        });
    }
    String::from_utf8(plain).ok().filter(|plain| plain != text)
}

/// A text with a mask for each of these places.
fn masked<'t>(text: &'t str, places: &[Range<usize>]) -> Cow<'t, str> {
    if places.is_empty() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(masked_part(text, places, 0..text.len()))
}

/// A part of a text whose [`credentials`] are known, with a mask for each.
#[must_use]
pub fn masked_part(text: &str, places: &[Range<usize>], part: Range<usize>) -> String {
    let (mut out, mut done) = (String::with_capacity(part.len()), part.start);
    let from = places.partition_point(|place| place.end <= part.start);
    for place in places.iter().skip(from).take_while(|place| place.start < part.end) {
        out.push_str(text.get(done..place.start).unwrap_or_default());
        out.push_str(MASK);
        done = place.end.min(part.end);
    }
    out.push_str(text.get(done..part.end).unwrap_or_default());
    out
}

/// A stretch of text without a gap, in which an address is.
struct Region {
    end: usize,
    last_at: Option<usize>,
}

impl Region {
    fn of(text: &str, start: usize, end: usize) -> Self {
        let last_at = text.get(start..end).and_then(|inside| inside.rfind('@')).map(|at| start + at);
        Self { end, last_at }
    }
}

struct Address<'t> {
    text: &'t str,
    /// Where its authority begins.
    start: usize,
    region: &'t Region,
}

impl Address<'_> {
    fn look(&self, has_query: bool, found: &mut Vec<Range<usize>>) {
        let end = self.find(self.start, self.region.end, b"/?#").unwrap_or(self.region.end);
        // By ssh everybody is `git`.
        let is_everybody = |at: usize| {
            self.text.get(self.start..at) == Some("git") && self.text[..self.start].ends_with("ssh://")
        };
        if let Some(at) = self.at(end).filter(|at| !is_everybody(*at)) {
            let colon = self.find(self.start, at, b":");
            found.push(self.start..colon.unwrap_or(at));
            found.extend(colon.map(|colon| colon + 1..at));
        }
        if has_query {
            self.query(end, found);
        }
    }

    /// The sign behind the user, in an authority that seems to end there.
    fn at(&self, end: usize) -> Option<usize> {
        let authority = self.text.get(self.start..end)?;
        if let Some(at) = authority.rfind('@') {
            return Some(self.start + at);
        }
        // What has no number for a port ends within a password that should have been escaped.
        let port = authority.split_once(':').map_or("", |(_, port)| port);
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) || port.starts_with('$');
        self.region.last_at.filter(|at| *at > end && !is_port && !authority.starts_with('['))
    }

    /// Values of what is named like a secret.
    fn query(&self, from: usize, found: &mut Vec<Range<usize>>) {
        let mut place = self.find(from, self.region.end, b"?&;#");
        while let Some(begin) = place.map(|at| at + 1) {
            place = self.find(begin, self.region.end, b"?&;#");
            let end = place.unwrap_or(self.region.end);
            let pair = self.text.get(begin..end).unwrap_or_default();
            if let Some((name, _)) = pair.split_once('=').filter(|(name, _)| is_secret(name)) {
                found.push(begin + name.len() + 1..end);
            }
        }
    }

    /// The first of these signs, outside of variables.
    fn find(&self, from: usize, end: usize, signs: &[u8]) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let mut place = from;
        while place < end {
            if signs.contains(bytes.get(place)?) {
                return Some(place);
            }
            place = variable(bytes, place).unwrap_or(place + 1);
        }
        None
    }
}

fn is_of_scheme(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(byte)
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NAMED.contains(&name.as_str()) || SECRET.iter().any(|word| name.contains(word))
}

/// Where the variable `${…}` that begins there ends.
fn variable(bytes: &[u8], at: usize) -> Option<usize> {
    let inside = bytes.get(at..)?.strip_prefix(b"${")?;
    let end = inside.iter().take(VARIABLE).position(|byte| matches!(byte, b'}' | b'\n'))?;
    (inside[end] == b'}').then_some(at + 2 + end + 1)
}

/// Where the next line begins, if the one with this sign goes on there.
fn continued(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?.strip_prefix(b"\\").or_else(|| bytes.get(at..)?.strip_prefix(b"`"))?;
    let blank = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r'))?;
    (rest[blank] == b'\n').then_some(at + 1 + blank + 1)
}

/// Where a stretch without a gap ends: before white space, or a quote that ends something.
fn end_of(bytes: &[u8], start: usize) -> usize {
    let mut place = start;
    while let Some(byte) = bytes.get(place) {
        if let Some(next) = variable(bytes, place).or_else(|| continued(bytes, place)) {
            place = next;
            continue;
        }
        let ends = match byte {
            b'"' | b'\'' | b'`' => {
                bytes.get(place + 1).is_none_or(|next| next.is_ascii_whitespace() || b",]}:;)".contains(next))
            }
            byte => byte.is_ascii_whitespace() || byte.is_ascii_control(),
        };
        if ends {
            break;
        }
        place += 1;
    }
    place
}

/// Places in order, each once, and without the ends of lines in them.
fn apart(text: &str, mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_unstable_by_key(|range| (range.start, range.end));
    let mut places: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match places.last_mut().filter(|last| range.start < last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => places.push(range),
        }
    }
    let lines = |range: Range<usize>| {
        let inside = text.get(range.clone()).unwrap_or_default();
        let mut start = range.start;
        let mut parts = Vec::new();
        for line in inside.split_inclusive('\n') {
            let kept = match line.strip_suffix('\n') {
                Some(line) => line.trim_end_matches([' ', '\t', '\r']).trim_end_matches(['\\', '`']),
                None => line,
            };
            if !kept.is_empty() {
                parts.push(start..start + kept.len());
            }
            start += line.len();
        }
        parts
    };
    places.into_iter().flat_map(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_passwords_and_tokens_are_masked() {
        for (text, want) in [
            ("https://u:p@h/x#y", "https://xxxxx:xxxxx@h/x#y"),
            ("https://token@h:1/x@y", "https://xxxxx@h:1/x@y"),
            ("https://:p@h", "https://:xxxxx@h"),
            ("https://u:@h", "https://xxxxx:@h"),
            ("https://a@b:c@h", "https://xxxxx:xxxxx@h"),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("git+ssh://me@h/x ssh://git:p@h", "git+ssh://xxxxx@h/x ssh://xxxxx:xxxxx@h"),
            ("git@h:x/y.git", "git@h:x/y.git"),
            ("https://h/x?a@b", "https://h/x?a@b"),
            ("http://[::1]:80/x@y", "http://[::1]:80/x@y"),
            ("http://h:8080/@scope/x", "http://h:8080/@scope/x"),
            ("http://h:${PORT}/a@1", "http://h:${PORT}/a@1"),
            ("file:///a:b@c", "file:///a:b@c"),
            // What should have been escaped.
            ("https://u:a/b?c#d@h/x", "https://xxxxx:xxxxx@h/x"),
            ("https://u:a\"b'@h/x", "https://xxxxx:xxxxx@h/x"),
            // Secrets of queries.
            ("https://h/x?a=1&access_token=s&b=2#t", "https://h/x?a=1&access_token=xxxxx&b=2#t"),
            (
                "https://h/?X-Amz-Signature=s&sig=t&author=me",
                "https://h/?X-Amz-Signature=xxxxx&sig=xxxxx&author=me",
            ),
            ("https://h/x.git?ref=token&subdir=key", "https://h/x.git?ref=token&subdir=key"),
            // Text around them.
            ("ADD [\"https://u:p@h/x\", \"a@b\"]", "ADD [\"https://xxxxx:xxxxx@h/x\", \"a@b\"]"),
            ("[\"https://h\",\"a@b\"]", "[\"https://h\",\"a@b\"]"),
            ("A=https://u:p@h B=http://t@h;", "A=https://xxxxx:xxxxx@h B=http://xxxxx@h;"),
            ("https://h/?to=https://u:p@h", "https://h/?to=https://xxxxx:xxxxx@h"),
            ("see ://u:p@h", "see ://u:p@h"),
            // Variables, and lines that go on.
            ("https://${U:-a b}:$P@h x@y", "https://xxxxx:xxxxx@h x@y"),
            ("ADD https://u:pa\\\nss@h/x /\nRUN", "ADD https://xxxxx:xxxxx\\\nxxxxx@h/x /\nRUN"),
            ("https://u:pa` \r\nss@h", "https://xxxxx:xxxxx` \r\nxxxxx@h"),
            ("https://u:${p @h", "https://u:${p @h"),
        ] {
            assert_eq!(without_credentials(text), want);
        }
    }

    #[test]
    fn in_an_address_alone_a_password_may_hold_anything() {
        for (text, want) in [
            ("https://u:a b\" ,c@h/x y@z", "https://xxxxx:xxxxx@h/x y@z"),
            ("https://h/x?token=a b", "https://h/x?token=xxxxx"),
            ("https://u:p@h/?to=https://u:p@h", "https://xxxxx:xxxxx@h/?to=https://xxxxx:xxxxx@h"),
            ("git@h:x", "git@h:x"),
            ("local", "local"),
        ] {
            assert_eq!(address_without_credentials(text), want);
        }
    }

    #[test]
    fn what_addresses_have_shown_to_be_secret_is_masked_everywhere() {
        let known = Known::of([
            "https://user:s3cret@h/x",
            "https://ghp_0123456789@h",
            "https://a:p%40ssword@h",
            "https://h/?token=abcd",
            "ssh://git@h",
            "https://u:p@h",
        ]);
        for (text, want) in [
            ("RUN |1 T=s3cret sh -c 'x s3cret'", "RUN |1 T=xxxxx sh -c 'x xxxxx'"),
            ("ghp_0123456789 p%40ssword p@ssword abcd", "xxxxx xxxxx xxxxx xxxxx"),
            ("user git p s3crets as3cret abcde", "user git p s3crets as3cret abcde"),
            ("https://x:y@h ghp_0123456789", "https://xxxxx:xxxxx@h xxxxx"),
        ] {
            assert_eq!(known.mask(text), want);
        }
        assert_eq!(Known::default().mask("a https://u:p@h"), "a https://xxxxx:xxxxx@h");
    }

    #[test]
    fn work_is_linear() {
        // It would not end.
        for piece in ["a://", "a://x:y/", "a://${", "a://@", "a://?", "a://\\ ", "a://x@?token=", "${"] {
            let text = piece.repeat((2 << 20) / piece.len());
            assert!(without_credentials(&text).len() > 1, "{piece}");
        }
    }

    proptest::proptest! {
        #[test]
        fn places_are_in_order_and_the_mask_stays(text in "([a-z]{0,3}://|[a-z@:/?#&=\"'`$\\\\{} \r\nü]|token){0,40}") {
            let places = credentials(&text);
            let mut last = 0;
            for place in &places {
                proptest::prop_assert!(last <= place.start && place.start < place.end);
                proptest::prop_assert!(text.get(place.clone()).is_some_and(|part| !part.contains('\n')));
                last = place.end;
            }
            let masked = without_credentials(&text);
            proptest::prop_assert_eq!(masked.lines().count(), text.lines().count());
        }

        #[test]
        fn no_password_survives(user in "[a-z]{0,5}", secret in "S3CR[!-~&&[^$\\\\`{\"'/?#@]]{0,8}3T", before in "[a-z =\\[\"']{0,4}", after in "(/[a-z@]{0,5})?[ \"']?") {
            let text = format!("{before}https://{user}:{secret}@host{after}");
            proptest::prop_assert!(!without_credentials(&text).contains("S3CR"), "{}", without_credentials(&text));
        }
    }
}
