//! Events to a tree, without recursion: what is open lies on a stack, and what has a name (`&a`) is kept beside the tree.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::scalar::{Scalar, scalar};
use crate::{Rules, Yaml, YamlError};

/// Reads the first document of a text.
///
/// # Errors
/// If it is none, or not what the rules take, with the place.
pub fn parse(text: &str, rules: Rules) -> Result<Yaml, YamlError> {
    let at = |mark: &Marker, reason| YamlError { line: mark.line(), column: mark.col() + 1, reason };
    let mut builder = Builder { rules, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| at(error.marker(), error.info().to_owned()))?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        builder.event(event).map_err(|reason| at(&span.start, reason))?;
    }
    Ok(builder.root.unwrap_or(Yaml::Null))
}

/// A list or a map that is not finished.
struct Open {
    node: Yaml,
    /// The key whose value comes next.
    key: Option<String>,
    /// The keys that it has, where none may come twice.
    keys: HashSet<String>,
    anchor: usize,
    mark: Option<Mark>,
    /// What `<<` brings, for keys that are not set otherwise.
    merged: Vec<(String, Yaml)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Reset,
    Override,
}

struct Builder {
    rules: Rules,
    open: Vec<Open>,
    /// What has a name, and how many nodes it has.
    anchors: HashMap<usize, (Yaml, usize)>,
    nodes: usize,
    root: Option<Yaml>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let node = match plain && scalar(&text) == Scalar::Null {
                    true => Yaml::Null,
                    false => Yaml::Scalar { text: text.into_owned(), plain },
                };
                self.pay(1)?;
                self.finish(marked(node, self.mark(tag.as_deref())), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Yaml::List(Vec::new()), anchor, self.mark(tag.as_deref()))
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Yaml::Map(Vec::new()), anchor, self.mark(tag.as_deref()))
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut open) = self.open.pop() else { return Ok(()) };
                if let Yaml::Map(entries) = &mut open.node {
                    let known: HashSet<String> = entries.iter().map(|(key, _)| key.clone()).collect();
                    entries.extend(open.merged.into_iter().filter(|(key, _)| !known.contains(key)));
                }
                self.finish(marked(open.node, open.mark), open.anchor)
            }
            Event::Alias(anchor) => {
                let (_, size) = self.anchors.get(&anchor).ok_or("an alias of what is not finished")?;
                // Paid before it is copied.
                self.pay(*size)?;
                let node = self.anchors.get(&anchor).map_or(Yaml::Null, |(node, _)| node.clone());
                self.finish(node, 0)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn mark(&self, tag: Option<&Tag>) -> Option<Mark> {
        let tag = tag.filter(|tag| self.rules.merges && tag.handle == "!")?;
        match tag.suffix.as_str() {
            "reset" => Some(Mark::Reset),
            "override" => Some(Mark::Override),
            _ => None,
        }
    }

    fn start(&mut self, node: Yaml, anchor: usize, mark: Option<Mark>) -> Result<(), String> {
        let most = self.rules.depth;
        if self.open.len() >= most {
            return Err(format!("at most {most} levels are taken"));
        }
        self.pay(1)?;
        self.open.push(Open { node, key: None, keys: HashSet::new(), anchor, mark, merged: Vec::new() });
        Ok(())
    }

    fn pay(&mut self, nodes: usize) -> Result<(), String> {
        let most = self.rules.nodes;
        self.nodes = self.nodes.saturating_add(nodes);
        match self.nodes > most {
            true => Err(format!("at most {most} nodes are taken, with what aliases repeat")),
            false => Ok(()),
        }
    }

    /// A node is whole: it goes where it belongs.
    fn finish(&mut self, node: Yaml, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            // It is kept beside the tree.
            let size = node.count();
            self.pay(size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Rules { doubles, merges, .. } = self.rules;
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node {
            Yaml::List(elements) => elements.push(node),
            Yaml::Map(entries) => match open.key.take() {
                None => open.key = Some(key(&node)?),
                Some(key) if key == "<<" && merges => open.merged.extend(merged(node)?),
                Some(key) if !doubles && !open.keys.insert(key.clone()) => {
                    return Err(format!("key {key:?} comes twice"));
                }
                Some(key) => entries.push((key, node)),
            },
            // Nothing else is open.
            Yaml::Null | Yaml::Scalar { .. } | Yaml::Reset | Yaml::Override(_) => {}
        }
        Ok(())
    }
}

fn marked(node: Yaml, mark: Option<Mark>) -> Yaml {
    match mark {
        None => node,
        Some(Mark::Reset) => Yaml::Reset,
        Some(Mark::Override) => Yaml::Override(Box::new(node)),
    }
}

fn key(node: &Yaml) -> Result<String, String> {
    let null = || node.is_null().then(|| "null".to_owned());
    node.text().or_else(null).ok_or_else(|| "a key must be a scalar".to_owned())
}

/// What a merge key brings: of several maps, the first that has a key.
fn merged(node: Yaml) -> Result<Vec<(String, Yaml)>, String> {
    match node {
        Yaml::Map(entries) => Ok(entries),
        Yaml::List(maps) => {
            let mut all: Vec<(String, Yaml)> = Vec::new();
            let mut known = HashSet::new();
            for map in maps {
                let Yaml::Map(entries) = map else { return Err("<< takes maps".to_owned()) };
                all.extend(entries.into_iter().filter(|(key, _)| known.insert(key.clone())));
            }
            Ok(all)
        }
        Yaml::Null | Yaml::Scalar { .. } | Yaml::Reset | Yaml::Override(_) => {
            Err("<< takes a map".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules { depth: 32, nodes: 1000, doubles: false, merges: true };

    fn outcome(text: &str, rules: Rules) -> Result<Yaml, String> {
        parse(text, rules).map_err(|error| format!("{}:{}: {}", error.line, error.column, error.reason))
    }

    fn shown(node: &Yaml) -> String {
        match node {
            Yaml::Null => "~".to_owned(),
            Yaml::Scalar { text, plain: true } => text.clone(),
            Yaml::Scalar { text, plain: false } => format!("{text:?}"),
            Yaml::List(nodes) => format!("[{}]", nodes.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Yaml::Map(entries) => {
                let entries = entries.iter().map(|(key, node)| format!("{key}={}", shown(node)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
            Yaml::Reset => "!reset".to_owned(),
            Yaml::Override(node) => format!("!override {}", shown(node)),
        }
    }

    #[test]
    fn texts_become_trees() {
        for (text, want) in [
            ("", "~"),
            ("a: 0666\nb: '7'\nc: ~\nd:\n", "{a=0666 b=\"7\" c=~ d=~}"),
            ("{\"a\": [\"\\u0041\", {}]}", "{a=[\"A\" {}]}"),
            ("1: &x [1, 2]\n0x10: *x\n", "{1=[1 2] 16=[1 2]}"),
            ("a: !reset []\nb: !override {c: 1}\n", "{a=!reset b=!override {c=1}}"),
            ("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n", "{a={x=1 y=2} b={x=3 y=2}}"),
            ("b:\n  <<: [{x: 1}, {x: 2, z: 3}]\n", "{b={x=1 z=3}}"),
            ("a: 1\n---\nb: 2\n", "{a=1}"),
        ] {
            assert_eq!(shown(&outcome(text, RULES).unwrap()), want, "{text}");
        }
        let plain = Rules { doubles: true, merges: false, ..RULES };
        assert_eq!(
            shown(&outcome("a: 1\na: !reset 2\n<<: {c: 1}\n", plain).unwrap()),
            "{a=1 a=\"2\" <<={c=1}}"
        );
    }

    #[test]
    fn what_is_too_deep_too_large_or_twice_is_refused_with_its_place() {
        for (text, want) in [
            ("[".repeat(100), "1:33: at most 32 levels are taken"),
            ("a: 1\nb: 2\na: 3\n".to_owned(), "3:4: key \"a\" comes twice"),
            ("[a]: 1\n".to_owned(), "1:3: a key must be a scalar"),
            ("<<: 1\n".to_owned(), "1:5: << takes a map"),
            (format!("[{}]", "1,".repeat(3000)), "nodes are taken, with what aliases repeat"),
        ] {
            let told = outcome(&text, RULES).unwrap_err();
            assert!(told.ends_with(want), "{told}");
        }
        assert!(outcome("a: *nothing\n", RULES).is_err());
    }

    #[test]
    fn aliases_of_aliases_do_not_grow_beyond_all_bounds() {
        let mut bomb = String::from("l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..20 {
            let below = format!("*l{}", level - 1);
            bomb.push_str(&format!("l{level}: &l{level} [{}]\n", vec![below; 10].join(", ")));
        }
        assert!(outcome(&bomb, Rules { nodes: 256 << 10, ..RULES }).unwrap_err().contains("at most 262144"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(text in "[a-c:\\[\\]{}&*,\\-\\n \"'#|>!0-9.<]{0,60}|\\PC{0,40}") {
            drop(parse(&text, RULES));
        }
    }
}
