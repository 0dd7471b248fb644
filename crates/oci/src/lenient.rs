//! Decoding of what real documents contain: Go writes `null` for empty lists and maps, and sets as maps of
//! `{}`.

use std::collections::BTreeSet;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};

/// `null` is the same as absent.
pub(crate) fn null_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// An RFC 3339 time, where `null` and the empty string mean none.
pub(crate) fn optional_time<'de, D>(deserializer: D) -> Result<Option<crate::Timestamp>, D::Error>
where
    D: Deserializer<'de>,
{
    match Option::<String>::deserialize(deserializer)? {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

/// A set written as an object whose values say nothing: `{"/data": {}}`.
pub(crate) mod set {
    use super::{BTreeSet, Deserializer, IgnoredAny, MapAccess, SerializeMap, Serializer, Visitor};

    #[derive(serde::Serialize)]
    struct Nothing {}

    pub(crate) fn serialize<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(set.len()))?;
        for key in set {
            map.serialize_entry(key, &Nothing {})?;
        }
        map.end()
    }

    struct Keys;

    impl<'de> Visitor<'de> for Keys {
        type Value = BTreeSet<String>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object or null")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeSet::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut keys = BTreeSet::new();
            while let Some((key, IgnoredAny)) = map.next_entry()? {
                keys.insert(key);
            }
            Ok(keys)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<String>, D::Error> {
        deserializer.deserialize_any(Keys)
    }
}
