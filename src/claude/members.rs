//! Picking members out of a JSON object in one pass, without building the rest of it.
//!
//! The whole text is checked to be one well-formed JSON object; what nobody asked for is skipped without an
//! allocation a member. Of a member that occurs twice the last one counts. Escaped surrogate halves, which
//! JavaScript prints when it cuts a string in the middle of a character, are well-formed and become U+FFFD where
//! the string is read.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of the object `text` that have these names, each as it is written; `None` if `text` is not one JSON
/// object.
pub(super) fn members<'a, const N: usize>(text: &'a str, names: &[&str; N]) -> Option<[Option<&'a RawValue>; N]> {
    let found = |keys| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let found = deserializer.deserialize_map(Object { names, keys }).ok()?;
        deserializer.end().ok()?;
        Some(found)
    };
    // Nobody escapes keys, so the second way is taken for what is not JSON anyway, and for a test.
    found(Keys::Plain).or_else(|| found(Keys::Any))
}

/// How keys are read.
#[derive(Clone, Copy)]
enum Keys {
    /// Fast; a key with an escape is an error.
    Plain,
    /// Whatever JSON allows.
    Any,
}

struct Object<'n, const N: usize> {
    names: &'n [&'n str; N],
    keys: Keys,
}

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(member) = object.next_key_seed(Name { names: self.names, keys: self.keys })? {
            match member.and_then(|index| found.get_mut(index)) {
                Some(value) => *value = Some(object.next_value()?),
                None => {
                    object.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

/// Which of the names a key is.
struct Name<'n, const N: usize> {
    names: &'n [&'n str; N],
    keys: Keys,
}

impl<const N: usize> Name<'_, N> {
    fn position(&self, key: &[u8]) -> Option<usize> {
        self.names.iter().position(|name| name.as_bytes() == key)
    }
}

impl<'de, const N: usize> DeserializeSeed<'de> for Name<'_, N> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.keys {
            Keys::Plain => deserializer.deserialize_bytes(self),
            Keys::Any => {
                let key = string(Some(<&RawValue>::deserialize(deserializer)?));
                Ok(key.and_then(|key| self.position(key.as_bytes())))
            }
        }
    }
}

impl<'de, const N: usize> Visitor<'de> for Name<'_, N> {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key without an escape")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, key: &'de [u8]) -> Result<Self::Value, E> {
        // Read as bytes, a key is not checked for control characters, which JSON does not allow.
        if key.iter().any(|&byte| byte < b' ') {
            return Err(E::invalid_value(de::Unexpected::Bytes(key), &self));
        }
        Ok(self.position(key))
    }
}

/// The string that `value` is; `None` if it is something else.
pub(super) fn string(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let quoted = value?.get();
    let plain = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if !plain.contains('\\') {
        return Some(Cow::Borrowed(plain));
    }
    let mut deserializer = serde_json::Deserializer::from_str(quoted);
    deserializer.deserialize_bytes(Unescaped).ok().map(Cow::Owned)
}

struct Unescaped;

impl Visitor<'_> for Unescaped {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The same as an owned string.
pub(super) fn owned(value: Option<&RawValue>) -> Option<String> {
    string(value).map(Cow::into_owned)
}

/// `value` read as a `T`; `None` if it is absent, `null` or something else.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(value: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str::<Option<T>>(value?.get()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one<'a>(text: &'a str, name: &str) -> Option<Option<&'a str>> {
        members(text, &[name]).map(|[value]| value.map(RawValue::get))
    }

    #[test]
    fn a_member_is_found_wherever_it_stands() {
        assert_eq!(one(r#"{"a":1,"b":[{"a":2}],"c":"x"}"#, "c"), Some(Some(r#""x""#)));
        assert_eq!(one(r#"{"a":1,"b":[{"a":2}],"c":"x"}"#, "a"), Some(Some("1")));
        assert_eq!(one(r#"{"a":1}"#, "b"), Some(None));
    }

    #[test]
    fn of_a_member_that_occurs_twice_the_last_one_counts() {
        assert_eq!(one(r#"{"a":1,"a":2}"#, "a"), Some(Some("2")));
    }

    #[test]
    fn a_key_may_be_escaped() {
        assert_eq!(one(r#"{"\u0061":1}"#, "a"), Some(Some("1")));
        assert_eq!(one(r#"{"\ud800":1,"a":2}"#, "a"), Some(Some("2")));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in [
            "",
            "1",
            "[]",
            "null",
            "{",
            r#"{"a":1"#,
            r#"{"a":1}}"#,
            r#"{"a":1} {}"#,
            r#"{"a":}"#,
            r#"{a:1}"#,
            "{\"a\n\":1}",
            r#"{1:1}"#,
        ] {
            assert_eq!(one(text, "a"), None, "{text}");
        }
    }

    #[test]
    fn a_cut_character_is_read_as_a_replacement_character() {
        let [value] = members(r#"{"a":"x\ud83d"}"#, &["a"]).unwrap();
        assert!(string(value).unwrap().starts_with("x\u{fffd}"));
        let [value] = members(r#"{"a":"x\ud83d\ude00\n"}"#, &["a"]).unwrap();
        assert_eq!(string(value).unwrap(), "x😀\n");
    }
}
