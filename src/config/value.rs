//! Texts of variables and flags as values of the shape that a setting has.
//!
//! The setting decides what a text means, never the text: `007` for a text stays `007`.

use figment::value::{Dict, Value};

use super::table::Shape;

/// The value a text stands for.
///
/// # Errors
/// What is expected instead.
pub(super) fn parse(shape: &Shape, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    let wrong = || shape.expected();
    match shape {
        Shape::Text => Ok(Value::from(text)),
        Shape::Address | Shape::Choice(_) => Ok(Value::from(trimmed)),
        Shape::Whole(_) => trimmed.parse::<u64>().map(Value::from).map_err(|_| wrong()),
        // `inf` and `nan` are numbers to the parser only.
        Shape::Seconds | Shape::Dollars => {
            trimmed.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from).ok_or_else(wrong)
        }
        Shape::Switch => trimmed.parse::<bool>().map(Value::from).map_err(|_| wrong()),
        Shape::Tables if trimmed.is_empty() => Ok(Value::from(Vec::<Value>::new())),
        Shape::Tables => toml_value(trimmed).ok_or_else(wrong),
        Shape::List if trimmed.starts_with('[') => toml_value(trimmed).ok_or_else(wrong),
        Shape::List => {
            let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::from(items.map(Value::from).collect::<Vec<_>>()))
        }
        Shape::Map if trimmed.starts_with('{') => toml_value(trimmed).ok_or_else(wrong),
        Shape::Map => trimmed
            .split(',')
            .filter(|pair| !pair.trim().is_empty())
            .map(|pair| pair.split_once('=').map(|(name, value)| (name.trim().to_owned(), Value::from(value))))
            .collect::<Option<Dict>>()
            .map(Value::from)
            .ok_or_else(wrong),
    }
}

/// A single TOML value.
fn toml_value(text: &str) -> Option<Value> {
    let table: toml::Table = toml::from_str(&format!("value = {text}")).ok()?;
    // A line break in the text could smuggle in further keys.
    if table.len() != 1 {
        return None;
    }
    Value::serialize(table.get("value")?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Option<Vec<String>> {
        parse(&Shape::List, text).ok()?.deserialize().ok()
    }

    fn map(text: &str) -> Option<std::collections::BTreeMap<String, String>> {
        parse(&Shape::Map, text).ok()?.deserialize().ok()
    }

    #[test]
    fn lists_are_comma_separated_or_toml_arrays() {
        assert_eq!(list("a, b,c").unwrap(), ["a", "b", "c"]);
        assert_eq!(list(r#"["a,b", 'c']"#).unwrap(), ["a,b", "c"]);
        assert_eq!(list("").unwrap(), Vec::<String>::new());
        assert_eq!(list("[1"), None);
        assert_eq!(list("[]\nother = 1"), None);
    }

    #[test]
    fn maps_are_pairs_or_toml_inline_tables() {
        assert_eq!(map("A=1,B=x=y").unwrap(), [("A".into(), "1".into()), ("B".into(), "x=y".into())].into());
        assert_eq!(map(r#"{ A = "1,2" }"#).unwrap(), [("A".into(), "1,2".into())].into());
        assert_eq!(map("A"), None);
        assert_eq!(map("").unwrap(), [].into());
    }

    #[test]
    fn a_text_that_looks_like_a_number_stays_a_text() {
        assert_eq!(parse(&Shape::Text, "007").unwrap().as_str(), Some("007"));
    }

    #[test]
    fn numbers_and_switches_say_what_they_expect() {
        assert_eq!(parse(&Shape::Whole(u32::MAX.into()), "-1").unwrap_err(), "a whole number from 0 to 4294967295");
        assert_eq!(parse(&Shape::Switch, "yes").unwrap_err(), "true or false");
        for no_number in ["2m", "nan", "inf", "1e400"] {
            let seconds = parse(&Shape::Seconds, no_number).unwrap_err();
            assert_eq!(seconds, "a number of seconds from 0 to 1000000000", "{no_number}");
            let dollars = parse(&Shape::Dollars, no_number).unwrap_err();
            assert_eq!(dollars, "a number of US dollars, 0 or more", "{no_number}");
        }
    }
}
