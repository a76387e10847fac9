//! What a file is, told from its beginning, and the reason in words.
//!
//! A JSON source is known by the keys of its first object, a CSV source by its heading. Only the outermost object counts:
//! a log may quote any other format inside a string or a nested value. The beginning may break off anywhere
//! (an array of hashes can be longer than what is looked at), so the keys are scanned, not parsed.

/// The first bytes of a file, decompressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    line: String,
    is_array: bool,
    keys: Vec<String>,
    nested: Vec<String>,
}

/// Bytes that are looked at: the keys before and after a long array of hashes.
pub const HEAD_BYTES: u64 = 64 << 10;

impl Head {
    /// Of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or(bytes);
        let line = String::from_utf8_lossy(line).trim().to_owned();
        let mut head = Self {
            line,
            ..Self::default()
        };
        head.scan(bytes);
        head
    }

    /// Whether the first object (or the first in an array) has `key`.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|known| known == key)
    }

    /// Whether an object directly inside the first one (or inside an array in it) has `key`.
    pub fn has_nested(&self, key: &str) -> bool {
        self.nested.iter().any(|known| known == key)
    }

    /// Keys of the first object, in order.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Whether the file is one array.
    pub fn is_array(&self) -> bool {
        self.is_array
    }

    /// The reason if the first object has all of `keys`.
    pub fn with(&self, keys: &[&str]) -> Option<String> {
        let has_all = keys.iter().all(|key| self.has(key));
        has_all.then(|| format!("its first object has {}", listed(keys)))
    }

    /// The reason if an object directly inside the first one has all of `keys`.
    pub fn with_nested(&self, keys: &[&str]) -> Option<String> {
        let has_all = keys.iter().all(|key| self.has_nested(key));
        has_all.then(|| format!("objects inside its first object have {}", listed(keys)))
    }

    /// The reason if the first line is the heading of a table with all of `columns`, whatever their case.
    pub fn columns(&self, columns: &[&str]) -> Option<String> {
        let heading: Vec<&str> = self.line.split(',').map(clean).collect();
        let has = |column: &&str| heading.iter().any(|name| name.eq_ignore_ascii_case(column));
        let has_all = columns.iter().all(has);
        has_all.then(|| format!("its heading has {}", listed(columns)))
    }

    /// Collects keys by depth. A string counts as a key if a colon follows it.
    fn scan(&mut self, bytes: &[u8]) {
        let mut depth = Vec::new();
        let mut objects = 0;
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            match byte {
                b'{' | b'[' => {
                    self.is_array |= depth.is_empty() && byte == b'[';
                    depth.push(byte);
                    objects += usize::from(byte == b'{');
                }
                b'}' | b']' => {
                    if depth.pop() == Some(b'{') {
                        objects -= 1;
                        if objects == 0 {
                            return;
                        }
                    }
                    if depth.is_empty() {
                        return;
                    }
                }
                b'"' => {
                    let Some(end) = string_end(rest) else { return };
                    let text = &rest[..end];
                    rest = &rest[end + 1..];
                    if !rest.trim_ascii_start().starts_with(b":") {
                        continue;
                    }
                    let key = || String::from_utf8_lossy(text).into_owned();
                    match objects {
                        1 => self.keys.push(key()),
                        2 if !self.nested.iter().any(|known| known.as_bytes() == text) => {
                            self.nested.push(key());
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

/// Where the string that begins with `bytes` has its closing quote.
fn string_end(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    bytes.iter().position(|&byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

/// A heading's cell without blanks, quotes and a byte order mark.
fn clean(cell: &str) -> &str {
    cell.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\u{feff}')
}

/// `a`, `b` and `c`.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, front)) => format!("{} and {last}", front.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_first_object_also_where_the_text_breaks_off() {
        let head = Head::new(
            br#"{"a": {"in": 1}, "text": "\"b\": {", "list": [{"deep": {"x": 1}}], "c": [1, 2"#,
        );
        assert_eq!(head.keys(), ["a", "text", "list", "c"]);
        assert!(head.has_nested("in") && head.has_nested("deep") && !head.has_nested("x"));
        assert!(!head.is_array());
        let second_is_ignored = Head::new(b"{\"a\": 1}\n{\"b\": 2}");
        assert_eq!(second_is_ignored.keys(), ["a"]);
        let array = Head::new(b" [ {\"id\": \"x\", \"messages\": []}, {\"b\": 1}]");
        assert!(array.is_array());
        assert_eq!(array.keys(), ["id", "messages"]);
    }

    #[test]
    fn a_reason_names_what_was_recognised() {
        let head = Head::new(b"{\"a\": 1, \"b\": 2, \"c\": 3}");
        let reason = head.with(&["a", "b", "c"]).unwrap();
        assert_eq!(reason, "its first object has `a`, `b` and `c`");
        assert_eq!(head.with(&["a", "d"]), None);
        let table = Head::new("\u{feff}\"Time\", Tokens\r\n1,2".as_bytes());
        assert_eq!(
            table.columns(&["time", "Tokens"]).unwrap(),
            "its heading has `time` and `Tokens`"
        );
        assert_eq!(table.columns(&["Tokens", "x"]), None);
    }

    #[test]
    fn nothing_is_seen_in_nothing() {
        for bytes in [&b""[..], b"\"", b"}", b"]]", b"{\"a", b"\xff\xfe"] {
            assert_eq!(Head::new(bytes).keys(), [""; 0]);
        }
    }
}
