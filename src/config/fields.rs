//! The names of the settings' fields, in the order they are declared, taken from the structs themselves.
//!
//! A derived `Deserialize` hands its list of fields to the deserializer before it reads anything. The
//! deserializers here keep that list and then give up. Nothing else in the house needs to know this trick.

use std::cell::Cell;

use serde::Deserialize;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::settings::Settings;

/// Every section with its leaves, in the order of declaration.
pub(super) fn sections() -> Vec<(&'static str, &'static [&'static str])> {
    let names = Cell::new(None);
    // The error is the way out: the names are in the cell by then.
    drop(Settings::deserialize(Names { found: &names, inner: None }));
    names.get().unwrap_or_default().iter().map(|section| (*section, leaves(section))).collect()
}

fn leaves(section: &'static str) -> &'static [&'static str] {
    let names = Cell::new(None);
    drop(Settings::deserialize(Names { found: &names, inner: Some(section) }));
    names.get().unwrap_or_default()
}

/// Keeps the fields of the struct it is asked for, or of that struct's field `inner`.
struct Names<'a> {
    found: &'a Cell<Option<&'static [&'static str]>>,
    inner: Option<&'static str>,
}

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.inner {
            Some(_) => visitor.visit_map(self),
            None => {
                self.found.set(Some(fields));
                Err(Error::custom("the names are known"))
            }
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("not a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Names<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(name) = self.inner else { return Ok(None) };
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(Names { found: self.found, inner: None })
    }
}
