//! A JSON object with known and unknown keys, both of which survive a round trip.
//!
//! `#[serde(flatten)]` would do it too, but it buffers every value, which costs a factor of three in time and
//! the column in error messages. [`record!`] writes the visitor instead:
//!
//! | field kind | absent | `null` | type of the field |
//! |---|---|---|---|
//! | `required` | error | error | `T` |
//! | `optional` | `None` | error | `Option<T>` |
//! | `nullable` | `Absent` | `Null` | [`Nullable<T>`] |
//!
//! A record that is `tagged` carries `"v": 1` and `"type": tag`; both are demanded and written, not stored.
//! A key that occurs twice is an error, known or not.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Keys and values that this version of the format does not know.
pub type Extra = serde_json::Map<String, serde_json::Value>;

/// Version of the format that this crate reads and writes.
pub const VERSION: u64 = 1;

/// A field that distinguishes "not said" from "said to be unknown".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nullable<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// The key is there, with `null`.
    Null,
    /// The key has a value.
    Value(T),
}

impl<T> Nullable<T> {
    /// The value, if there is one.
    pub fn as_ref(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Nullable<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

impl<T: Serialize> Serialize for Nullable<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().serialize(serializer)
    }
}

/// Defines a record and its serde implementations; see the module.
macro_rules! record {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident $(tagged $tag:literal)? {
            $( $(#[$note:meta])* $kind:ident $field:ident : $type:ty = $key:literal, )*
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $visibility struct $name {
            $( $(#[$note])* pub $field: record!(@field $kind $type), )*
            /// Keys that this version does not know, verbatim.
            pub extra: $crate::format::Extra,
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                let mut map = serializer.serialize_map(None)?;
                $(
                    map.serialize_entry("v", &$crate::format::record::VERSION)?;
                    map.serialize_entry("type", $tag)?;
                )?
                $( record!(@write map, $kind, self.$field, $key); )*
                for (key, value) in &self.extra {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                use serde::de::Error as _;

                #[allow(non_camel_case_types)]
                enum Key { $($field,)* Other(String) }

                struct KeyVisitor;
                impl serde::de::Visitor<'_> for KeyVisitor {
                    type Value = Key;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a key")
                    }
                    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
                        Ok(match key {
                            $( $key => Key::$field, )*
                            other => Key::Other(other.to_owned()),
                        })
                    }
                }
                impl<'de> serde::Deserialize<'de> for Key {
                    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                        d.deserialize_identifier(KeyVisitor)
                    }
                }

                struct RecordVisitor;
                impl<'de> serde::de::Visitor<'de> for RecordVisitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("an object (", stringify!($name), ")"))
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        $( let mut $field: Option<record!(@slot $kind $type)> = None; )*
                        let mut extra = $crate::format::Extra::new();
                        while let Some(key) = map.next_key::<Key>()? {
                            match key {
                                $( Key::$field => {
                                    if $field.replace(map.next_value()?).is_some() {
                                        return Err(A::Error::duplicate_field($key));
                                    }
                                } )*
                                Key::Other(key) => {
                                    let value = map.next_value()?;
                                    if extra.insert(key.clone(), value).is_some() {
                                        return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
                                    }
                                }
                            }
                        }
                        $( $crate::format::record::take_tag::<A::Error>(&mut extra, $tag)?; )?
                        Ok($name { $( $field: record!(@finish A, $kind, $field, $key), )* extra })
                    }
                }
                deserializer.deserialize_map(RecordVisitor)
            }
        }
    };

    (@field required $type:ty) => { $type };
    (@field optional $type:ty) => { Option<$type> };
    (@field nullable $type:ty) => { $crate::format::Nullable<$type> };

    (@slot required $type:ty) => { $type };
    (@slot optional $type:ty) => { $type };
    (@slot nullable $type:ty) => { $crate::format::Nullable<$type> };

    (@write $map:ident, required, $value:expr, $key:literal) => { $map.serialize_entry($key, &$value)? };
    (@write $map:ident, optional, $value:expr, $key:literal) => {
        if let Some(value) = &$value { $map.serialize_entry($key, value)?; }
    };
    (@write $map:ident, nullable, $value:expr, $key:literal) => {
        if $value != $crate::format::Nullable::Absent { $map.serialize_entry($key, &$value)?; }
    };

    (@finish $access:ident, required, $slot:ident, $key:literal) => {
        match $slot {
            Some(value) => value,
            None => return Err($access::Error::missing_field($key)),
        }
    };
    (@finish $access:ident, optional, $slot:ident, $key:literal) => { $slot };
    (@finish $access:ident, nullable, $slot:ident, $key:literal) => { $slot.unwrap_or_default() };
}

pub(crate) use record;

/// Removes `v` and `type` from `extra` and demands that they are right.
pub fn take_tag<E: serde::de::Error>(extra: &mut Extra, tag: &'static str) -> Result<(), E> {
    let version = extra
        .shift_remove("v")
        .ok_or_else(|| E::missing_field("v"))?;
    if version.as_u64() != Some(VERSION) {
        let text = format_args!("version {version}, but this build reads session-trace v{VERSION}")
            .to_string();
        return Err(E::custom(text));
    }
    let kind = extra
        .shift_remove("type")
        .ok_or_else(|| E::missing_field("type"))?;
    if kind.as_str() != Some(tag) {
        return Err(E::custom(format!("type {kind} where \"{tag}\" is due")));
    }
    Ok(())
}
