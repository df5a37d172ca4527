//! Picking members out of a JSON object in one pass, without building the rest of it.
//!
//! The whole text is checked to be one well-formed JSON object; what nobody asked for is skipped without an
//! allocation a member. Of a member that occurs twice the last one counts. Escaped surrogate halves, which
//! JavaScript prints when it cuts a string in the middle of a character, are well-formed and become U+FFFD where
//! the string is read.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Visitor};
use serde_json::value::RawValue;

use super::scanner::{Key, Scanner};

/// The members of the object `text` that have these names, each as it is written; `None` if `text` is not one JSON
/// object, or is nested too deeply.
pub(super) fn members<'a, const N: usize>(text: &'a str, names: &[&str; N]) -> Option<[Option<&'a str>; N]> {
    let mut found = [None; N];
    let mut scanner = Scanner::new(text);
    scanner.punctuation(b'{')?;
    if scanner.next_byte()? != b'}' {
        loop {
            let key = scanner.key()?;
            let value = scanner.value()?;
            if let Some(place) = position(key, names).and_then(|index| found.get_mut(index)) {
                *place = text.get(value);
            }
            if scanner.punctuation(b',').is_none() {
                break;
            }
        }
    }
    scanner.punctuation(b'}')?;
    scanner.is_at_the_end().then_some(found)
}

/// Which of the names a key is.
fn position<const N: usize>(key: Key<'_>, names: &[&str; N]) -> Option<usize> {
    if key.has_escapes {
        let key = unescaped(&[b"\"", key.written, b"\""].concat())?;
        return names.iter().position(|name| *name == key);
    }
    names.iter().position(|name| name.as_bytes() == key.written)
}

/// The string that `value` is; `None` if it is something else.
pub(super) fn string(value: Option<&str>) -> Option<Cow<'_, str>> {
    let quoted = value?;
    let plain = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if plain.contains('\\') { unescaped(quoted.as_bytes()).map(Cow::Owned) } else { Some(Cow::Borrowed(plain)) }
}

/// What the string says that is written like this, with its quotes.
fn unescaped(quoted: &[u8]) -> Option<String> {
    serde_json::Deserializer::from_slice(quoted).deserialize_bytes(Unescaped).ok()
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
pub(super) fn owned(value: Option<&str>) -> Option<String> {
    string(value).map(Cow::into_owned)
}

/// The same as a value of its own, as it is written.
pub(super) fn raw(value: Option<&str>) -> Option<Box<RawValue>> {
    RawValue::from_string(value?.to_owned()).ok()
}

/// `value` read as a `T`; `None` if it is absent, `null` or something else.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(value: Option<&'a str>) -> Option<T> {
    serde_json::from_str::<Option<T>>(value?).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one<'a>(text: &'a str, name: &str) -> Option<Option<&'a str>> {
        members(text, &[name]).map(|[value]| value)
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
